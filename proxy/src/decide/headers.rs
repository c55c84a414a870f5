//! What of a request's head reaches the upstream. First hop-by-hop headers and whatever a `Connection` line names go,
//! then every alias of a name that the proxy vouches for, then credentials; then the proxy's own are set, once each.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, request::Parts, uri::PathAndQuery};

use super::{Gate, Permit, TokenSource, bearer, client::Client, head::is_padded, scrub::Fate};

/// What the upstream is told of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The header that carries the user id.
    pub header: HeaderName,
    /// Further claims that go into headers: the header's name, and the claim's at the payload's top level.
    pub claims: Vec<(HeaderName, Box<str>)>,
    /// Whether a signed proof of the user id goes along, in `X-Ownergate-Identity`.
    pub signed: bool,
}

/// A request head that may go upstream. Only [`Gate::onward`] makes one, and it takes a [`Permit`].
#[derive(Debug)]
pub struct Onward {
    parts: Box<Parts>,
}

impl Onward {
    /// The head to send: origin-form target, one `Host`, end-to-end headers, the identity set.
    pub fn into_parts(self) -> Box<Parts> {
        self.parts
    }
}

impl Gate {
    /// Turns a client's head into the upstream's.
    pub fn onward(&self, permit: &Permit, mut parts: Box<Parts>, client: &Client) -> Onward {
        let forwarded = self.forwarded(&parts, client);
        keep_one_host(&mut parts);
        if parts.version == Version::HTTP_2 {
            join_cookies(&mut parts.headers);
        }
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
    /// ([`NO_TRAILER`]).
    pub fn clean_trailers(&self, trailers: &mut HeaderMap) {
        self.strip(trailers, false);
        let padded: Vec<HeaderName> =
            trailers.iter().filter(|(_, value)| is_padded(value)).map(|(name, _)| name.clone()).collect();
        for name in padded.iter().chain(&NO_TRAILER) {
            trailers.remove(name);
        }
    }

    fn strip(&self, headers: &mut HeaderMap, trusted: bool) {
        let mut doomed: Vec<HeaderName> = Vec::new();
        for line in headers.get_all(header::CONNECTION) {
            doomed.extend(named_by(line).filter(|name| name != header::HOST && name != header::CONTENT_LENGTH));
        }
        let goes = |name: &&HeaderName| match self.scrub().fate(name) {
            Fate::Keep => false,
            Fate::KeepFromTrusted => !trusted,
            Fate::Drop => true,
        };
        doomed.extend(headers.keys().filter(goes).cloned());
        for name in doomed {
            headers.remove(name);
        }
        // What a trailer may not carry, none may announce.
        let announced = |name: &[u8]| {
            HeaderName::from_bytes(name.trim_ascii()).is_ok_and(|name| self.scrub().fate(&name) == Fate::Keep)
        };
        retain_items(headers, header::TRAILER, b',', b", ", announced);
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

/// What has no place in trailers beside what concerns one connection (RFC 9110 §6.5.1): what frames, routes or allows a
/// message, and what says how to take it, which is known before the body or not at all.
pub static NO_TRAILER: [HeaderName; 29] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TRAILER,
    header::VARY,
    header::WARNING,
    header::WWW_AUTHENTICATE,
];

/// The names that a `Connection` line makes hop-by-hop (RFC 9110 §7.6.1).
pub fn named_by(line: &HeaderValue) -> impl Iterator<Item = HeaderName> {
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

/// HTTP/2 may send every cookie on a line of its own; elsewhere there is one line (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Access, Decision, Identity,
            fixture::{caller, decide, gate, owner, request, route},
        },
        *,
    };

    const TOKEN: &str = "authorization: Bearer a.b.c";
    const PEER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)));
    const PROXY: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));

    fn onward_for(peer: Option<IpAddr>, caller: Identity, target: &str, lines: &[&str]) -> Box<Parts> {
        let mut shown = route("/shown/**", Access::SignedIn);
        shown.forward_credentials = true;
        let gate = gate(vec![route("/api/{user_id}/**", owner()), route("/public/**", Access::Public), shown]);
        let parts = request("GET", target, lines);
        let Decision::Forward(permit) = decide(&gate, &parts, caller) else { panic!("{target} was refused") };
        gate.onward(&permit, Box::new(parts), &Client::new(peer, false)).into_parts()
    }

    fn onward(target: &str, lines: &[&str]) -> Box<Parts> {
        onward_for(PEER, caller("alice"), target, lines)
    }

    fn values<'p>(parts: &'p Parts, name: &str) -> Vec<&'p str> {
        parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn rows_1_to_19_one_user_id_leaves_whatever_the_client_sends() {
        for line in [
            "x-user-id: bob",
            "x_user_id: bob",
            "x.user.id: bob",
            "X-User_Id: bob",
            "connection: close, x-user-id",
            "connection: X-User-Id, X-User-Email",
            "x-user-email: ceo@x",
            "remote-user: bob",
            "x-forwarded-user: bob",
        ] {
            for (target, expected) in [("/api/alice/x", vec!["alice"]), ("/public/x", vec![])] {
                let parts = onward(target, &[TOKEN, line, line]);
                assert_eq!(values(&parts, "x-user-id"), expected, "{line} to {target}");
                let (name, _) = line.split_once(": ").unwrap();
                assert!(
                    name.eq_ignore_ascii_case("x-user-id") || !parts.headers.contains_key(name),
                    "{line} to {target}"
                );
            }
        }
    }

    #[test]
    fn a_claim_header_is_set_from_the_token_alone() {
        let email = (HeaderName::from_static("x-user-email"), HeaderValue::from_static("alice@example.com"));
        let known = Identity { claims: [email].into(), ..caller("alice") };
        let parts = onward_for(PEER, known, "/api/alice/x", &[TOKEN, "x_user_email: ceo@x", "x-user-email: ceo@x"]);
        assert_eq!(values(&parts, "x-user-email"), ["alice@example.com"]);
        assert!(!parts.headers.contains_key("x_user_email"));
    }

    #[test]
    fn a_user_id_beyond_ascii_is_sent_as_its_bytes() {
        let parts = onward_for(PEER, caller("ü-日本"), "/api/%C3%BC-%E6%97%A5%E6%9C%AC", &[TOKEN]);
        assert_eq!(parts.headers.get("x-user-id").unwrap().as_bytes(), "ü-日本".as_bytes());
    }

    #[test]
    fn what_a_connection_line_names_goes_but_never_host_or_length() {
        let lines = [
            TOKEN,
            "connection: x-a",
            "connection: keep-alive, X-B, host, content-length",
            "x-a: 1",
            "x-b: 2",
            "content-length: 3",
            "x-c: 4",
            "te: trailers",
        ];
        let parts = onward("/api/alice/x", &lines);
        for gone in ["connection", "x-a", "x-b", "te"] {
            assert!(!parts.headers.contains_key(gone), "{gone}");
        }
        assert_eq!(
            (values(&parts, "host"), values(&parts, "content-length"), values(&parts, "x-c")),
            (vec!["good"], vec!["3"], vec!["4"])
        );
    }

    #[test]
    fn credentials_stop_here_unless_the_route_forwards_them() {
        let cookies = "cookie: a=1; better-auth.session_token=s; __Secure-better-auth.session_data.0=t; session=u; b=2";
        let parts = onward("/api/alice/x", &[TOKEN, cookies]);
        assert!(!parts.headers.contains_key("authorization"));
        assert_eq!(values(&parts, "cookie"), ["a=1; b=2"]);
        let only = onward("/api/alice/x", &[TOKEN, "cookie: better-auth.session_token=s"]);
        assert!(!only.headers.contains_key("cookie"));
        for target in ["/public/x", "/shown/x"] {
            let parts = onward(target, &[TOKEN, cookies]);
            assert_eq!(values(&parts, "authorization"), ["Bearer a.b.c"], "{target}");
            assert_eq!(values(&parts, "cookie"), [cookies.strip_prefix("cookie: ").unwrap()], "{target}");
        }
    }

    #[test]
    fn cookies_on_lines_of_their_own_become_one_line_and_credentials_among_them_stop() {
        let gate = gate(vec![route("/api/{user_id}/**", owner())]);
        let lines = [TOKEN, "cookie: a=1", "cookie: better-auth.session_token=s", "cookie: b=2"];
        let mut parts = request("GET", "/api/alice/x", &lines);
        parts.version = Version::HTTP_2;
        let Decision::Forward(permit) = decide(&gate, &parts, caller("alice")) else { panic!("it was refused") };
        assert_eq!(
            values(&gate.onward(&permit, Box::new(parts), &Client::new(PEER, false)).into_parts(), "cookie"),
            ["a=1; b=2"]
        );
    }

    #[test]
    fn a_query_goes_on_byte_for_byte_but_for_a_token_in_it() {
        for (target, expected) in [
            ("/api/alice/x?a=b&&c", "/api/alice/x?a=b&&c"),
            ("/api/alice/x?", "/api/alice/x?"),
            ("/api/alice/x??", "/api/alice/x??"),
            ("/api/alice/x?a=%2e%2e/%zz;'", "/api/alice/x?a=%2e%2e/%zz;'"),
            ("/api/alice/x?a=1&access_token=t.t.t&b=2", "/api/alice/x?a=1&b=2"),
            ("/api/alice/x?access_token=t.t.t", "/api/alice/x"),
            ("http://good/api/alice/x?a", "/api/alice/x?a"),
        ] {
            assert_eq!(onward(target, &[TOKEN]).uri, expected, "{target}");
        }
    }

    #[test]
    fn row_11_the_connection_is_described_anew_for_an_untrusted_peer() {
        let lies = [
            "x-forwarded-for: 1.1.1.1",
            "x-forwarded-proto: https",
            "x-forwarded-host: evil",
            "x-forwarded-port: 1",
            "forwarded: for=1.1.1.1",
            "x_forwarded_proto: https",
            "true-client-ip: 1.1.1.1",
            "x-real-ip: 1.1.1.1",
        ];
        let parts = onward("/api/alice/x", &[&[TOKEN], &lies[..]].concat());
        for (name, expected) in [
            ("x-forwarded-for", vec!["192.0.2.7"]),
            ("x-real-ip", vec!["192.0.2.7"]),
            ("x-forwarded-proto", vec!["http"]),
            ("x-forwarded-host", vec!["good"]),
            ("x-forwarded-port", vec![]),
            ("forwarded", vec![]),
            ("true-client-ip", vec![]),
            ("x_forwarded_proto", vec![]),
        ] {
            assert_eq!(values(&parts, name), expected, "{name}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_about_the_connection_and_nothing_else() {
        let told = [
            TOKEN,
            "x-forwarded-for: 6.6.6.6, 198.51.100.9",
            "x-forwarded-for: 10.0.0.2",
            "x-forwarded-proto: https",
            "x-forwarded-host: app.example",
            "x-forwarded-user: bob",
            "x_forwarded_for: 6.6.6.6",
        ];
        let parts = onward_for(PROXY, caller("alice"), "/api/alice/x", &told);
        for (name, expected) in [
            ("x-forwarded-for", vec!["6.6.6.6, 198.51.100.9, 10.0.0.2, 10.0.0.1"]),
            ("x-real-ip", vec!["198.51.100.9"]),
            ("x-forwarded-proto", vec!["https"]),
            ("x-forwarded-host", vec!["app.example"]),
            ("x-forwarded-user", vec![]),
            ("x_forwarded_for", vec![]),
        ] {
            assert_eq!(values(&parts, name), expected, "{name}");
        }
    }

    #[test]
    fn row_8_trailers_carry_no_identity_framing_or_credentials() {
        let gate = gate(vec![]);
        let lines = [
            "x-user-id: bob",
            "x_user_id: bob",
            "content-length: 7",
            "authorization: Bearer x",
            "x-forwarded-for: 1.1.1.1",
            "grpc-status: 0",
            "x-checksum: 5",
        ];
        let mut trailers = request("GET", "/", &lines).headers;
        gate.clean_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }

    #[test]
    fn a_trailer_that_would_go_is_not_announced_either() {
        let parts = onward("/api/alice/x", &[TOKEN, "trailer: X-User-Id, X-Sum", "trailer: x_user_id"]);
        assert_eq!(values(&parts, "trailer"), ["X-Sum"]);
    }

    #[test]
    fn a_unix_socket_peer_has_no_address_to_tell() {
        let parts = onward_for(None, caller("alice"), "/api/alice/x", &[TOKEN, "x-forwarded-for: 1.1.1.1"]);
        assert!(!parts.headers.contains_key("x-forwarded-for") && !parts.headers.contains_key("x-real-ip"));
    }
}
