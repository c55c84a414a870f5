//! Sockets, clocks, files and logs around the decision.

pub mod jwks;
pub mod log;
pub mod metrics;
