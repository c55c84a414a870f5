//! Where a request came from: what the connection says, and what trusted proxies before this one add.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::{Gate, head::is_authority, headers::first_untrusted};

/// What the connection says of the client, as against what the client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    address: Option<IpAddr>,
    /// The address as upstreams are told it: written once a connection rather than once a request.
    text: Option<HeaderValue>,
    tls: bool,
}

/// What the upstream is told of the connection.
pub(super) struct Forwarded {
    /// Whether the peer is a proxy that is believed.
    pub(super) trusted: bool,
    chain: Option<HeaderValue>,
    address: Option<HeaderValue>,
    proto: HeaderValue,
    host: Option<HeaderValue>,
}

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

impl Client {
    /// A client at an address, `None` on a unix-domain socket; an IPv4 address that came over an IPv6 socket is IPv4.
    /// `tls` says whether the connection is TLS.
    pub fn new(address: Option<IpAddr>, tls: bool) -> Self {
        let address = address.map(|address| address.to_canonical());
        Self { address, text: address.and_then(text), tls }
    }

    /// The peer's address; `None` on a unix-domain socket.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether the connection is TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The same client, seen through TLS.
    #[must_use]
    pub fn over_tls(self) -> Self {
        Self { tls: true, ..self }
    }
}

impl Gate {
    /// The address to know a client by: the peer's, or what trusted proxies say of it.
    pub fn client_address(&self, headers: &HeaderMap, client: &Client) -> Option<IpAddr> {
        let peer = client.address?;
        let believed = self.is_trusted(peer).then(|| chain_of(headers)).flatten();
        believed.and_then(|chain| first_untrusted(&chain, |hop| self.is_trusted(hop))).or(Some(peer))
    }

    /// Whether the peer is a proxy that is believed.
    pub fn trusts(&self, client: &Client) -> bool {
        client.address.is_some_and(|address| self.is_trusted(address))
    }

    pub(super) fn forwarded(&self, parts: &Parts, client: &Client) -> Forwarded {
        let trusted = self.trusts(client);
        let (chain, address) = match client.address {
            Some(peer) if trusted => {
                let chain = chain_of(&parts.headers).map_or(peer.to_string(), |before| format!("{before}, {peer}"));
                (chain.try_into().ok(), self.client_address(&parts.headers, client).and_then(text))
            }
            Some(_) | None => (client.text.clone(), client.text.clone()),
        };
        let own = HeaderValue::from_static(if client.tls { "https" } else { "http" });
        let told = |name, valid: fn(&str) -> bool| trusted.then(|| single(&parts.headers, name, valid)).flatten();
        let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        Forwarded {
            trusted,
            chain,
            address,
            proto: told(PROTO, |proto| matches!(proto, "http" | "https")).unwrap_or(own),
            host: told(HOST, is_authority).or_else(|| parts.headers.get(header::HOST).cloned()).or(authority),
        }
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.rules().trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

impl Forwarded {
    /// Sets each header once, or leaves it out where nothing is known.
    pub(super) fn set(self, headers: &mut HeaderMap) {
        for (name, value) in [(FOR, self.chain), (REAL_IP, self.address), (PROTO, Some(self.proto)), (HOST, self.host)]
        {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
    }
}

fn text(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(address.to_string()).ok()
}

fn chain_of(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(FOR).iter().map(HeaderValue::to_str).collect::<Result<_, _>>().ok()?;
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// The value of a header that was sent once and is valid.
fn single(headers: &HeaderMap, name: HeaderName, valid: fn(&str) -> bool) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().filter(|line| line.to_str().is_ok_and(valid))?;
    lines.next().is_none().then(|| line.clone())
}
