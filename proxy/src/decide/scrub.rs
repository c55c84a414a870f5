//! Which request headers a client has no say in.

use http::HeaderName;
use rustc_hash::FxHashSet;

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
    names: FxHashSet<Box<str>>,
    /// What begins with this byte: most headers need no search at all.
    first_bytes: [First; 256],
}

/// What of the names and prefixes begins with a byte.
#[derive(Clone, Copy, Debug, Default)]
struct First {
    /// Any of them.
    any: bool,
    /// A prefix, or a name of the families that a trusted proxy may set.
    family: bool,
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
        let names: FxHashSet<Box<str>> = own.chain(DROPPED.into_iter().chain(NEVER_FORWARDED).map(Box::from)).collect();
        let mut first_bytes = [First::default(); 256];
        let families = DROPPED_PREFIXES.into_iter().chain(FORWARDED).chain([FORWARDED_PREFIX]);
        let starts = names.iter().map(|name| (&**name, false)).chain(families.map(|name| (name, true)));
        for (start, family) in starts.filter_map(|(name, family)| Some((name.bytes().next()?, family))) {
            // An alias may differ in its very first byte only where the name begins with a separator.
            let spellings: &[u8] = if start == b'-' { b"-_." } else { &[start] };
            for spelling in spellings {
                let first = &mut first_bytes[usize::from(*spelling)];
                *first = First { any: true, family: first.family || family };
            }
        }
        Self { names, first_bytes }
    }

    pub(super) fn fate(&self, name: &HeaderName) -> Fate {
        let name = name.as_str();
        if !self.first_of(name).any {
            return Fate::Keep;
        }
        if name.bytes().any(is_foreign_separator) {
            // An alias is never the plain spelling that a trusted proxy sends.
            return if self.fate_of(&fold(name)) == Fate::Keep { Fate::Keep } else { Fate::Drop };
        }
        self.fate_of(name)
    }

    fn fate_of(&self, folded: &str) -> Fate {
        if self.names.contains(folded) {
            return Fate::Drop;
        }
        if !self.first_of(folded).family {
            return Fate::Keep;
        }
        if DROPPED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) {
            return Fate::Drop;
        }
        if folded.starts_with(FORWARDED_PREFIX) || FORWARDED.contains(&folded) {
            return Fate::KeepFromTrusted;
        }
        Fate::Keep
    }

    fn first_of(&self, name: &str) -> First {
        name.bytes().next().map_or(First::default(), |first| self.first_bytes[usize::from(first)])
    }
}

/// What some readers take for the `-` of a name.
const fn is_foreign_separator(byte: u8) -> bool {
    matches!(byte, b'_' | b'.')
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
