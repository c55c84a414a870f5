//! Tokens from outside: what the gate makes of each attack that the field has seen, of the published examples, and of
//! real tokens of Better Auth. The row numbers are those of the project's list of known vulnerabilities.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]

mod claims;
mod form;
mod keys;
mod kit;
mod mutations;
mod published;
