//! What of a request's head reaches the upstream. First hop-by-hop headers and whatever a `Connection` line names go,
//! then every alias of a name that the proxy vouches for, then credentials; then the proxy's own are set, once each.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, request::Parts, uri::PathAndQuery};

use super::{Gate, Permit, TokenSource, bearer, client::Client, scrub::Fate};

/// What the upstream is told of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The header that carries the user id.
    pub header: HeaderName,
    /// Further claims that go into headers: the header's name, and the claim's at the payload's top level.
    pub claims: Vec<(HeaderName, Box<str>)>,
}

/// A request head that may go upstream. Only [`Gate::onward`] makes one, and it takes a [`Permit`].
#[derive(Debug)]
pub struct Onward {
    parts: Parts,
}

impl Onward {
    /// The head to send: origin-form target, one `Host`, end-to-end headers, the identity set.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

impl Gate {
    /// Turns a client's head into the upstream's.
    pub fn onward(&self, permit: &Permit, mut parts: Parts, client: &Client) -> Onward {
        let forwarded = self.forwarded(&parts, client);
        keep_one_host(&mut parts);
        self.strip(&mut parts.headers, forwarded.trusted);
        if !permit.forward_credentials {
            self.strip_credentials(&mut parts);
        }
        forwarded.set(&mut parts.headers);
        self.set_identity(permit, &mut parts.headers);
        parts.uri = origin_form(&parts.uri);
        parts.version = Version::HTTP_11;
        Onward { parts }
    }

    /// Removes from a request's trailers what [`Gate::onward`] removes from its headers, and what no trailer may carry
    /// (RFC 9110 §6.5.1): framing, routing and credentials.
    pub fn clean_trailers(&self, trailers: &mut HeaderMap) {
        self.strip(trailers, false);
        for name in NO_TRAILER {
            trailers.remove(name);
        }
    }

    fn strip(&self, headers: &mut HeaderMap, trusted: bool) {
        let mut doomed: Vec<HeaderName> = Vec::new();
        for line in headers.get_all(header::CONNECTION) {
            doomed.extend(named_by(line).filter(|name| name != header::HOST && name != header::CONTENT_LENGTH));
        }
        doomed.extend(headers.keys().filter(|name| self.scrub().fate(name) != Fate::Keep).filter_map(|name| {
            let believed = trusted && self.scrub().fate(name) == Fate::KeepFromTrusted;
            (!believed).then(|| name.clone())
        }));
        for name in doomed {
            headers.remove(name);
        }
    }

    fn strip_credentials(&self, parts: &mut Parts) {
        parts.headers.remove(header::AUTHORIZATION);
        self.strip_cookies(&mut parts.headers);
        strip_token_protocols(&mut parts.headers);
        self.strip_query_tokens(&mut parts.uri);
    }

    fn strip_cookies(&self, headers: &mut HeaderMap) {
        let credential =
            |pair: &[u8]| self.is_credential_cookie(pair.split(|byte| *byte == b'=').next().unwrap_or(pair));
        retain_items(headers, header::COOKIE, b';', b"; ", |pair| !credential(pair));
    }

    fn is_credential_cookie(&self, name: &[u8]) -> bool {
        let name = name.trim_ascii();
        let starts =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
        starts("better-auth.")
            || starts("__Secure-better-auth.")
            || starts("__Host-better-auth.")
            || self.sources().any(|source| matches!(source, TokenSource::Cookie(cookie) if cookie.as_bytes() == name))
    }

    fn strip_query_tokens(&self, uri: &mut Uri) {
        let is_token = |pair: &str| {
            let key = pair.split('=').next().unwrap_or(pair);
            self.sources().any(|source| matches!(source, TokenSource::Query(name) if **name == *key))
        };
        let Some(query) = uri.query().filter(|query| query.split('&').any(is_token)) else { return };
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
        let target = match kept.as_slice() {
            [] => uri.path().to_owned(),
            kept => format!("{}?{}", uri.path(), kept.join("&")),
        };
        // A part of a valid target is a valid target; were it not, the bare path carries no token either.
        let target = target.parse().unwrap_or_else(|_| PathAndQuery::from_static("/"));
        *uri = Uri::from(target);
    }

    fn set_identity(&self, permit: &Permit, headers: &mut HeaderMap) {
        let Some(identity) = permit.identity() else { return };
        for (name, value) in identity.claims() {
            headers.insert(name, value.clone());
        }
        headers.insert(self.rules().identity.header.clone(), identity.user().header().clone());
    }

    /// Every place in which some issuer's tokens may stand.
    fn sources(&self) -> impl Iterator<Item = &TokenSource> {
        self.rules().issuers.iter().flat_map(|issuer| &issuer.token_from)
    }
}

/// What has no place in trailers beside the names that [`Gate::onward`] strips.
const NO_TRAILER: [HeaderName; 13] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::MAX_FORWARDS,
    header::RANGE,
    header::SET_COOKIE,
    header::TRAILER,
];

/// The names that a `Connection` line makes hop-by-hop (RFC 9110 §7.6.1).
pub(super) fn named_by(line: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    line.as_bytes().split(|byte| *byte == b',').filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

/// HTTP/2 has `:authority` where the upstream expects `Host`.
fn keep_one_host(parts: &mut Parts) {
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.entry(header::HOST).or_insert(host);
    }
}

fn origin_form(uri: &Uri) -> Uri {
    if uri.authority().is_none() {
        return uri.clone();
    }
    Uri::from(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}

fn strip_token_protocols(headers: &mut HeaderMap) {
    let is_token = |item: &[u8]| str::from_utf8(item).is_ok_and(|item| bearer::is_token_protocol(item.trim()));
    retain_items(headers, header::SEC_WEBSOCKET_PROTOCOL, b',', b", ", |item| !is_token(item));
}

/// Keeps of a list header what `keep` says, and leaves it untouched where that is everything.
fn retain_items(headers: &mut HeaderMap, name: HeaderName, separator: u8, joint: &[u8], keep: impl Fn(&[u8]) -> bool) {
    let lines = headers.get_all(&name);
    if lines.iter().all(|line| line.as_bytes().split(|byte| *byte == separator).all(&keep)) {
        return;
    }
    let items = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == separator));
    let kept: Vec<&[u8]> =
        items.filter(|item| keep(item)).map(<[u8]>::trim_ascii).filter(|item| !item.is_empty()).collect();
    let value = (!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept.join(joint)).ok()).flatten();
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

/// The address that a client is known by where a proxy before this one is believed.
pub(super) fn first_untrusted(chain: &str, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut known = None;
    for hop in chain.rsplit(',') {
        let address = hop.trim().parse().ok()?;
        known = Some(address);
        if !trusted(address) {
            break;
        }
    }
    known
}
