//! The task service from outside: the real binary, real sockets, real files.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]

mod bodies;
mod callers;
mod conditional;
mod idempotency;
mod kit;
mod lifecycle;
mod lists;
mod operator;
mod quotas;
mod startup;
mod storage;
mod tasks;
