//! The data plane and what keeps it fresh: everything here touches sockets, clocks and files.
//!
//! [`Proxy::bind`] takes the listeners, [`Proxy::run`] serves until the caller's shutdown future ends. Each core has a
//! worker with a runtime, listeners, upstream pools, a cache of verified tokens and lines of tokens to be verified of its
//! own; nothing that workers share is locked while a known token is served.
//!
//! A request's way: [`listen`] and [`accept`] take its connection, [`connection`] (and [`http2`]) read requests from it,
//! [`exchange`] decides and answers each, [`forward`] speaks with the [`upstream`]. What became of it is told once, by
//! [`tally`], to [`log`], [`metrics`] and [`trace`]. A connection of HTTP/1 that has been idle for a second sleeps without a
//! parser, until more comes.
//!
//! Who a connection is from: [`tls`], [`proxy_protocol`], [`opening`] (HTTP/1 or HTTP/2). How much there may be of
//! everything: [`census`] (connections), [`guests`] (those of [`admin`]), [`opening`] (heads), [`rate`] and [`capacity`]
//! (requests), [`watch`] and its [`clock`] (time), [`pace`] (trickles). What streams: [`request_body`], asked for by
//! [`consent`], and [`response_body`]; what of an answer's fields goes on: [`answer_fields`]. What is no longer HTTP:
//! [`upgrade`], [`tunnel`], [`websocket`]. Connections to upstreams: [`dial`], and [`multiplexed`] ones of HTTP/2. Tokens:
//! [`identify`], by [`verified`] or else [`verifier`], with the keys of [`jwks`]. Across restarts: [`systemd`],
//! [`unix_socket`]; across changes of the configuration: [`reload`].
//!
//! What they stand on: [`proxy`] and its [`worker`]s, [`state`] (what a configuration became), [`transport`] (byte
//! streams, [`lines`] of heads), [`reply`] (refusals), [`signer`], [`child`]; of what is told: [`record`], [`counts`],
//! [`process`], [`telemetry`], [`threshold`].

mod accept;
pub mod admin;
mod answer_fields;
mod capacity;
mod census;
pub mod child;
mod clock;
mod connection;
mod consent;
mod counts;
mod dial;
mod exchange;
#[cfg(test)]
mod fixture;
mod forward;
mod guests;
mod http2;
mod identify;
pub mod jwks;
mod lines;
mod listen;
pub mod log;
pub mod metrics;
mod multiplexed;
mod opening;
mod pace;
mod process;
mod proxy;
mod proxy_protocol;
mod rate;
mod record;
pub mod reload;
mod reply;
mod request_body;
mod response_body;
mod signer;
mod state;
pub mod systemd;
mod tally;
mod telemetry;
mod threshold;
mod tls;
pub mod trace;
mod transport;
mod tunnel;
mod unix_socket;
mod upgrade;
mod upstream;
mod verified;
mod verifier;
mod watch;
mod websocket;
mod worker;

pub use proxy::{BindFault, Control, Drained, Proxy};
pub use record::{Exchange, Observer, Silent};
pub use signer::Signer;
pub use state::{State, StateFault};
pub use telemetry::Telemetry;
pub use threshold::Threshold;
pub use tls::TlsFault;
pub use trace::Trace;
