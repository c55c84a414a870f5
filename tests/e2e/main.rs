//! The end-to-end tests, by topic. Each starts the real binaries and talks to them over real sockets; none knows their code.
//!
//! `RUST_TEST_THREADS` may be raised freely: tests share no port, no folder and no process.

mod better_auth;
mod gate;
mod identity_header;
mod keys;
mod kit;
mod ownership;
mod paths;
mod tokens;
