//! The end-to-end tests, by topic. Each starts the real binaries and talks to them over real sockets; none knows their code.
//!
//! `RUST_TEST_THREADS` may be raised freely: tests share no port, no folder and no process.

mod backends;
mod better_auth;
mod claims;
mod commands;
mod configured;
mod cors;
mod gate;
mod http2;
mod http2_hostile;
mod http2_upstream;
mod identity_header;
mod idle;
mod issuers;
mod keys;
mod kit;
mod limits;
mod listeners;
mod operator;
mod overload;
mod ownership;
mod paths;
mod rate_limit;
mod regressions;
mod reload;
mod replicas;
mod restart;
mod routes;
mod shutdown;
mod signed_identity;
mod smuggling;
mod streams;
mod tasks;
mod timeouts;
mod tls;
mod tokens;
mod traces;
mod upstream;
mod upstream_faults;
mod websockets;
