//! Every fault of a token has its own code, and none of them reaches the backend.

use e2e::issuer::Issuer;
use e2e::key::{Algorithm, Key, base64url};
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET};
use e2e::token::{AUDIENCE, ISSUER, Token, now};
use serde_json::{Value, json};

use crate::gate::{Gate, Judged};

/// A gate that also demands issuer and audience.
fn strict() -> Gate {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend)
        .flag("--secret", SECRET)
        .flag("--issuer", ISSUER)
        .flag("--audience", AUDIENCE)
        .flag("--audience", "https://other.test")
        .start();
    Gate::of(backend, proxy, Key::shared(SECRET))
}

fn judge_tokens(gate: &Gate, rows: &[(&str, String, &str)]) {
    let rows = rows.iter().map(|(name, token, wanted)| (*name, Request::get("/api/alice/x").bearer(token), *wanted));
    gate.judges(rows);
}

fn judge_claims(gate: &Gate, name: &str, rows: &[(Value, &str)]) {
    let mut judged = Judged::default();
    for (value, wanted) in rows {
        let token = Token::of("alice").claim(name, value.clone()).signed_by(&gate.key);
        let verdict = gate.verdict(&Request::get("/api/alice/x").bearer(&token));
        judged.compare(&format!("{name}: {value}"), &verdict, wanted);
    }
    let token = Token::of("alice").without(name).signed_by(&gate.key);
    let verdict = gate.verdict(&Request::get("/api/alice/x").bearer(&token));
    let optional = ["iat", "nbf"].contains(&name);
    judged.compare("missing", &verdict, if optional { "forwarded" } else { "401 claim_missing" });
    judged.all_right();
}

#[test]
fn what_is_no_token_is_malformed() {
    let gate = Gate::open();
    let good = gate.token("alice");
    let [header, payload, signature] = parts(&good);
    let rows = [
        ("one part", "junk".to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("dots alone", "..".to_owned()),
        ("many dots", ".".repeat(10_000)),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("padding", format!("{good}=")),
        ("padding inside", format!("{header}=.{payload}.{signature}")),
        ("the standard alphabet", format!("{header}.{payload}.{}", "+/".repeat(21) + "A")),
        ("a foreign character", format!("{header}.{payload}.!{}", &signature[1..])),
        ("a length no base64 has", format!("{header}.{payload}.{signature}AA")),
        ("trailing bits", with_trailing_bits(&good)),
        ("a quoted token", format!("\"{good}\"")),
        ("header is an array", Token::of("alice").header_bytes("[]").signed_by(&gate.key)),
        ("header is no JSON", Token::of("alice").header_bytes("{").signed_by(&gate.key)),
        ("header is no UTF-8", Token::of("alice").header_bytes(b"{\"alg\":\"\xff\"}").signed_by(&gate.key)),
        ("payload is no JSON", Token::of("alice").payload_bytes("alice").signed_by(&gate.key)),
        ("payload is an array", Token::of("alice").payload_bytes("[1]").signed_by(&gate.key)),
        ("payload is null", Token::of("alice").payload_bytes("null").signed_by(&gate.key)),
        ("payload is not encoded", Token::of("alice").payload_text("{}").signed_by(&gate.key)),
    ];
    let rows = rows.map(|(name, token)| (name, token, "401 token_malformed"));
    judge_tokens(&gate, &rows);
    let unclear = "401 token_malformed | 401 token_encrypted | 400 credentials_repeated";
    judge_tokens(&gate, &[("two tokens behind one scheme", format!("{good} {good}"), unclear)]);
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().expect("three parts")
}

/// The same signature bytes, spelt with bits that no encoder writes (RFC 4648 §3.5).
fn with_trailing_bits(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (kept, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.find(last).expect("base64url");
    // 32 bytes leave two unused bits in the last character.
    format!("{kept}{}", &ALPHABET[value + 1..value + 2])
}

#[test]
fn an_opaque_session_token_is_told_where_a_jwt_comes_from() {
    let gate = Gate::open();
    for token in [
        "JFktC6SZJ3tstMTIAO5fPtGvmsxwWerm",
        "JFktC6SZJ3tstMTIAO5fPtGvmsxwWerm.8foCHH7VfVcNtF2njKhjZgEbvs%2F7LyA6Wv4jy9kad5s%3D",
    ] {
        let answer = gate.proxy.ask(&Request::get("/api/alice/x").bearer(token));
        answer.refused(401, "token_malformed");
        assert!(answer.text().contains("/api/auth/token"), "{}", answer.describe());
    }
}

#[test]
fn an_encrypted_token_is_told_apart() {
    let gate = Gate::open();
    let header = base64url(r#"{"alg":"dir","enc":"A256CBC-HS512","zip":"DEF","p2c":2147483647}"#);
    let rows = [
        ("five parts", format!("{header}.AAAA.AAAA.AAAA.AAAA")),
        ("five parts without a key", format!("{header}..AAAA.AAAA.AAAA")),
    ];
    judge_tokens(&gate, &rows.map(|(name, token)| (name, token, "401 token_encrypted")));
}

#[test]
fn a_token_over_the_limit_is_too_large_and_one_under_it_is_not() {
    let gate = Gate::open();
    let sized = |size: usize| Token::of("alice").claim("image", "x".repeat(size)).signed_by(&gate.key);
    let small = sized(11_000);
    assert!(small.len() < 16_384);
    let large = sized(13_000);
    assert!(large.len() > 16_384);
    judge_tokens(&gate, &[("under", small, "forwarded"), ("over", large, "401 token_too_large")]);
}

#[test]
fn the_token_never_chooses_its_algorithm() {
    let gate = Gate::open();
    let unsigned = |alg: &str| Token::of("alice").header("alg", alg).with_signature(&gate.key, "");
    let signed = |alg: Value| Token::of("alice").header("alg", alg).signed_by(&gate.key);
    let refused = "401 algorithm_not_allowed";
    // An unsigned token has a fault of form too, and either may be found first.
    let unsigned_refused = "401 algorithm_not_allowed | 401 token_malformed";
    judge_tokens(
        &gate,
        &[
            ("none", unsigned("none"), unsigned_refused),
            ("None", unsigned("None"), unsigned_refused),
            ("nOnE", unsigned("nOnE"), unsigned_refused),
            ("NONE with a signature", signed(json!("NONE")), refused),
            ("none with a signature", signed(json!("none")), refused),
            ("empty", signed(json!("")), refused),
            ("HS384", signed(json!("HS384")), refused),
            ("HS512", Token::of("alice").signed_by(&Key::hmac(Algorithm::HS512, SECRET)), refused),
            ("hs256", signed(json!("hs256")), refused),
            ("HS256 and a space", signed(json!("HS256 ")), refused),
            ("EdDSA", Token::of("alice").signed_by(&Key::new(Algorithm::EdDSA, "k")), refused),
            ("RS256", signed(json!("RS256")), refused),
            ("unknown", signed(json!("XX999")), refused),
            ("a number", signed(json!(256)), "401 token_malformed"),
            ("null", signed(Value::Null), "401 token_malformed"),
            ("an array", signed(json!(["HS256"])), "401 token_malformed"),
            (
                "missing",
                Token::of("alice").without_alg().signed_by(&gate.key),
                "401 token_malformed | 401 algorithm_not_allowed",
            ),
        ],
    );
}

#[test]
fn a_wrong_signature_is_invalid() {
    let gate = Gate::open();
    let good = gate.token("alice");
    let [header, payload, signature] = parts(&good);
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let other_payload = Token::of("alice").claim("role", "admin");
    let invalid = "401 signature_invalid";
    judge_tokens(
        &gate,
        &[
            (
                "another secret",
                Token::of("alice").signed_by(&Key::shared("another secret, long enough to be one")),
                invalid,
            ),
            ("one character", format!("{header}.{payload}.{flipped}{}", &signature[1..]), invalid),
            ("another payload", other_payload.with_signature(&gate.key, signature), invalid),
            ("empty", format!("{header}.{payload}."), "401 token_malformed | 401 signature_invalid"),
            ("too short", format!("{header}.{payload}.AA"), "401 token_malformed | 401 signature_invalid"),
            (
                "truncated",
                format!("{header}.{payload}.{}", &signature[..40]),
                "401 token_malformed | 401 signature_invalid",
            ),
            (
                "too long",
                format!("{header}.{payload}.{}", "A".repeat(8_000)),
                "401 token_malformed | 401 signature_invalid",
            ),
            ("the header's own text as the key", Token::of("alice").signed_by(&Key::shared(header)), invalid),
            ("an empty key", Token::of("alice").signed_by(&Key::shared("")), invalid),
        ],
    );
}

#[test]
fn expiry_is_required_and_typed() {
    let future = now() + 600;
    judge_claims(
        &Gate::open(),
        "exp",
        &[
            (json!(future), "forwarded"),
            (json!(4_102_444_800_i64), "forwarded"),
            (json!(now() - 60), "401 token_expired"),
            (json!(900), "401 token_expired"),
            (json!(0), "401 token_expired"),
            (json!(-1), "401 token_expired | 401 claim_invalid"),
            (json!(future.to_string()), "401 claim_invalid"),
            (json!(null), "401 claim_invalid"),
            (json!(true), "401 claim_invalid"),
            (json!([future]), "401 claim_invalid"),
            (json!({}), "401 claim_invalid"),
        ],
    );
}

#[test]
fn numbers_that_are_no_time_are_refused() {
    let gate = Gate::open();
    let refused = "401 claim_invalid | 401 token_malformed";
    for exp in ["1e999999", "1e400", "NaN", "Infinity", "0x7fffffff", "+4102444800", "04102444800", "\"inf\""] {
        let text = Token::of("alice").claim("exp", 7).payload_json().replace("\"exp\":7", &format!("\"exp\":{exp}"));
        let token = Token::of("alice").payload_bytes(text).signed_by(&gate.key);
        let mut judged = Judged::default();
        judged.compare(exp, &gate.verdict(&Request::get("/api/alice/x").bearer(&token)), refused);
        judged.all_right();
    }
}

#[test]
fn a_token_from_the_future_is_not_yet_valid() {
    for name in ["nbf", "iat"] {
        judge_claims(
            &Gate::open(),
            name,
            &[
                (json!(now() - 600), "forwarded"),
                (json!(now() + 20), "forwarded"),
                (json!(now() + 45), "401 token_not_yet_valid"),
                (json!(now() + 3600), "401 token_not_yet_valid"),
                (json!((now() + 3600).to_string()), "401 claim_invalid"),
                (json!(null), "401 claim_invalid"),
                (json!([now()]), "401 claim_invalid"),
            ],
        );
    }
}

#[test]
fn the_subject_is_a_text_that_can_stand_in_a_header() {
    let invalid = "401 claim_invalid";
    judge_claims(
        &Gate::open(),
        "sub",
        &[
            (json!(""), "401 claim_invalid | 401 claim_missing"),
            (json!(7), invalid),
            (json!(null), "401 claim_invalid | 401 claim_missing"),
            (json!(["alice"]), invalid),
            (json!({"id": "alice"}), invalid),
            (json!("bob\r\nX-Role: admin"), invalid),
            (json!("bob\n"), invalid),
            (json!("bob\u{0}"), invalid),
            (json!("bob\t"), invalid),
            (json!("b\tob"), invalid),
            (json!("bob\u{7f}"), invalid),
            (json!("bo\u{85}b"), invalid),
            (json!("bo\u{9b}31mb"), invalid),
            (json!(" bob"), invalid),
            (json!("bob "), invalid),
            (json!("\u{a0}bob"), invalid),
            (json!("bob\u{3000}"), invalid),
            (json!("x".repeat(257)), invalid),
            (json!("é".repeat(129)), invalid),
            (json!("x".repeat(9_000)), invalid),
        ],
    );
}

#[test]
fn no_other_claim_stands_in_for_the_subject() {
    let gate = Gate::open();
    for name in ["id", "user_id", "userId", "uid", "email", "username"] {
        let token = Token::of("alice").without("sub").claim(name, "alice").signed_by(&gate.key);
        let verdict = gate.verdict(&Request::get("/api/alice/x").bearer(&token));
        assert_eq!(verdict, "401 claim_missing", "{name}");
    }
}

#[test]
fn the_issuer_is_one_exact_text() {
    let mismatch = "401 issuer_mismatch";
    judge_claims(
        &strict(),
        "iss",
        &[
            (json!(ISSUER), "forwarded"),
            (json!(format!("{ISSUER}/")), mismatch),
            (json!("https://issuer.tes"), mismatch),
            (json!("https://ISSUER.test"), mismatch),
            (json!("http://issuer.test"), mismatch),
            (json!(""), mismatch),
            (json!([ISSUER]), "401 claim_invalid"),
            (json!([ISSUER, "evil"]), "401 claim_invalid"),
            (json!(7), "401 claim_invalid"),
            (json!(null), "401 claim_invalid"),
        ],
    );
}

#[test]
fn the_audience_holds_one_of_ours() {
    let mismatch = "401 audience_mismatch";
    judge_claims(
        &strict(),
        "aud",
        &[
            (json!(AUDIENCE), "forwarded"),
            (json!("https://other.test"), "forwarded"),
            (json!([AUDIENCE]), "forwarded"),
            (json!(["x", AUDIENCE]), "forwarded"),
            (json!(format!("{AUDIENCE}/")), mismatch),
            (json!("https://api.tes"), mismatch),
            (json!(format!("{AUDIENCE} https://evil.test")), mismatch),
            (json!("better-auth:session-cache"), mismatch),
            (json!(["x", "y"]), mismatch),
            (json!(""), "401 audience_mismatch | 401 claim_invalid"),
            (json!([]), "401 audience_mismatch | 401 claim_invalid"),
            (json!([1, AUDIENCE]), "401 claim_invalid"),
            (json!([[AUDIENCE]]), "401 claim_invalid"),
            (json!({"a": AUDIENCE}), "401 claim_invalid"),
            (json!(7), "401 claim_invalid"),
            (json!(null), "401 claim_invalid"),
        ],
    );
}

#[test]
fn without_a_configured_issuer_a_shared_secret_needs_none() {
    let gate = Gate::open();
    let bare = Token::with_payload(json!({"sub": "alice", "exp": now() + 60}));
    judge_tokens(&gate, &[("sub and exp alone", bare.signed_by(&gate.key), "forwarded")]);
}

#[test]
fn a_type_other_than_jwt_is_refused() {
    let gate = Gate::open();
    let typed = |typ: Value| Token::of("alice").header("typ", typ).signed_by(&gate.key);
    let refused = "401 token_type_refused";
    judge_tokens(
        &gate,
        &[
            ("JWT", typed(json!("JWT")), "forwarded"),
            ("jwt", typed(json!("jwt")), "forwarded"),
            ("JwT", typed(json!("JwT")), "forwarded"),
            ("at+jwt", typed(json!("at+jwt")), refused),
            ("logout+jwt", typed(json!("logout+jwt")), refused),
            ("session cache", typed(json!("better-auth.session-cache+jwt")), refused),
            ("JWE", typed(json!("JWE")), refused),
            ("empty", typed(json!("")), refused),
            ("a number", typed(json!(1)), "401 token_malformed"),
        ],
    );
}

#[test]
fn critical_extensions_and_compression_are_refused() {
    let gate = Gate::open();
    let with = |name: &str, value: Value| Token::of("alice").header(name, value);
    let rows = [
        ("crit", with("crit", json!(["x"])).header("x", 1)),
        ("crit without its member", with("crit", json!(["x"]))),
        ("crit of a known member", with("crit", json!(["alg"]))),
        ("crit empty", with("crit", json!([]))),
        ("crit a text", with("crit", json!("x"))),
        ("crit null", with("crit", Value::Null)),
        ("b64", with("crit", json!(["b64"])).header("b64", false)),
        ("zip", with("zip", json!("DEF"))),
        ("zip null", with("zip", Value::Null)),
        ("kid a number", with("kid", json!(7))),
        ("kid an object", with("kid", json!({}))),
    ];
    let rows = rows.map(|(name, token)| (name, token.signed_by(&gate.key), "401 token_malformed"));
    judge_tokens(&gate, &rows);
}

#[test]
fn header_members_without_a_meaning_are_ignored_whatever_their_type() {
    let gate = Gate::open();
    let attacker = Key::new(Algorithm::EdDSA, "mine");
    let rows = [
        ("an object", "ext", json!({"a": [1, {"b": null}]})),
        ("a number", "ext", json!(1.5)),
        ("jwk", "jwk", attacker.jwk()),
        ("jku", "jku", json!("http://127.0.0.1:9/keys")),
        ("x5u", "x5u", json!("http://127.0.0.1:9/cert")),
        ("x5c", "x5c", json!(["AAAA"])),
    ];
    let rows = rows.map(|(name, member, value)| {
        (name, Token::of("alice").header(member, value).signed_by(&gate.key), "forwarded")
    });
    judge_tokens(&gate, &rows);
}

#[test]
fn repeated_members_are_malformed_at_any_depth() {
    let gate = Gate::open();
    let exp = now() + 60;
    let payloads = [
        ("sub", format!(r#"{{"sub":"alice","sub":"bob","exp":{exp}}}"#)),
        ("sub, the same", format!(r#"{{"sub":"alice","sub":"alice","exp":{exp}}}"#)),
        ("sub, escaped", format!(r#"{{"sub":"alice","s\u0075b":"bob","exp":{exp}}}"#)),
        ("a custom claim", format!(r#"{{"sub":"alice","role":"a","role":"b","exp":{exp}}}"#)),
        ("nested", format!(r#"{{"sub":"alice","x":{{"a":1,"a":2}},"exp":{exp}}}"#)),
        ("nested in an array", format!(r#"{{"sub":"alice","x":[[{{"a":1,"a":2}}]],"exp":{exp}}}"#)),
    ];
    let payloads = payloads.map(|(name, payload)| {
        (name, Token::of("alice").payload_bytes(payload).signed_by(&gate.key), "401 token_malformed")
    });
    judge_tokens(&gate, &payloads);
    let headers = [
        ("alg", r#"{"alg":"HS256","alg":"HS256"}"#),
        ("none and HS256", r#"{"alg":"none","alg":"HS256"}"#),
        ("a custom member", r#"{"alg":"HS256","x":1,"x":2}"#),
        ("a nested one", r#"{"alg":"HS256","x":{"a":1,"a":1}}"#),
    ];
    let headers = headers.map(|(name, header)| {
        (name, Token::of("alice").header_bytes(header).signed_by(&gate.key), "401 token_malformed")
    });
    judge_tokens(&gate, &headers);
}

#[test]
fn json_is_read_strictly() {
    let gate = Gate::open();
    let exp = now() + 60;
    let deep = |depth: usize| {
        let nest = "[".repeat(depth) + &"]".repeat(depth);
        format!(r#"{{"sub":"alice","exp":{exp},"x":{nest}}}"#)
    };
    let good = format!(r#"{{"sub":"alice","exp":{exp}}}"#);
    let rows = [
        ("white space", format!(" \r\n\t{good} "), "forwarded"),
        ("depth 20", deep(20), "forwarded"),
        ("depth 40", deep(40), "401 token_malformed"),
        ("depth 200", deep(200), "401 token_malformed"),
        ("depth 6 000", "[".repeat(6_000), "401 token_malformed"),
        ("trailing data", format!("{good}x"), "401 token_malformed"),
        ("two objects", format!("{good}{good}"), "401 token_malformed"),
        ("a trailing comma", format!(r#"{{"sub":"alice","exp":{exp},}}"#), "401 token_malformed"),
        ("a comment", format!(r#"{{"sub":"alice","exp":{exp}/**/}}"#), "401 token_malformed"),
        ("a byte order mark", format!("\u{feff}{good}"), "401 token_malformed"),
        ("a final NUL", format!("{good}\0"), "401 token_malformed"),
        ("single quotes", format!("{{'sub':'alice','exp':{exp}}}"), "401 token_malformed"),
        ("a bare name", format!("{{sub:\"alice\",\"exp\":{exp}}}"), "401 token_malformed"),
        ("a lone surrogate", format!(r#"{{"sub":"alice","x":"\ud800","exp":{exp}}}"#), "401 token_malformed"),
        (
            "a raw control character",
            format!("{{\"sub\":\"alice\",\"x\":\"\u{1}\",\"exp\":{exp}}}"),
            "401 token_malformed",
        ),
        ("empty", String::new(), "401 token_malformed"),
    ];
    let rows = rows
        .map(|(name, payload, wanted)| (name, Token::of("alice").payload_bytes(payload).signed_by(&gate.key), wanted));
    judge_tokens(&gate, &rows);
    let invalid_utf8 =
        [b"{\"sub\":\"alice\",\"x\":\"\xff\",\"exp\":".as_slice(), exp.to_string().as_bytes(), b"}"].concat();
    let token = Token::of("alice").payload_bytes(invalid_utf8).signed_by(&gate.key);
    judge_tokens(&gate, &[("invalid UTF-8", token, "401 token_malformed")]);
}

#[test]
fn the_scheme_is_bearer_in_any_case_and_nothing_else() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let ask = |value: String| Request::get("/api/alice/x").field("Authorization", value);
    let missing = "401 token_missing";
    let unclear = "401 token_missing | 401 token_malformed";
    gate.judges([
        ("bearer", ask(format!("bearer {token}")), "forwarded"),
        ("BEARER", ask(format!("BEARER {token}")), "forwarded"),
        ("beArer", ask(format!("beArer {token}")), "forwarded"),
        ("no header", Request::get("/api/alice/x"), missing),
        ("Basic", ask("Basic YWxpY2U6cHc=".into()), missing),
        ("Token", ask(format!("Token {token}")), missing),
        ("DPoP", ask(format!("DPoP {token}")), missing),
        ("the token alone", ask(token.clone()), unclear),
        ("Bearer alone", ask("Bearer".into()), unclear),
        ("Bearer glued to the token", ask(format!("Bearer{token}")), unclear),
        ("Bearer and a colon", ask(format!("Bearer: {token}")), unclear),
        ("empty", ask(String::new()), unclear),
    ]);
}

#[test]
fn more_than_one_token_is_refused_even_if_they_are_the_same() {
    let gate = Gate::open();
    let (alice, bob) = (gate.token("alice"), gate.token("bob"));
    let both = |first: &str, second: &str| Request::get("/api/alice/x").bearer(first).bearer(second);
    gate.judges([
        ("alice, bob", both(&alice, &bob), "400 credentials_repeated"),
        ("bob, alice", both(&bob, &alice), "400 credentials_repeated"),
        ("alice twice", both(&alice, &alice), "400 credentials_repeated"),
        ("junk, alice", both("junk", &alice), "400 credentials_repeated"),
    ]);
}

#[test]
fn a_token_stands_in_the_authorization_header_and_nowhere_else() {
    let gate = Gate::open();
    let token = gate.token("alice");
    gate.judges([
        ("query", Request::get(format!("/api/alice/x?access_token={token}")), "401 token_missing"),
        ("cookie", Request::get("/api/alice/x").field("Cookie", format!("token={token}")), "401 token_missing"),
        ("subprotocol", Request::get("/api/alice/x").field("Sec-WebSocket-Protocol", &token), "401 token_missing"),
        (
            "proxy header",
            Request::get("/api/alice/x").field("Proxy-Authorization", format!("Bearer {token}")),
            "401 token_missing",
        ),
        (
            "alias",
            Request::get("/api/alice/x").field("X-Authorization", format!("Bearer {token}")),
            "401 token_missing",
        ),
        ("body", Request::post("/api/alice/x", format!("access_token={token}")), "401 token_missing"),
    ]);
}

#[test]
fn any_of_several_secrets_may_verify() {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend)
        .file("new", "the new secret, which is long enough to be one\n")
        .file("old", "the old secret, which is long enough to be one\n\n")
        .flag("--secret-file", "new")
        .flag("--secret-file", "old")
        .start();
    let gate = Gate::of(backend, proxy, Key::shared(""));
    let signed = |secret: &str| Token::of("alice").signed_by(&Key::shared(secret));
    judge_tokens(
        &gate,
        &[
            ("new", signed("the new secret, which is long enough to be one"), "forwarded"),
            ("one final newline of two", signed("the old secret, which is long enough to be one\n"), "forwarded"),
            ("trimmed further", signed("the old secret, which is long enough to be one"), "401 signature_invalid"),
        ],
    );
}

#[test]
fn every_algorithm_verifies_under_its_own_key() {
    let keys: Vec<Key> = Algorithm::PUBLIC.iter().map(|algorithm| Key::new(*algorithm, &algorithm.name())).collect();
    let issuer = Issuer::publishing(&keys.iter().collect::<Vec<_>>());
    let backend = Recorder::start();
    let proxy = Proxy::with_issuer(&backend, &issuer);
    let gate = Gate::of(backend, proxy, keys[0].clone());
    let mut judged = Judged::default();
    for key in &keys {
        let ask = |token: &str| gate.verdict(&Request::get("/api/alice/x").bearer(token));
        let name = key.algorithm.name();
        judged.compare(&name, &ask(&Token::of("alice").signed_by(key)), "forwarded");
        let nameless = Token::of("alice").signed_by(&key.clone().nameless());
        judged.compare(&format!("{name} without kid"), &ask(&nameless), "forwarded");
        for other in &keys {
            if other.algorithm == key.algorithm {
                continue;
            }
            let crossed = Token::of("alice").header("alg", other.algorithm.name()).signed_by(key);
            let name = format!("{name} key, token says {}", other.algorithm.name());
            judged.compare(&name, &ask(&crossed), "401 algorithm_not_allowed");
        }
    }
    judged.all_right();
}

#[test]
fn ed25519_is_another_name_of_eddsa() {
    let key = Key::new(Algorithm::EdDSA, "k");
    let mut renamed = key.jwk();
    renamed["alg"] = json!("Ed25519");
    for jwk in [key.jwk(), renamed] {
        let issuer = Issuer::behaving(e2e::issuer::Behaviour::Publish(json!({"keys": [jwk]})));
        let backend = Recorder::start();
        let proxy = Proxy::with_issuer(&backend, &issuer);
        let gate = Gate::of(backend, proxy, key.clone());
        judge_tokens(
            &gate,
            &[
                ("EdDSA", Token::of("alice").signed_by(&key), "forwarded"),
                ("Ed25519", Token::of("alice").header("alg", "Ed25519").signed_by(&key), "forwarded"),
                ("Ed448", Token::of("alice").header("alg", "Ed448").signed_by(&key), "401 algorithm_not_allowed"),
            ],
        );
    }
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let key = Key::new(algorithm, "k");
        let issuer = Issuer::publishing(&[&key]);
        let backend = Recorder::start();
        let proxy = Proxy::with_issuer(&backend, &issuer);
        let gate = Gate::of(backend, proxy, key.clone());
        let mut judged = Judged::default();
        let pem = key.public_pem();
        let secrets = [pem.clone(), pem.trim_end().to_owned(), key.jwk().to_string(), String::new()];
        for secret in secrets {
            for confused in [Key::shared(&secret), Key::shared(&secret).named("k")] {
                let token = Token::of("alice").signed_by(&confused);
                let verdict = gate.verdict(&Request::get("/api/alice/x").bearer(&token));
                judged.compare(&format!("{confused:?}"), &verdict, "401 algorithm_not_allowed");
            }
        }
        judged.all_right();
    }
}

#[test]
fn ecdsa_signatures_have_one_form() {
    let key = Key::new(Algorithm::ES256, "k");
    let issuer = Issuer::publishing(&[&key]);
    let backend = Recorder::start();
    let proxy = Proxy::with_issuer(&backend, &issuer);
    let gate = Gate::of(backend, proxy, key.clone());
    let token = Token::of("alice");
    let raw = key.sign(token.signing_input(&key).as_bytes());
    let with = |signature: &[u8]| token.with_signature(&key, &base64url(signature));
    // The order of P-256 (SEC 2 §2.4.2).
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let refused = "401 signature_invalid | 401 token_malformed";
    judge_tokens(
        &gate,
        &[
            ("raw", with(&raw), "forwarded"),
            ("zero", with(&[0; 64]), refused),
            ("r zero", with(&[&[0; 32], &raw[32..]].concat()), refused),
            ("s zero", with(&[&raw[..32], &[0; 32]].concat()), refused),
            ("s the order", with(&[&raw[..32], &order].concat()), refused),
            ("r the order", with(&[order.as_slice(), &raw[32..]].concat()), refused),
            ("63 bytes", with(&raw[..63]), refused),
            ("65 bytes", with(&[raw.as_slice(), &[0]].concat()), refused),
            ("DER", with(&der_of(&raw)), refused),
            ("empty", with(&[]), refused),
            ("9 KB", with(&[1; 9_000]), refused),
        ],
    );
}

/// ECDSA-Sig-Value of RFC 3279 §2.2.3.
fn der_of(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let zero = (bytes[0] & 0x80 != 0).then_some(0);
        let content: Vec<u8> = zero.into_iter().chain(bytes.iter().copied()).collect();
        [vec![2, u8::try_from(content.len()).expect("short")], content].concat()
    };
    let content = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [vec![0x30, u8::try_from(content.len()).expect("short")], content].concat()
}

#[test]
fn eddsa_signatures_have_one_form() {
    let key = Key::new(Algorithm::EdDSA, "k");
    let issuer = Issuer::publishing(&[&key]);
    let backend = Recorder::start();
    let proxy = Proxy::with_issuer(&backend, &issuer);
    let gate = Gate::of(backend, proxy, key.clone());
    let token = Token::of("alice");
    let raw = key.sign(token.signing_input(&key).as_bytes());
    let with = |signature: &[u8]| token.with_signature(&key, &base64url(signature));
    let (point, scalar) = raw.split_at(32);
    let refused = "401 signature_invalid | 401 token_malformed";
    judge_tokens(
        &gate,
        &[
            ("raw", with(&raw), "forwarded"),
            ("S plus the order", with(&[point, &plus_order(scalar)].concat()), refused),
            ("R zero", with(&[&[0; 32], scalar].concat()), refused),
            ("S zero", with(&[point, &[0; 32]].concat()), refused),
            ("R and S swapped", with(&[scalar, point].concat()), refused),
            ("63 bytes", with(&raw[..63]), refused),
            ("65 bytes", with(&[raw.as_slice(), &[0]].concat()), refused),
            ("twice", with(&[raw.as_slice(), &raw].concat()), refused),
        ],
    );
}

/// The scalar plus the order of the base point, which verifies where RFC 8032 §5.1.7 is not followed.
fn plus_order(scalar: &[u8]) -> Vec<u8> {
    let mut order = [0; 32];
    order[..16].copy_from_slice(&0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes());
    order[31] = 0x10;
    let mut carry = 0;
    let add = |(left, right): (&u8, u8)| {
        let sum = u16::from(*left) + u16::from(right) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    };
    scalar.iter().zip(order).map(add).collect()
}

#[test]
fn rsa_signatures_have_one_form() {
    let key = Key::new(Algorithm::RS256, "k");
    let issuer = Issuer::publishing(&[&key]);
    let backend = Recorder::start();
    let proxy = Proxy::with_issuer(&backend, &issuer);
    let gate = Gate::of(backend, proxy, key.clone());
    let token = Token::of("alice");
    let input = token.signing_input(&key);
    let raw = key.sign(input.as_bytes());
    let by = |algorithm: Algorithm| key.clone().signing_with(algorithm).sign(input.as_bytes());
    let with = |signature: &[u8]| token.with_signature(&key, &base64url(signature));
    let refused = "401 signature_invalid | 401 token_malformed";
    judge_tokens(
        &gate,
        &[
            ("raw", with(&raw), "forwarded"),
            ("of another hash", with(&by(Algorithm::RS512)), refused),
            ("of another padding", with(&by(Algorithm::PS256)), refused),
            ("a leading zero", with(&[&[0], raw.as_slice()].concat()), refused),
            ("a trailing zero", with(&[raw.as_slice(), &[0]].concat()), refused),
            ("255 bytes", with(&raw[1..]), refused),
            ("zero", with(&[0; 256]), refused),
            ("one", with(&[&[0; 255][..], &[1]].concat()), refused),
            ("all ones", with(&[0xff; 256]), refused),
        ],
    );
}
