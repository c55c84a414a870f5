//! Where the token stands in a request: in one configured place, once.

use http::{HeaderValue, header};

use super::{Code, Denial, Head, TokenSource};

/// A token as it was sent, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bearer<'a> {
    pub(super) token: &'a str,
    pub(super) source: &'a TokenSource,
}

/// Looks for a token in these places.
///
/// # Errors
/// `credentials_repeated` when more than one is sent, `token_malformed` when the one has no legal characters.
pub(super) fn find<'a>(head: &Head<'a>, sources: &'a [TokenSource]) -> Result<Option<Bearer<'a>>, Denial> {
    let mut found = None;
    for source in sources {
        let token = match source {
            TokenSource::Header => in_header(head)?,
            TokenSource::Cookie(name) => only(in_cookies(head, name))?,
            TokenSource::Query(name) => only(in_query(head, name))?,
            TokenSource::WebSocketProtocol => only(in_protocols(head))?,
        };
        if let Some(token) = token
            && found.replace(Bearer { token, source }).is_some()
        {
            return Err(Code::CredentialsRepeated.into());
        }
    }
    Ok(found)
}

/// RFC 6750 §2.1 and RFC 9110 §11.4: the scheme in any case, one or more spaces, the token.
fn in_header<'a>(head: &Head<'a>) -> Result<Option<&'a str>, Denial> {
    let mut lines = head.headers.get_all(header::AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Code::CredentialsRepeated.into());
    }
    let line = readable(line)?;
    let (scheme, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = rest.trim_matches(' ');
    // Lines of one name may be joined with commas on the way (RFC 9110 §5.3).
    if token.contains(',') && token.split(',').skip(1).any(|joined| is_bearer(joined.trim())) {
        return Err(Code::CredentialsRepeated.into());
    }
    Ok((!token.is_empty()).then_some(token))
}

fn is_bearer(credentials: &str) -> bool {
    credentials.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
}

/// A header's value holds no control character but a tab, so that it is text as soon as it is ASCII.
fn readable(line: &HeaderValue) -> Result<&str, Denial> {
    let text = Some(line.as_bytes()).filter(|bytes| bytes.is_ascii()).and_then(|bytes| str::from_utf8(bytes).ok());
    text.ok_or_else(|| Denial::from(Code::TokenMalformed).because("the token's header is not visible ASCII"))
}

/// The only value of several; none where all are empty.
fn only<'a>(values: impl Iterator<Item = &'a str>) -> Result<Option<&'a str>, Denial> {
    let mut values = values.filter(|value| !value.is_empty());
    let first = values.next();
    if values.next().is_some() { Err(Code::CredentialsRepeated.into()) } else { Ok(first) }
}

fn in_cookies<'a>(head: &Head<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = head.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(move |pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn in_query<'a>(head: &Head<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    head.uri.query().into_iter().flat_map(|query| query.split('&')).filter_map(move |pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    })
}

fn in_protocols<'a>(head: &Head<'a>) -> impl Iterator<Item = &'a str> {
    let lines = head.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|protocol| is_token_protocol(protocol))
}

/// Whether a subprotocol is a token rather than a protocol's name: a JWS begins with an encoded `{"` and has two dots.
pub(super) fn is_token_protocol(protocol: &str) -> bool {
    protocol.starts_with("eyJ") && protocol.bytes().filter(|byte| *byte == b'.').count() == 2
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri, Version};

    use super::*;

    type Lines<'a> = &'a [(&'static str, &'a str)];

    const ALL: [&str; 4] = ["header", "cookie", "query", "protocol"];

    fn find_in(target: &str, lines: Lines<'_>, sources: &[&str]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let uri: Uri = target.parse().unwrap();
        let head = Head { method: &Method::GET, uri: &uri, version: Version::HTTP_11, headers: &headers };
        let sources: Vec<_> = sources.iter().map(|source| self::source(source)).collect();
        find(&head, &sources).map(|found| found.map(|found| found.token.to_owned())).map_err(|denial| denial.code)
    }

    fn source(name: &str) -> TokenSource {
        match name {
            "cookie" => TokenSource::Cookie("session".into()),
            "query" => TokenSource::Query("access_token".into()),
            "protocol" => TokenSource::WebSocketProtocol,
            _ => TokenSource::Header,
        }
    }

    #[test]
    fn the_authorization_header_holds_one_bearer_token() {
        let repeated = Err(Code::CredentialsRepeated);
        let table: &[(Lines<'_>, Result<Option<&str>, Code>)] = &[
            (&[], Ok(None)),
            (&[("authorization", "Bearer a.b.c")], Ok(Some("a.b.c"))),
            (&[("authorization", "bEARER   a.b.c ")], Ok(Some("a.b.c"))),
            (&[("authorization", "Bearer")], Ok(None)),
            (&[("authorization", "Bearer ")], Ok(None)),
            (&[("authorization", "Basic YTpi")], Ok(None)),
            (&[("authorization", "Bearera.b.c")], Ok(None)),
            (&[("authorization", "Bearer a.b.c x")], Ok(Some("a.b.c x"))),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], repeated),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer a")], repeated),
            (&[("authorization", "Basic a"), ("authorization", "Bearer a")], repeated),
            (&[("authorization", "Bearer a, Bearer b")], repeated),
            (&[("authorization", "Bearer a,bearer b")], repeated),
            (&[("authorization", "Bearer \u{e9}")], Err(Code::TokenMalformed)),
        ];
        for (lines, expected) in table {
            let found = find_in("/", lines, &["header"]);
            assert_eq!(found.as_ref().map(Option::as_deref), expected.as_ref().map(|token| *token), "{lines:?}");
        }
    }

    #[test]
    fn other_places_count_only_where_configured() {
        let cookie = ("cookie", "a=1; session=c.c.c; b=2");
        let protocol = ("sec-websocket-protocol", "chat, eyJ.p.s");
        assert_eq!(find_in("/?access_token=q.q.q", &[cookie, protocol], &["header"]), Ok(None));
        assert_eq!(find_in("/", &[cookie], &["cookie"]), Ok(Some("c.c.c".into())));
        assert_eq!(find_in("/?x=1&access_token=q.q.q", &[], &["query"]), Ok(Some("q.q.q".into())));
        assert_eq!(find_in("/", &[protocol], &["protocol"]), Ok(Some("eyJ.p.s".into())));
    }

    #[test]
    fn two_tokens_are_refused_wherever_they_stand() {
        let header = ("authorization", "Bearer a.b.c");
        for (target, lines) in [
            ("/?access_token=a.b.c", vec![header]),
            ("/", vec![header, ("cookie", "session=a.b.c")]),
            ("/", vec![("cookie", "session=a; session=b")]),
            ("/", vec![("cookie", "session=a"), ("cookie", "session=a")]),
            ("/?access_token=a&access_token=a", vec![]),
            ("/", vec![("sec-websocket-protocol", "eyJ.a.b, eyJ.c.d")]),
        ] {
            assert_eq!(find_in(target, &lines, &ALL), Err(Code::CredentialsRepeated), "{target} {lines:?}");
        }
    }

    #[test]
    fn row_56_cookie_oddities_are_no_token_and_no_crash() {
        for cookie in ["", "session=", "session", ";;;=;", "=x", "Session=a.b.c", &"x=;".repeat(5_000)] {
            assert_eq!(find_in("/", &[("cookie", cookie)], &["cookie"]), Ok(None), "{cookie:.40}");
        }
    }
}
