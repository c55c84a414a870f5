//! Rules and callers for the tests of this folder.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, request::Parts};

use super::*;

/// A route with everything at its default.
pub(super) fn route(pattern: &str, access: Access) -> Route {
    Route {
        pattern: Pattern::parse(pattern).unwrap(),
        forward_credentials: access == Access::Public,
        access,
        issuers: [IssuerId(0)].into(),
        methods: [].into(),
        scopes: [].into(),
        roles: [].into(),
        upstream: UpstreamId(0),
        body_bytes: None,
        response_head: None,
        exchange: None,
        end_at_expiry: true,
        cors: None,
        rate_limit: None,
        enforce: true,
    }
}

pub(super) fn owner() -> Access {
    Access::Owner { capture: "user_id".into() }
}

/// An issuer that checks neither `iss` nor `aud`.
pub(super) fn issuer(name: &str, token_from: &[TokenSource]) -> Issuer {
    Issuer {
        name: name.into(),
        issuer: None,
        audience: [].into(),
        algorithms: [].into(),
        leeway_seconds: 30,
        token_types: ["JWT".into()].into(),
        user_claim: "sub".into(),
        required_claims: [].into(),
        max_lifetime_seconds: None,
        scope_claims: ["scope".into()].into(),
        role_claim: None,
        token_from: token_from.into(),
    }
}

/// Two issuers, of which the second takes its tokens from a cookie and a query parameter.
pub(super) fn gate(routes: Vec<Route>) -> Gate {
    Gate::new(GateRules {
        policy: Policy::new(routes).unwrap(),
        issuers: vec![
            issuer("one", &[TokenSource::Header]),
            issuer("two", &[TokenSource::Cookie("session".into()), TokenSource::Query("access_token".into())]),
        ],
        identity: IdentityHeaders {
            header: HeaderName::from_static("x-user-id"),
            claims: vec![(HeaderName::from_static("x-user-email"), "email".into())],
            signed: false,
        },
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        path_bytes: 8192,
        head_bytes: 32768,
        token_bytes: 16384,
        json_depth: 32,
    })
}

/// A caller known to the first issuer.
pub(super) fn caller(user: &str) -> Identity {
    Identity {
        issuer: IssuerId(0),
        user: UserId::new(user).unwrap(),
        expires_at: Timestamp::from_unix(2_000_000_000),
        scopes: [].into(),
        roles: [].into(),
        claims: [].into(),
    }
}

/// A request to `good` with these lines, each `name: value`.
pub(super) fn request(method: &str, target: &str, lines: &[&str]) -> Parts {
    let mut request = Request::builder().method(method).uri(target).body(()).unwrap();
    let headers: &mut HeaderMap = request.headers_mut();
    headers.append("host", HeaderValue::from_static("good"));
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request.into_parts().0
}

pub(super) fn head(parts: &Parts) -> Head<'_> {
    Head { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers }
}

/// The decision on a request whose token, if any, belongs to this caller.
pub(super) fn decide(gate: &Gate, parts: &Parts, caller: Identity) -> Decision {
    match gate.admit(&head(parts)) {
        Admission::Decided(decision) => decision,
        Admission::Pending(pending) => pending.conclude(Ok(Arc::new(caller))),
    }
}

pub(super) fn code(decision: &Decision) -> Option<Code> {
    match decision {
        Decision::Refuse(denial) => Some(denial.code),
        Decision::Forward(_) | Decision::Preflight(..) => None,
    }
}

pub(super) fn methods(names: &[&str]) -> Box<[Method]> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}
