//! Ownergate: a sidecar that lets nobody reach a backend but the caller whose path it is.
//!
//! This file is the map.
//!
//! Read first: `decide/gate.rs`, the steps of the decision in order; then `serve/exchange.rs`, one request from its head
//! to its answer.
//!
//! - [`decide`]: the decision. Pure and total: request head, keys and time in; a [`decide::Decision`] out.
//! - [`config`]: text to types. Flags, environment and file become one [`config::Config`], or a list of every fault.
//! - [`serve`]: sockets, files and clocks: the data plane, and what keeps its keys and rules fresh.
//! - `command/` (of the binary): what `ownergate` and its tools do with these three.
//!
//! # One request
//!
//! `accept` → `connection` → `exchange` → [`decide::Gate::admit`] (path, preflight, route, where the token stands) → a
//! verified token looked up, or, in its turn of `verifier`, [`decide::Gate::verify`] → [`decide::Pending::conclude`]
//! (owner, scopes) → [`decide::Permit`] → rate limit → `forward` (room at the upstream, by `capacity`) →
//! [`decide::Gate::onward`] (headers stripped, then set) → `upstream`, bodies streamed both ways, `answer_fields` for what
//! of the answer's head and trailers goes on → `tally`, which tells log, metrics and traces. A refusal becomes an answer in
//! `reply` alone.
//!
//! # Invariants
//!
//! 1. Nothing is forwarded without a [`decide::Permit`], and only [`decide::Gate`] makes one.
//! 2. `decide` and `config` touch no socket, clock, log or environment: what they need is an argument.
//! 3. A refusal is one row of [`decide::Code`]; its status, challenge, log field and metric label all come from there.

pub mod config;
pub mod decide;
pub mod serve;
