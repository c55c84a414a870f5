//! The head of a request: one strict reading of it, or a refusal.

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use super::{
    Code, Denial,
    path::{PathFault, RequestPath},
};

/// The head of one request as the HTTP parser delivered it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The request target, in origin or absolute form.
    pub uri: &'a Uri,
    /// The protocol version: HTTP/1.1 requires `Host`, HTTP/2 carries `:authority` in `uri`.
    pub version: Version,
    /// Every header line, in the order of arrival within a name.
    pub headers: &'a HeaderMap,
}

/// What `Allow` says where no route has been looked at.
const FORWARDABLE: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl<'a> Head<'a> {
    /// Step 1: the request line, `Host` and framing.
    ///
    /// # Errors
    /// `head_too_large`, `method_not_allowed`, `request_malformed` or `path_ambiguous`.
    pub(super) fn check(&self, head_bytes: usize, path_bytes: usize) -> Result<RequestPath<'a>, Denial> {
        self.check_size(head_bytes, path_bytes)?;
        if matches!(*self.method, Method::CONNECT | Method::TRACE) {
            let denial = Denial::from(Code::MethodNotAllowed).because("TRACE and CONNECT are never forwarded");
            return Err(Denial { allow: FORWARDABLE.into(), ..denial });
        }
        self.check_authority()?;
        self.check_values()?;
        self.check_length()?;
        self.check_framing()?;
        RequestPath::parse(self.uri.path()).map_err(|fault: PathFault| {
            Denial::from(Code::PathAmbiguous).because(format!("the path {:?} {fault}", self.uri.path()))
        })
    }

    fn check_size(&self, head_bytes: usize, path_bytes: usize) -> Result<(), Denial> {
        let target = self.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if target > path_bytes {
            return Err(Denial::from(Code::HeadTooLarge)
                .because(format!("the target has {target} bytes, limits.path allows {path_bytes}")));
        }
        // Each line costs ": " and CRLF beside its name and value.
        let lines = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let head = target + lines.sum::<usize>();
        if head > head_bytes {
            return Err(Denial::from(Code::HeadTooLarge)
                .because(format!("the head has {head} bytes, limits.head allows {head_bytes}")));
        }
        Ok(())
    }

    /// RFC 9112 §3.2: one `Host` in HTTP/1.1, and no other authority beside it.
    fn check_authority(&self) -> Result<(), Denial> {
        let malformed = |reason: &'static str| Err(Denial::from(Code::RequestMalformed).because(reason));
        let mut lines = self.headers.get_all(header::HOST).iter();
        let host = lines.next();
        if lines.next().is_some() {
            return malformed("several Host lines");
        }
        let host = match host.map(HeaderValue::to_str) {
            None => None,
            Some(Ok(text)) if is_authority(text) => Some(text),
            Some(_) => return malformed("a Host that is no authority"),
        };
        if self.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
            return malformed("a target of another scheme than http");
        }
        match (host, self.uri.authority()) {
            (_, Some(target)) if !is_authority(target.as_str()) => malformed("a target whose authority is none"),
            (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target.as_str()) => {
                malformed("a Host that differs from the target's authority")
            }
            (None, None) if self.version >= Version::HTTP_11 => malformed("no Host"),
            (None, Some(_)) if self.version == Version::HTTP_11 => malformed("no Host"),
            _ => Ok(()),
        }
    }

    /// White space around a value is none of it in HTTP/1, and a fault in HTTP/2 (RFC 9113 §8.2.1), for which an upstream
    /// may end a connection that others share.
    fn check_values(&self) -> Result<(), Denial> {
        if self.version == Version::HTTP_2 && self.headers.values().any(is_padded) {
            return Err(Denial::from(Code::RequestMalformed).because("a field value with white space around it"));
        }
        Ok(())
    }

    /// One number. Readers differ on an empty length, and on a repeated one (RFC 9110 §8.6).
    fn check_length(&self) -> Result<(), Denial> {
        let mut lengths = self.headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
        let Some(length) = lengths.next() else { return Ok(()) };
        if lengths.next().is_some() || length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
            return Err(Denial::from(Code::RequestMalformed).because("a Content-Length that is not one number"));
        }
        Ok(())
    }

    /// RFC 9112 §6.1: a sender of both lengths may be smuggling; only `chunked` alone has one reading everywhere.
    fn check_framing(&self) -> Result<(), Denial> {
        let mut codings = self.headers.get_all(header::TRANSFER_ENCODING).iter();
        let Some(coding) = codings.next() else { return Ok(()) };
        let malformed = |reason: &'static str| Err(Denial::from(Code::RequestMalformed).because(reason));
        if self.headers.contains_key(header::CONTENT_LENGTH) {
            return malformed("both Content-Length and Transfer-Encoding");
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return malformed("a Transfer-Encoding that is not exactly \"chunked\"");
        }
        Ok(())
    }
}

/// Whether white space stands around a field value.
pub(super) fn is_padded(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
}

/// `host [":" port]` of RFC 3986 §3.2 without user information, and with names of letters, digits and `-._~` only.
pub(super) fn is_authority(text: &str) -> bool {
    let port = if let Some(literal) = text.strip_prefix('[') {
        match literal.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => port,
            _ => return false,
        }
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return false;
        }
        port
    };
    match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn check(version: Version, target: &str, lines: Lines<'_>) -> Result<(), Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let uri = target.parse().unwrap();
        let head = Head { method: &Method::GET, uri: &uri, version, headers: &headers };
        head.check(1024, 256).map(drop).map_err(|denial| denial.code)
    }

    #[test]
    fn a_request_has_one_host_and_no_other_authority() {
        use Version as V;
        let bad = Err(Code::RequestMalformed);
        let table: &[(V, &str, Lines<'_>, Result<(), Code>)] = &[
            (V::HTTP_11, "/a", &[("host", "good")], Ok(())),
            (V::HTTP_11, "/a", &[("host", "good:8080")], Ok(())),
            (V::HTTP_11, "/a", &[("host", "[::1]:80")], Ok(())),
            (V::HTTP_11, "/a", &[], bad),
            (V::HTTP_10, "/a", &[], Ok(())),
            (V::HTTP_11, "/a", &[("host", "good"), ("host", "good")], bad),
            (V::HTTP_10, "/a", &[("host", "good"), ("host", "evil")], bad),
            (V::HTTP_11, "/a", &[("host", "")], bad),
            (V::HTTP_11, "/a", &[("host", "good, evil")], bad),
            (V::HTTP_11, "/a", &[("host", "user@good")], bad),
            (V::HTTP_11, "/a", &[("host", "good/x")], bad),
            (V::HTTP_11, "/a", &[("host", "good:80:81")], bad),
            (V::HTTP_11, "/a", &[("host", "good:65536")], bad),
            (V::HTTP_11, "/a", &[("host", "[::1")], bad),
            (V::HTTP_11, "/a", &[("host", "[good]")], bad),
            (V::HTTP_11, "http://good/a", &[("host", "GOOD")], Ok(())),
            (V::HTTP_11, "http://evil/a", &[("host", "good")], bad),
            (V::HTTP_11, "ftp://good/a", &[("host", "good")], bad),
            (V::HTTP_11, "http://good/a", &[], bad),
            (V::HTTP_2, "http://good/a", &[], Ok(())),
            (V::HTTP_2, "http://good/a", &[("host", "evil")], bad),
            (V::HTTP_2, "http://user@good/a", &[], bad),
            (V::HTTP_2, "/a", &[], bad),
        ];
        for (version, target, lines, expected) in table {
            assert_eq!(check(*version, target, lines), *expected, "{version:?} {target} {lines:?}");
        }
    }

    #[test]
    fn framing_with_two_readings_is_refused() {
        let bad = Err(Code::RequestMalformed);
        let table: &[(Lines<'_>, Result<(), Code>)] = &[
            (&[("transfer-encoding", "chunked")], Ok(())),
            (&[("transfer-encoding", "Chunked")], Ok(())),
            (&[("content-length", "3")], Ok(())),
            (&[("content-length", "3"), ("content-length", "3")], bad),
            (&[("content-length", "")], bad),
            (&[("content-length", "3, 3")], bad),
            (&[("content-length", "+3")], bad),
            (&[("content-length", "3"), ("transfer-encoding", "chunked")], bad),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "identity")], bad),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], bad),
            (&[("transfer-encoding", "identity, chunked")], bad),
            (&[("transfer-encoding", "xchunked")], bad),
        ];
        for (lines, expected) in table {
            let lines: Vec<_> = [("host", "good")].iter().chain(*lines).copied().collect();
            assert_eq!(check(Version::HTTP_11, "/a", &lines), *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_large_target_or_head_is_refused() {
        let too_large = Err(Code::HeadTooLarge);
        assert_eq!(check(Version::HTTP_11, &format!("/{}", "a".repeat(255)), &[("host", "good")]), Ok(()));
        assert_eq!(check(Version::HTTP_11, &format!("/{}", "a".repeat(256)), &[("host", "good")]), too_large);
        assert_eq!(check(Version::HTTP_11, "/a", &[("host", "good"), ("x", &"a".repeat(1024))]), too_large);
    }

    #[test]
    fn connect_and_trace_are_not_forwardable() {
        for method in [Method::CONNECT, Method::TRACE] {
            let (uri, headers) = (Uri::from_static("/a"), HeaderMap::new());
            let head = Head { method: &method, uri: &uri, version: Version::HTTP_11, headers: &headers };
            let denial = head.check(1024, 256).unwrap_err();
            assert_eq!(denial.code, Code::MethodNotAllowed);
            assert!(!denial.allow.contains(&method) && denial.allow.contains(&Method::GET));
        }
    }
}
