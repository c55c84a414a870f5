//! Ownergate: a sidecar that lets nobody reach a backend but the caller whose path it is.
//!
//! This file is the map.
//!
//! - [`decide`]: the decision. Pure and total: request head, keys and time in; a [`decide::Decision`] out.
//! - [`config`]: text to types. Flags, environment and file become one [`config::Config`], or a list of every fault.
//! - [`serve`]: sockets, files and clocks: the data plane, and what keeps its keys and rules fresh.
//!
//! # Invariants
//!
//! 1. Nothing is forwarded without a [`decide::Permit`], and only [`decide::Gate`] makes one.
//! 2. `decide` and `config` touch no socket, clock, log or environment: what they need is an argument.
//! 3. A refusal is one row of [`decide::Code`]; its status, challenge, log field and metric label all come from there.

pub mod config;
pub mod decide;
pub mod serve;
