//! Sockets, clocks, files and logs around the decision.

pub mod admin;
pub mod child;
pub mod jwks;
pub mod log;
pub mod metrics;
