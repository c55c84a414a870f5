//! The headers that tell the backend who is calling.

use http::HeaderName;

use super::{Fault, defaults, dump::Dump, section::Section, text::Text};
use crate::decide::IdentityHeaders;

pub(super) fn read(section: &mut Section<'_>) -> IdentityHeaders {
    let loader = section.loader;
    let default = HeaderName::from_static(defaults::IDENTITY_HEADER);
    let header = section.parsed("header", name).unwrap_or(default);
    let mut headers =
        IdentityHeaders { header, claims: Vec::new(), signed: section.boolean("signed").unwrap_or(false) };
    for (text, claim) in section.pairs("claims") {
        let read = name(&text).and_then(|header| Ok((header, claim.not_empty()?)));
        let Some((header, claim)) = loader.accept(read) else { continue };
        if headers.header == header || headers.claims.iter().any(|(other, _)| *other == header) {
            loader.report(text.fault("a header name that is not used yet"));
        } else {
            headers.claims.push((header, claim));
        }
    }
    headers
}

pub(super) fn write(identity: &IdentityHeaders, dump: &mut Dump<'_>) {
    dump.table("[identity]");
    dump.entry("header", identity.header.as_str());
    dump.entry("signed", identity.signed);
    if !identity.claims.is_empty() {
        dump.table("[identity.claims]");
        identity.claims.iter().for_each(|(header, claim)| dump.entry(header.as_str(), &**claim));
    }
}

/// Names that frame a message, belong to a connection, carry credentials, or that the proxy sets itself.
const TAKEN: [&str; 26] = [
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

const TAKEN_PREFIXES: [&str; 7] = ["accept", "access-control-", "content-", "if-", "proxy-", "sec-", "x-ownergate-"];

/// A name in letters, digits and `-`: backends fold `_` and `.` to it, so that other names would have aliases.
fn name(text: &Text) -> Result<HeaderName, Fault> {
    const WANTED: &str = "a header name such as \"X-User-Id\"";
    let plain = text.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let name: HeaderName = text.parse(WANTED)?;
    if !plain {
        return Err(text.fault(format!("{WANTED}, in letters, digits and \"-\"")));
    }
    let taken = TAKEN.contains(&name.as_str()) || TAKEN_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
    if taken { Err(text.fault(format!("{WANTED}; this one has another meaning"))) } else { Ok(name) }
}
