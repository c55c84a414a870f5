//! Keys come from the issuer, stay fresh, and survive its bad days.

use std::time::Duration;

use e2e::issuer::{Behaviour, Issuer};
use e2e::key::{Algorithm, Key, base64url, key_set};
use e2e::process::poll;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::Proxy;
use e2e::token::{AUDIENCE, ISSUER, Token};
use e2e::{PATIENCE, port};
use serde_json::{Value, json};

use crate::gate::{Gate, Judged};

/// No two refetches are nearer than this.
const COOL_DOWN: Duration = Duration::from_secs(5);

fn key(id: &str) -> Key {
    Key::new(Algorithm::EdDSA, id)
}

fn trusting(issuer: &Issuer, key: &Key) -> Gate {
    let backend = Recorder::start();
    let proxy = Proxy::with_issuer(&backend, issuer);
    Gate::of(backend, proxy, key.clone())
}

fn verdict(gate: &Gate, key: &Key) -> String {
    gate.verdict(&Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(key)))
}

/// Waits until a token of this key is judged like this.
#[track_caller]
fn wait_for(gate: &Gate, key: &Key, wanted: &str) {
    let mut last = String::new();
    let reached = poll(PATIENCE, || {
        last = verdict(gate, key);
        (last == wanted).then_some(())
    });
    assert!(reached.is_some(), "still {last}, not {wanted}");
}

#[test]
fn the_keys_are_fetched_once_before_the_proxy_is_ready() {
    let key = key("a");
    let issuer = Issuer::publishing(&[&key]);
    let gate = trusting(&issuer, &key);
    for _ in 0..10 {
        assert_eq!(verdict(&gate, &key), "forwarded");
    }
    assert_eq!((issuer.fetches(), issuer.targets()[0].as_str()), (1, "/jwks"));
}

#[test]
fn the_first_token_of_a_new_key_is_accepted() {
    let (old, new) = (key("old"), key("new"));
    let issuer = Issuer::publishing(&[&old]);
    let gate = trusting(&issuer, &old);
    assert_eq!(verdict(&gate, &old), "forwarded");
    issuer.publish(&[&old, &new]);
    assert_eq!(verdict(&gate, &new), "forwarded");
    assert_eq!(verdict(&gate, &old), "forwarded");
    assert_eq!(issuer.fetches(), 2);
}

#[test]
fn a_key_that_the_issuer_dropped_is_forgotten_with_the_next_fetch() {
    let (old, new) = (key("old"), key("new"));
    let issuer = Issuer::publishing(&[&old]);
    let gate = trusting(&issuer, &old);
    let token = Token::of("alice").signed_by(&old);
    let ask = || gate.verdict(&Request::get("/api/alice/x").bearer(&token));
    assert_eq!(ask(), "forwarded");
    issuer.publish(&[&new]);
    wait_for(&gate, &new, "forwarded");
    assert_eq!(ask(), "401 key_unknown");
}

#[test]
fn a_key_replaced_under_the_same_id_is_found() {
    let (old, new) = (key("1"), key("1"));
    let issuer = Issuer::publishing(&[&old]);
    let gate = trusting(&issuer, &old);
    assert_eq!(verdict(&gate, &old), "forwarded");
    issuer.publish(&[&new]);
    wait_for(&gate, &new, "forwarded");
    assert_eq!(verdict(&gate, &old), "401 signature_invalid");
}

#[test]
fn unknown_keys_cost_one_fetch_a_cool_down_and_nobody_else_anything() {
    let known = key("known");
    let issuer = Issuer::publishing(&[&known]);
    let gate = trusting(&issuer, &known);
    let started = std::time::Instant::now();
    for round in 0..100 {
        assert_eq!(verdict(&gate, &known.clone().named(&format!("forged-{round}"))), "401 key_unknown");
        assert_eq!(verdict(&gate, &known), "forwarded");
    }
    let cool_downs = usize::try_from(started.elapsed().as_secs() / COOL_DOWN.as_secs()).expect("short");
    assert!(issuer.fetches() <= 2 + cool_downs, "{} fetches", issuer.fetches());
}

#[test]
fn many_callers_of_one_new_key_cause_one_fetch() {
    let (old, new) = (key("old"), key("new"));
    let issuer = Issuer::publishing(&[&old]);
    let gate = trusting(&issuer, &old);
    issuer.publish(&[&old, &new]);
    let token = Token::of("alice").signed_by(&new);
    let request = Request::get("/api/alice/x").bearer(&token);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| gate.proxy.ask(&request).expect(200));
        }
    });
    assert_eq!(issuer.fetches(), 2);
}

#[test]
fn after_the_cool_down_an_unknown_key_is_looked_for_again() {
    let (old, new) = (key("old"), key("new"));
    let issuer = Issuer::publishing(&[&old]);
    let gate = trusting(&issuer, &old);
    assert_eq!(verdict(&gate, &new), "401 key_unknown");
    issuer.publish(&[&old, &new]);
    let fetches = issuer.fetches();
    assert_eq!(verdict(&gate, &new), "401 key_unknown", "the cool-down holds");
    assert_eq!(issuer.fetches(), fetches);
    wait_for(&gate, &new, "forwarded");
}

#[test]
fn known_keys_stay_through_every_failure_of_the_issuer() {
    let stays = key("stays");
    let other = key("other");
    let behaviours = [
        ("429", Behaviour::Status(429)),
        ("500", Behaviour::Status(500)),
        ("404", Behaviour::Status(404)),
        ("junk", Behaviour::Content(b"<html>".into())),
        ("no set", Behaviour::Publish(json!({"error": "x"}))),
        ("an empty set", Behaviour::Publish(json!({"keys": []}))),
        ("2 MiB", Behaviour::Content(padded(&key_set(&[&other]), 2 << 20))),
        ("without end", Behaviour::Endless),
        ("broken HTTP", Behaviour::Raw(b"HTTP/1.1 banana\r\n\r\n".into())),
        ("closed", Behaviour::Raw(Vec::new())),
        ("stalled", Behaviour::Stall),
        ("stalled inside", Behaviour::StallInside(key_set(&[&other]))),
    ];
    std::thread::scope(|scope| {
        for (name, behaviour) in behaviours {
            let (stays, other) = (&stays, &other);
            scope.spawn(move || {
                let issuer = Issuer::publishing(&[stays]);
                let gate = trusting(&issuer, stays);
                issuer.behave(behaviour);
                let unknown = verdict(&gate, other);
                let wanted = if name == "an empty set" { "401 key_unknown" } else { "503 keys_unavailable" };
                assert_eq!(unknown, wanted, "{name}: an unknown key");
                assert_eq!(issuer.fetches(), 2, "{name}");
                assert_eq!(verdict(&gate, stays), "forwarded", "{name}: a known key");
                issuer.publish(&[stays, other]);
                wait_for(&gate, other, "forwarded");
            });
        }
    });
}

fn padded(document: &Value, size: usize) -> Vec<u8> {
    let mut bytes = document.to_string().into_bytes();
    bytes.resize(size, b' ');
    bytes
}

#[test]
fn a_known_key_does_not_wait_for_a_slow_issuer() {
    let known = key("known");
    let issuer = Issuer::publishing(&[&known]);
    let gate = trusting(&issuer, &known);
    issuer.behave(Behaviour::Stall);
    let mut waiting = gate.proxy.connect();
    let unknown = Token::of("alice").signed_by(&key("unknown"));
    waiting.send(Request::get("/api/alice/x").bearer(&unknown).bytes());
    issuer.wait_for_fetches(2);
    let started = std::time::Instant::now();
    assert_eq!(verdict(&gate, &known), "forwarded");
    assert!(started.elapsed() < Duration::from_secs(2), "it waited {:?}", started.elapsed());
    waiting.answer().refused(503, "keys_unavailable");
}

#[test]
fn without_the_issuer_the_proxy_starts_says_so_and_recovers_by_itself() {
    let key = key("a");
    let address = port::free();
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend)
        .flag("--jwks", &format!("http://{address}/jwks"))
        .flag("--issuer", ISSUER)
        .flag("--audience", AUDIENCE)
        .start_unready();
    let gate = Gate::of(backend, proxy, key.clone());
    assert_eq!(gate.proxy.ask_admin("/readyz").status, 503);
    let request = Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(&key));
    let answer = gate.proxy.ask(&request);
    answer.refused(503, "keys_unavailable");
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{}", answer.describe());
    gate.backend.is_untouched();
    let _issuer = Issuer::at(address, &[&key]);
    gate.proxy.wait_until("/readyz", 200);
    assert_eq!(verdict(&gate, &key), "forwarded");
}

#[test]
fn without_any_keys_nothing_verifies() {
    let key = key("a");
    for (behaviour, wanted) in [
        (Behaviour::Status(500), "503 keys_unavailable"),
        (Behaviour::Content(b"{}".into()), "503 keys_unavailable"),
        // An issuer that was reached and has no key has not this one either.
        (Behaviour::Publish(json!({"keys": []})), "503 keys_unavailable | 401 key_unknown"),
    ] {
        let mut judged = Judged::default();
        let name = format!("{behaviour:?}");
        let issuer = Issuer::behaving(behaviour);
        let backend = Recorder::start();
        let proxy = Proxy::trusting(&backend, &issuer).start_unready();
        let gate = Gate::of(backend, proxy, key.clone());
        judged.compare(&name, &verdict(&gate, &key), wanted);
        judged.compare("no token", &gate.verdict(&Request::get("/api/alice/x")), "401 token_missing");
        judged.all_right();
    }
}

#[test]
fn unusable_keys_are_skipped_and_the_others_serve() {
    let good = key("good");
    let ec = Key::new(Algorithm::ES256, "ec-without-alg");
    let rsa = Key::new(Algorithm::RS256, "rsa");
    let mut ec_jwk = ec.jwk();
    ec_jwk.as_object_mut().expect("a JWK").remove("alg");
    let mut encrypting = key("encrypting").jwk();
    encrypting["use"] = json!("enc");
    let mut cubeless = rsa.jwk();
    cubeless["kid"] = json!("exponent-1");
    cubeless["e"] = json!("AQ");
    let mut unnamed_rsa = rsa.jwk();
    unnamed_rsa["kid"] = json!("rsa-without-alg");
    unnamed_rsa.as_object_mut().expect("a JWK").remove("alg");
    let small_order =
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "small-order", "x": base64url([0; 32])});
    let identity = [&[1][..], &[0; 31]].concat();
    let set = json!({"keys": [
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "future", "pub": "AAAA"},
        {"kty": "OKP", "crv": "X25519", "kid": "x", "x": base64url([9; 32])},
        {"kty": "OKP", "crv": "Ed448", "kid": "448", "x": base64url([9; 57])},
        {"kty": "EC", "crv": "secp256k1", "kid": "btc", "x": base64url([1; 32]), "y": base64url([1; 32])},
        {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "off-curve", "x": base64url([1; 32]), "y": base64url([1; 32])},
        {"kty": "oct", "alg": "HS256", "kid": "shared", "k": base64url("a shared secret in a public document")},
        {"kty": "RSA", "alg": "RS256", "kid": "rsa-1024", "n": base64url([0xc1; 128]), "e": "AQAB"},
        {"kty": 7},
        {},
        encrypting,
        cubeless,
        unnamed_rsa,
        small_order,
        {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "identity-point", "x": base64url(identity)},
        ec_jwk,
        good.jwk(),
    ]});
    let issuer = Issuer::behaving(Behaviour::Publish(set));
    let gate = trusting(&issuer, &good);
    let mut judged = Judged::default();
    judged.compare("good", &verdict(&gate, &good), "forwarded");
    judged.compare("EC without alg", &verdict(&gate, &ec), "forwarded");
    for skipped in ["encrypting", "exponent-1", "rsa-without-alg", "rsa-1024", "off-curve", "x", "448", "future", "btc"]
    {
        let signer = if skipped.starts_with("rsa") { &rsa } else { &good };
        judged.compare(skipped, &verdict(&gate, &signer.clone().named(skipped)), "401 key_unknown");
    }
    let shared = Key::shared("a shared secret in a public document").named("shared");
    judged.compare("oct", &verdict(&gate, &shared), "401 algorithm_not_allowed | 401 key_unknown");
    for point in ["small-order", "identity-point"] {
        // Under a small-order key the signature R = identity, S = 0 fits many messages.
        let forged = [&[1][..], &[0; 63]].concat();
        let token = Token::of("alice").with_signature(&good.clone().named(point), &base64url(forged));
        judged.compare(point, &gate.verdict(&Request::get("/api/alice/x").bearer(&token)), "401 key_unknown");
    }
    judged.all_right();
    gate.proxy.process.wait_for_line("rsa-1024");
}

#[test]
fn a_token_without_a_kid_is_tried_against_the_keys_of_its_algorithm() {
    let keys: Vec<Key> = (0..3).map(|number| key(&format!("k{number}"))).collect();
    let nameless = key("unnamed").nameless();
    let ec = Key::new(Algorithm::ES256, "ec");
    let issuer = Issuer::publishing(&[&ec, &keys[0], &keys[1], &keys[2], &nameless]);
    let gate = trusting(&issuer, &keys[2]);
    for key in &keys {
        assert_eq!(verdict(&gate, &key.clone().nameless()), "forwarded");
    }
    assert_eq!(verdict(&gate, &nameless), "forwarded", "a key without a name");
    assert_eq!(verdict(&gate, &ec.clone().nameless()), "forwarded");
    let stranger = verdict(&gate, &key("stranger").nameless());
    assert!(["401 signature_invalid", "401 key_unknown"].contains(&stranger.as_str()), "{stranger}");
}

#[test]
fn a_redirect_to_another_origin_is_not_followed() {
    let key = key("a");
    let elsewhere = Issuer::publishing(&[&key]);
    let issuer = Issuer::behaving(Behaviour::Redirect(elsewhere.url()));
    let backend = Recorder::start();
    let proxy = Proxy::trusting(&backend, &issuer).start_unready();
    let gate = Gate::of(backend, proxy, key.clone());
    issuer.wait_for_fetches(1);
    assert_eq!(verdict(&gate, &key), "503 keys_unavailable");
    assert_eq!(elsewhere.fetches(), 0);
}

#[test]
fn keys_named_by_the_token_itself_are_never_fetched() {
    let known = key("known");
    let issuer = Issuer::publishing(&[&known]);
    let gate = trusting(&issuer, &known);
    let attacker = key("mine");
    let evil = Issuer::publishing(&[&attacker]);
    let mut judged = Judged::default();
    for member in ["jku", "x5u", "iss"] {
        let token = Token::of("alice").header(member, evil.url()).signed_by(&attacker);
        judged.compare(member, &gate.verdict(&Request::get("/api/alice/x").bearer(&token)), "401 key_unknown");
    }
    let embedded = Token::of("alice").header("jwk", attacker.jwk()).signed_by(&attacker.clone().nameless());
    let verdict = gate.verdict(&Request::get("/api/alice/x").bearer(&embedded));
    judged.compare("jwk", &verdict, "401 signature_invalid | 401 key_unknown");
    let posing = Token::of("alice").header("jwk", attacker.jwk()).signed_by(&attacker.clone().named("known"));
    judged.compare(
        "jwk under a known id",
        &gate.verdict(&Request::get("/api/alice/x").bearer(&posing)),
        "401 signature_invalid",
    );
    judged.all_right();
    assert_eq!(evil.fetches(), 0);
}

#[test]
fn a_kid_is_a_name_and_nothing_more() {
    let known = key("../../dev/null");
    let odd = key("' OR 1=1 --");
    let long = key(&"k".repeat(4_000));
    let issuer = Issuer::publishing(&[&known, &odd]);
    let gate = trusting(&issuer, &known);
    assert_eq!(verdict(&gate, &known), "forwarded");
    assert_eq!(verdict(&gate, &odd), "forwarded");
    let verdict = verdict(&gate, &long);
    assert!(["401 key_unknown", "401 token_malformed"].contains(&verdict.as_str()), "{verdict}");
}

#[test]
fn a_key_set_in_a_file_serves_without_an_issuer() {
    let key = key("a");
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend)
        .file("keys.json", key_set(&[&key]).to_string())
        .flag("--jwks", "keys.json")
        .flag("--issuer", ISSUER)
        .flag("--audience", AUDIENCE)
        .start();
    let gate = Gate::of(backend, proxy, key.clone());
    assert_eq!(verdict(&gate, &key), "forwarded");
    assert_eq!(verdict(&gate, &key.clone().named("b")), "401 key_unknown");
}

#[test]
fn better_auth_is_short_for_its_key_set_issuer_and_audience() {
    let key = key("a");
    let issuer = Issuer::publishing(&[&key]);
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend).flag("--better-auth", &issuer.origin()).start();
    let gate = Gate::of(backend, proxy, key.clone());
    assert_eq!(issuer.targets(), ["/api/auth/jwks"]);
    let theirs = Token::of("alice").claim("iss", issuer.origin()).claim("aud", issuer.origin());
    let ask = |token: Token| gate.verdict(&Request::get("/api/alice/x").bearer(&token.signed_by(&key)));
    assert_eq!(ask(theirs.clone()), "forwarded");
    assert_eq!(ask(theirs.clone().claim("iss", ISSUER)), "401 issuer_mismatch");
    assert_eq!(ask(theirs.clone().claim("aud", AUDIENCE)), "401 audience_mismatch");
    assert_eq!(ask(theirs.claim("iss", format!("{}/api/auth", issuer.origin()))), "401 issuer_mismatch");
}
