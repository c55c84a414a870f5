//! What became of one exchange, told once to whoever logs and counts.

use std::{net::IpAddr, time::Duration};

use http::{Method, StatusCode, Version};

use super::Trace;
use crate::decide::{Denial, Identity, Route};

/// One exchange, told when its last byte has gone or its connection has ended.
///
/// Everything is borrowed: an observer that formats elsewhere copies what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The id that the client and the upstream were told.
    pub request_id: &'a str,
    /// Its place in a trace, where traces are configured.
    pub trace: Option<&'a Trace>,
    /// The client's address, as trusted proxies tell it; `None` on a unix-domain socket.
    pub client: Option<IpAddr>,
    /// The request method.
    pub method: &'a Method,
    /// The request path without its query, which may hold secrets.
    pub path: &'a str,
    /// The client's protocol version.
    pub version: Version,
    /// The route that matched.
    pub route: Option<&'a Route>,
    /// The caller.
    pub identity: Option<&'a Identity>,
    /// Why the answer is the proxy's own, a refusal or a fault of the upstream; or why it broke off.
    pub denial: Option<&'a Denial>,
    /// What a route that only watches would have refused.
    pub shadowed: Option<&'a Denial>,
    /// The status of the answer.
    pub status: StatusCode,
    /// The name of the upstream that was asked.
    pub upstream: Option<&'a str>,
    /// From the start of the attempt to the upstream's response head.
    pub upstream_time: Option<Duration>,
    /// From the request head to the end of the answer.
    pub duration: Duration,
    /// Bytes of the request's body that went upstream.
    pub request_bytes: u64,
    /// Bytes of the answer's body that went to the client.
    pub response_bytes: u64,
    /// Whether the answer was sent to its end.
    pub complete: bool,
}

/// Sees every exchange. Called on the worker that served it: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// One exchange has ended.
    fn exchange(&self, exchange: &Exchange<'_>);
}

/// Sees nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn exchange(&self, _: &Exchange<'_>) {}
}
