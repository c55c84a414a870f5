//! What a decision costs, and how much of it is cryptography: each verification beside aws-lc's alone.

mod fixture;

use std::{hint::black_box, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{self, ParsedPublicKey, RsaPublicKeyComponents},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use fixture::{NOW, browser_headers, fixture, gate, gate_of, keys, route};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use ownergate::decide::{Access, Admission, Head, Timestamp};
use serde_json::Value;

fn decode(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).expect("the fixture is base64url")
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
    let headers = browser_headers(&token);
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
