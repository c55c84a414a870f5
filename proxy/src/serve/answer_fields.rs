//! What of an upstream's header and trailer fields reaches the client.

use http::{HeaderMap, HeaderName, header};

use crate::decide::{NO_TRAILER, named_by};

/// Whether the client would read the answer's end as the parser did: what is left of another coding than `chunked`
/// would look like content, and a repeated length goes on as it came.
pub(super) fn has_one_framing(headers: &HeaderMap) -> bool {
    let only = |name, is_plain: fn(&[u8]) -> bool| {
        let mut values = headers.get_all(name).iter();
        values.next().is_none_or(|value| is_plain(value.as_bytes()) && values.next().is_none())
    };
    only(header::TRANSFER_ENCODING, |coding| coding.eq_ignore_ascii_case(b"chunked"))
        && only(header::CONTENT_LENGTH, |length| length.iter().all(u8::is_ascii_digit))
}

/// What concerns one connection (RFC 9110 §7.6.1), beside what a `Connection` line names.
static HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what concerns the upstream's connection and not the client's.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    let named: Vec<_> = headers.get_all(header::CONNECTION).iter().flat_map(named_by).collect();
    // RFC 9112 §6.3: the length is the other's word where both are said.
    let framed_twice = headers.contains_key(header::TRANSFER_ENCODING).then_some(header::CONTENT_LENGTH);
    for name in named.iter().chain(&framed_twice).chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes from an answer's trailers what no trailer may carry, and what concerns the upstream's connection: HTTP/2 has
/// no such fields, and its clients take them for a broken stream (RFC 9113 §8.2.2).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    for name in &NO_TRAILER {
        trailers.remove(name);
    }
}
