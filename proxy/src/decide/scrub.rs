//! Which request headers a client has no say in.

use http::HeaderName;

use super::IdentityHeaders;

/// What becomes of a client's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on as it is.
    Keep,
    /// It goes on only from a trusted proxy, and in its plain spelling.
    KeepFromTrusted,
    /// It stops here.
    Drop,
}

/// The names that stop here, in the one spelling that every alias folds to: lower case, `-` for `_` and `.`.
#[derive(Clone, Debug)]
pub(super) struct Scrub {
    /// Sorted, for the search.
    names: Box<[Box<str>]>,
    /// Whether some name or prefix begins with this byte: most headers need no search at all.
    first_bytes: [bool; 256],
}

/// Hop-by-hop names (RFC 9110 §7.6.1), headers by which a backend could be told another method, target or caller than
/// the one that was decided on, and marks that only a proxy may set.
const DROPPED: [&str; 36] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-uri",
    "x-rewrite-url",
    "x-envoy-original-path",
    "x-envoy-original-host",
    "x-middleware-subrequest",
    "x-override-url",
    "x-host",
    "x-uri",
    "request-uri",
    "path-info",
    "x-path-info",
    "script-name",
    "x-script-name",
    "x-accel-redirect",
    "x-sendfile",
    "x-auth-user",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-webauth-user",
    "proxy",
];

/// Families by which common backends know a caller.
const DROPPED_PREFIXES: [&str; 6] =
    ["remote-", "x-remote-", "x-auth-request-", "x-consumer-", "x-authenticated-", "x-ownergate-"];

/// Of the family that a trusted proxy may set, what is about the caller or the target rather than the connection.
const NEVER_FORWARDED: [&str; 7] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-forwarded-uri",
    "x-forwarded-method",
];

const FORWARDED_PREFIX: &str = "x-forwarded-";
const FORWARDED: [&str; 9] = [
    "forwarded",
    "x-forwarded",
    "true-client-ip",
    "x-real-ip",
    "client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-proxyuser-ip",
    "cf-connecting-ip",
];

impl Scrub {
    pub(super) fn new(identity: &IdentityHeaders) -> Self {
        let own = identity.claims.iter().map(|(name, _)| name).chain([&identity.header]);
        let own = own.map(|name| fold(name.as_str()).into_boxed_str());
        let mut names: Vec<Box<str>> = own.chain(DROPPED.into_iter().chain(NEVER_FORWARDED).map(Box::from)).collect();
        names.sort_unstable();
        names.dedup();
        let mut first_bytes = [false; 256];
        let prefixes = DROPPED_PREFIXES.into_iter().chain(FORWARDED).chain([FORWARDED_PREFIX]);
        for start in names.iter().map(AsRef::as_ref).chain(prefixes).filter_map(|name: &str| name.bytes().next()) {
            first_bytes[usize::from(start)] = true;
            // An alias may differ in its very first byte only where the name begins with a separator.
            if start == b'-' {
                first_bytes[usize::from(b'_')] = true;
                first_bytes[usize::from(b'.')] = true;
            }
        }
        Self { names: names.into(), first_bytes }
    }

    pub(super) fn fate(&self, name: &HeaderName) -> Fate {
        let name = name.as_str();
        if !name.bytes().next().is_some_and(|first| self.first_bytes[usize::from(first)]) {
            return Fate::Keep;
        }
        if name.contains(['_', '.']) {
            // An alias is never the plain spelling that a trusted proxy sends.
            return if self.fate_of(&fold(name)) == Fate::Keep { Fate::Keep } else { Fate::Drop };
        }
        self.fate_of(name)
    }

    fn fate_of(&self, folded: &str) -> Fate {
        let known = self.names.binary_search_by(|name| (**name).cmp(folded)).is_ok();
        if known || DROPPED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) {
            return Fate::Drop;
        }
        if folded.starts_with(FORWARDED_PREFIX) || FORWARDED.contains(&folded) {
            return Fate::KeepFromTrusted;
        }
        Fate::Keep
    }
}

/// The one spelling of a name's aliases. CGI-style backends read `X_User_Id` and `X-User-Id` as one variable, and some
/// stacks fold dots too.
fn fold(name: &str) -> String {
    name.chars()
        .map(|character| if matches!(character, '_' | '.') { '-' } else { character.to_ascii_lowercase() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub() -> Scrub {
        Scrub::new(&IdentityHeaders {
            header: HeaderName::from_static("x-user-id"),
            claims: vec![(HeaderName::from_static("x-user-email"), "email".into())],
            signed: false,
        })
    }

    #[test]
    fn every_alias_of_a_vouched_name_stops_here() {
        for name in [
            "x-user-id",
            "x_user_id",
            "x.user.id",
            "x-user_id",
            "x_user.id",
            "x_user_email",
            "remote_user",
            "remote-user",
            "x-remote-user",
            "x_forwarded_user",
            "x-forwarded-email",
            "x-forwarded-uri",
            "x-auth-request-email",
            "x_auth_request_user",
            "x-consumer-username",
            "x-http-method-override",
            "x_http_method_override",
            "x-original-url",
            "x-rewrite-url",
            "x-envoy-original-path",
            "x-middleware-subrequest",
            "x_real_ip",
            "x.forwarded.for",
            "true_client_ip",
            "x_cluster.client_ip",
            "path_info",
            "x-accel-redirect",
            "connection",
            "te",
            "proxy",
        ] {
            assert_eq!(scrub().fate(&name.parse().unwrap()), Fate::Drop, "{name}");
        }
    }

    #[test]
    fn the_connection_is_described_by_trusted_proxies_alone() {
        for name in
            ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "forwarded", "true-client-ip", "x-real-ip"]
        {
            assert_eq!(scrub().fate(&name.parse().unwrap()), Fate::KeepFromTrusted, "{name}");
        }
    }

    #[test]
    fn other_headers_go_on() {
        for name in
            ["host", "accept", "user-agent", "x-user", "x-user-identity", "content-type", "x_custom", "traceparent"]
        {
            assert_eq!(scrub().fate(&name.parse().unwrap()), Fate::Keep, "{name}");
        }
    }
}
