//! The kit of the end-to-end tests: everything that stands around the two binaries.
//!
//! | module | stands for |
//! | --- | --- |
//! | [`stack`] | the binaries themselves: built once, started on ports and folders of their own, ended by id |
//! | [`key`], [`token`] | a signer of any token, however broken |
//! | [`issuer`] | a key server whose behaviour changes at run time |
//! | [`better_auth`] | the real sign-in service of the example |
//! | [`postgres`] | the database server that several task services share |
//! | [`recorder`] | a backend that keeps the bytes it got and answers by script |
//! | [`collector`] | who takes traces |
//! | [`wire`], [`request`], [`answer`] | a client that sends exact bytes and reads strictly |
//! | [`message`], [`http2`], [`socket`] | HTTP/1.1 as bytes, HTTP/2 as frames, TCP and unix sockets: what both sides are made of |
//! | [`process`], [`port`] | children and what they write, ports for them to listen on |
//!
//! It knows the product by its contract alone: flags, ports, HTTP. Everything blocks, every wait ends after
//! [`PATIENCE`], and a step that fails panics with what was awaited.

use std::time::Duration;

pub mod answer;
pub mod better_auth;
pub mod collector;
pub mod http2;
pub mod issuer;
pub mod key;
pub mod message;
pub mod port;
pub mod postgres;
pub mod process;
pub mod recorder;
pub mod request;
pub mod socket;
pub mod stack;
pub mod token;
pub mod wire;

/// How long the kit waits for anything that the contract gives no time for.
pub const PATIENCE: Duration = Duration::from_secs(20);
