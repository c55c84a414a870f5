//! What a decision costs, and how much of it is cryptography: each verification beside aws-lc's alone.

use std::{fs, hint::black_box, path::PathBuf, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{self, ParsedPublicKey, RsaPublicKeyComponents},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use ownergate::decide::{
    Access, Admission, Gate, GateRules, Head, IdentityHeaders, Issuer, IssuerId, IssuerKeys, KeySet, Keys, Pattern,
    Policy, Route, Standing, Timestamp, TokenSource, UpstreamId,
};
use serde_json::Value;

/// While the fixtures' tokens are good.
const NOW: Timestamp = Timestamp::from_unix(1_795_417_800);
const ORIGIN: &str = "http://127.0.0.1:3000";

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/better-auth").join(name);
    fs::read_to_string(path).expect("the fixture is there")
}

fn decode(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).expect("the fixture is base64url")
}

fn key_set(algorithm: &str) -> KeySet {
    if algorithm == "HS256" {
        return KeySet::from_secrets(&[fixture("secret.txt").as_bytes()], &[]);
    }
    let document = fixture(&format!("{algorithm}/jwks.json"));
    KeySet::from_jwks(document.as_bytes(), &[]).expect("the fixture is a key set").0
}

fn keys(algorithm: &str) -> Keys {
    Keys(vec![IssuerKeys { set: Arc::new(key_set(algorithm)), standing: Standing::Current }])
}

fn route(pattern: &str, access: Access) -> Route {
    Route {
        pattern: Pattern::parse(pattern).expect("a pattern"),
        access,
        issuers: [IssuerId(0)].into(),
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

fn gate() -> Gate {
    gate_of(vec![route("/api/{user_id}/**", owner()), route("/health", Access::Public)])
}

fn owner() -> Access {
    Access::Owner { capture: "user_id".into() }
}

fn gate_of(routes: Vec<Route>) -> Gate {
    Gate::new(GateRules {
        policy: Policy::new(routes).expect("unambiguous routes"),
        issuers: vec![Issuer {
            name: "better-auth".into(),
            issuer: Some(ORIGIN.into()),
            audience: [ORIGIN.into()].into(),
            algorithms: [].into(),
            leeway_seconds: 30,
            token_types: ["JWT".into()].into(),
            user_claim: "sub".into(),
            required_claims: [].into(),
            max_lifetime_seconds: None,
            scope_claims: ["scope".into()].into(),
            role_claim: None,
            token_from: [TokenSource::Header].into(),
        }],
        identity: IdentityHeaders { header: HeaderName::from_static("x-user-id"), claims: Vec::new(), signed: false },
        trusted_proxies: Vec::new(),
        path_bytes: 8192,
        head_bytes: 32768,
        token_bytes: 16384,
        json_depth: 32,
    })
}

/// aws-lc alone: a prepared key, a message, a signature.
fn bare(algorithm: &str, token: &str) -> Box<dyn Fn() -> bool> {
    let (message, signature) = token.rsplit_once('.').expect("a token");
    let (message, signature) = (message.as_bytes().to_vec(), decode(signature));
    if algorithm == "HS256" {
        let key = hmac::Key::new(hmac::HMAC_SHA256, fixture("secret.txt").as_bytes());
        return Box::new(move || hmac::verify(&key, &message, &signature).is_ok());
    }
    let set: Value = serde_json::from_str(&fixture(&format!("{algorithm}/jwks.json"))).expect("JSON");
    let number = |name: &str| decode(set["keys"][0][name].as_str().expect("a number"));
    let key = match algorithm {
        "EdDSA" => ParsedPublicKey::new(&signature::ED25519, number("x")),
        "ES256" | "ES512" => {
            let point = [vec![4], number("x"), number("y")].concat();
            match algorithm {
                "ES256" => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point),
                _ => ParsedPublicKey::new(&signature::ECDSA_P521_SHA512_FIXED, point),
            }
        }
        _ => {
            let components = RsaPublicKeyComponents { n: number("n"), e: number("e") };
            match algorithm {
                "RS256" => components.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256),
                _ => components.to_parsed_public_key(&signature::RSA_PSS_2048_8192_SHA256),
            }
        }
    };
    let key = key.expect("a key");
    Box::new(move || key.verify_sig(&message, &signature).is_ok())
}

fn verification(criterion: &mut Criterion) {
    let gate = gate();
    for algorithm in ["HS256", "EdDSA", "ES256", "ES512", "RS256", "PS256"] {
        let (keys, token) = (keys(algorithm), fixture(&format!("{algorithm}/alice.jwt")));
        assert!(gate.verify(&token, &keys, NOW).is_ok());
        let bare = bare(algorithm, &token);
        assert!(bare());
        let mut group = criterion.benchmark_group(format!("verify {algorithm}"));
        group.bench_function("aws-lc alone", |bencher| bencher.iter(&bare));
        group.bench_function("token to identity", |bencher| {
            bencher.iter(|| gate.verify(black_box(&token), &keys, NOW).is_ok());
        });
        group.finish();
    }
}

/// What a caller without a good token costs.
fn refusal(criterion: &mut Criterion) {
    let (gate, keys) = (gate(), keys("EdDSA"));
    let good = fixture("EdDSA/alice.jwt");
    let message = good.rsplit_once('.').expect("a token").0;
    let late = Timestamp::from_unix(2_200_000_000);
    let mut group = criterion.benchmark_group("refuse");
    for (name, token, now) in [
        ("an opaque token", "JFktC6SZJ3tstMTIAO5fPtGvmsxwWerm".to_owned(), NOW),
        ("16 KiB of dots", ".".repeat(16_384), NOW),
        ("an expired token", good.clone(), late),
        ("another algorithm", fixture("HS256/alice.jwt"), NOW),
        ("an unknown key", fixture("ES256/alice.jwt"), NOW),
        ("a short signature", format!("{message}.AAAA"), NOW),
        ("a forged signature", format!("{message}.{}", "A".repeat(86)), NOW),
    ] {
        assert!(gate.verify(&token, &keys, now).is_err());
        group.bench_function(name, |bencher| bencher.iter(|| gate.verify(black_box(&token), &keys, now).is_err()));
    }
    group.finish();
}

/// The whole decision on a browser's request.
fn decision(criterion: &mut Criterion) {
    let (gate, keys, token) = (gate(), keys("EdDSA"), fixture("EdDSA/alice.jwt"));
    let identity = gate.verify(&token, &keys, NOW).expect("a good token");
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "api.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "application/json"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("origin", "https://app.example"),
        ("referer", "https://app.example/"),
        ("connection", "keep-alive"),
        ("authorization", &format!("Bearer {token}")),
    ] {
        headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
    }
    let owned: Uri = format!("/api/{}/tasks?limit=20", identity.user().as_str()).parse().expect("a target");
    let public = Uri::from_static("/health");
    let head = |uri| Head { method: &Method::GET, uri, version: Version::HTTP_11, headers: &headers };
    let mut group = criterion.benchmark_group("decide");
    group.bench_function("a public route", |bencher| {
        bencher.iter(|| gate.decide(black_box(&head(&public)), &keys, NOW));
    });
    group.bench_function("an owner's route, token known", |bencher| {
        bencher.iter(|| match gate.admit(black_box(&head(&owned))) {
            Admission::Pending(pending) => pending.conclude(Ok(Arc::clone(&identity))),
            Admission::Decided(decision) => decision,
        });
    });
    group.bench_function("an owner's route, token new", |bencher| {
        bencher.iter(|| gate.decide(black_box(&head(&owned)), &keys, NOW));
    });
    group.finish();
}

/// Finding a route among few and among many.
fn routing(criterion: &mut Criterion) {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("api.example"))]);
    let uri = Uri::from_static("/service-7/alice/tasks/12");
    let head = Head { method: &Method::GET, uri: &uri, version: Version::HTTP_11, headers: &headers };
    let mut group = criterion.benchmark_group("find a route");
    for count in [10, 100, 1_000, 10_000] {
        let routes =
            (0..count).map(|place| route(&format!("/service-{place}/{{user_id}}/tasks/{{id}}"), Access::Public));
        let gate = gate_of(routes.collect());
        group.bench_function(format!("of {count}"), |bencher| bencher.iter(|| gate.admit(black_box(&head))));
    }
    group.finish();
}

criterion_group!(benches, verification, refusal, decision, routing);
criterion_main!(benches);
