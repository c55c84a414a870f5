//! The task service: a to-do API that knows no tokens, sessions or passwords.
//!
//! Whoever stands in front of it says who is calling, in `X-User-Id`; every statement is filtered by that and nothing
//! else. The user in the path is not looked at.
//!
//! One request, in order: [`serve`] reads its head, [`log`] times it, [`receive`] reads its body, [`routes`] picks the
//! handler, [`caller`] tells whose tasks are meant, [`change`] and [`query`] turn what was sent into values that cannot be
//! wrong ([`json`] strictly), [`handlers`] ask the [`store`], and any refusal becomes a [`problem`].
//!
//! Invariants:
//! - `caller.rs` is the only code that reads `X-User-Id`; the statements of the store name the owner in each `WHERE`.
//! - A write is acknowledged only once it is on the disk.
//! - Another user's task and no task get the same answer.

pub mod admin;
mod caller;
mod change;
mod conditional;
pub mod config;
mod cursor;
mod fingerprint;
mod handlers;
mod idempotency;
mod json;
pub mod listen;
pub mod log;
pub mod metrics;
mod openapi;
mod problem;
mod query;
pub mod quota;
mod receive;
mod routes;
mod search;
pub mod serve;
pub mod store;
mod task;

pub use routes::router;
