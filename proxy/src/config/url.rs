//! URLs as far as a configuration has them: `http` and `https`, with nothing that would be dropped in silence.

use std::net::IpAddr;

use http::{Uri, uri::Scheme};

use super::{Fault, text::Text};

/// Reads an absolute `http` or `https` URL.
///
/// # Errors
/// A fault for anything else, for credentials (they would stand in logs), and for a fragment or an impossible port,
/// which [`Uri`] drops in silence.
pub(super) fn read(text: &Text, wanted: &str) -> Result<Uri, Fault> {
    let rest = text.value.split_once("://").map_or(&*text.value, |(_, rest)| rest);
    if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err(text.fault_finding("a URL with credentials", format!("{wanted} without user and password")));
    }
    let uri: Uri = text.parse(wanted)?;
    let scheme = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    let Some(authority) = uri.authority().filter(|_| scheme) else { return Err(text.fault(wanted)) };
    let port = authority.as_str().len() > authority.host().len();
    let impossible = port && uri.port_u16().is_none_or(|port| port == 0);
    if authority.host().is_empty() || impossible || text.value.contains('#') {
        return Err(text.fault(wanted));
    }
    Ok(uri)
}

/// Reads a URL of what must come from nobody else and be seen by nobody else: `https`, or `http` within this machine, a
/// private network, or to a host that the operator lists.
pub(super) fn read_safe(text: &Text, plain_hosts: &[Box<str>]) -> Result<Uri, Fault> {
    let uri = read(text, "an https:// URL, or http:// of a private host")?;
    let host = bare_host(&uri);
    if is_https(&uri) || is_near(&uri) || plain_hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host)) {
        return Ok(uri);
    }
    Err(text
        .fault("https://, as the host is neither this machine nor private")
        .advise(format!("list {host:?} in server.plain_http_hosts if the network between is trusted")))
}

/// Reads an origin: scheme, host and port. A final slash is the same origin; a path is another thing.
pub(super) fn read_origin(text: &Text, wanted: &str) -> Result<String, Fault> {
    let uri = read(text, wanted)?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err(text.fault(wanted));
    }
    Ok(origin(&uri))
}

/// The origin of a URL in its one serialisation (HTML standard, "ASCII serialisation of an origin"): lower case,
/// without the scheme's own port.
pub(super) fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    match uri.port_u16().filter(|port| *port != default_port(uri)) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

/// The port that the scheme implies.
pub(super) fn default_port(uri: &Uri) -> u16 {
    if is_https(uri) { 443 } else { 80 }
}

pub(super) fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

/// The host without the brackets of an IPv6 address.
pub(super) fn bare_host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Names that no public name server knows (RFC 6761, RFC 6762, RFC 8375, and what clusters use).
const PRIVATE_SUFFIXES: [&str; 6] = [".localhost", ".local", ".internal", ".home.arpa", ".test", ".svc"];

/// Whether the host is this machine, an address of a private network, or a name that can only mean one of these. What
/// a name resolves to is checked again by whoever connects.
fn is_near(uri: &Uri) -> bool {
    let host = bare_host(uri).to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        Err(_) => !host.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| host.ends_with(suffix)),
    }
}
