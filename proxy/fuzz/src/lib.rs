//! The gate that the fuzz targets knock at: two issuers, every token source, a secret that the targets know.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use ownergate::decide::{
    Access, Gate, GateRules, Head, IdentityHeaders, Issuer, IssuerId, IssuerKeys, KeySet, Keys, Pattern, Policy, Route,
    Standing, Timestamp, TokenSource, UpstreamId,
};

/// What the second issuer's tokens are signed with.
const SECRET: &[u8] = b"a secret that every fuzzer knows";

/// The time at which everything is decided.
pub const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// Rules with every kind of access and token source.
pub static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let owner = Access::Owner { capture: "user_id".into() };
    let routes = vec![
        route("/api/{user_id}/**", owner),
        route("/public/**", Access::Public),
        route("/feed", Access::Optional),
        route("/me", Access::SignedIn),
    ];
    Gate::new(GateRules {
        policy: Policy::new(routes).expect("unambiguous routes"),
        issuers: vec![issuer(Some("https://issuer.example")), issuer(None)],
        identity: IdentityHeaders {
            header: HeaderName::from_static("x-user-id"),
            claims: vec![(HeaderName::from_static("x-user-email"), "email".into())],
            signed: false,
        },
        trusted_proxies: Vec::new(),
        path_bytes: 8192,
        head_bytes: 32768,
        token_bytes: 16384,
        json_depth: 32,
    })
});

/// A published key that nobody here can sign with, and the secret.
pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let published =
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let current = |set| IssuerKeys { set: Arc::new(set), standing: Standing::Current };
    let published = KeySet::from_jwks(published, &[]).expect("a key set").0;
    Keys(vec![current(published), current(KeySet::from_secrets(&[SECRET], &[]))])
});

/// A token of these texts under a good signature.
pub fn signed(header: &[u8], payload: &[u8]) -> String {
    let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// Reads lines of a method, a target and headers, as far as the HTTP parser would let them through.
pub fn with_head<T>(data: &[u8], use_it: impl FnOnce(&Head<'_>) -> T) -> Option<T> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let method = Method::from_bytes(lines.next()?).ok()?;
    let uri = Uri::try_from(lines.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(&value[1..]).ok()?);
    }
    Some(use_it(&Head { method: &method, uri: &uri, version: Version::HTTP_11, headers: &headers }))
}

fn route(pattern: &str, access: Access) -> Route {
    Route {
        pattern: Pattern::parse(pattern).expect("a pattern"),
        access,
        issuers: [IssuerId(0), IssuerId(1)].into(),
        methods: [].into(),
        scopes: [].into(),
        roles: [].into(),
        upstream: UpstreamId(0),
        forward_credentials: false,
        body_bytes: None,
        response_head: None,
        exchange: None,
        end_at_expiry: true,
        cors: None,
        rate_limit: None,
        enforce: true,
    }
}

fn issuer(iss: Option<&str>) -> Issuer {
    Issuer {
        name: iss.unwrap_or("secret").into(),
        issuer: iss.map(Into::into),
        audience: [].into(),
        algorithms: [].into(),
        leeway_seconds: 30,
        token_types: ["at+jwt".into()].into(),
        user_claim: "sub".into(),
        required_claims: [].into(),
        max_lifetime_seconds: None,
        scope_claims: ["scope".into(), "scp".into()].into(),
        role_claim: Some("role".into()),
        token_from: [
            TokenSource::Header,
            TokenSource::Cookie("session".into()),
            TokenSource::Query("access_token".into()),
            TokenSource::WebSocketProtocol,
        ]
        .into(),
    }
}
