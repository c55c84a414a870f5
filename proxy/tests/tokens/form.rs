//! A token's form and its header.

use ownergate::decide::{Algorithm, Code, Denial};
use serde_json::{Value, json};

use crate::kit::*;

fn signer() -> Signer {
    Signer::new(Algorithm::EdDSA, "1")
}

#[test]
fn a_good_token_names_its_user() {
    let signer = signer();
    let world = World::of(&signer);
    let identity = world.verify(&signer.token(&payload())).unwrap();
    assert_eq!(identity.user().as_str(), "alice");
    assert_eq!(identity.expires_at().as_unix(), NOW + 900 + 30);
    assert_eq!(identity.issuer().0, 0);
}

#[test]
fn every_algorithm_verifies_its_own_tokens_and_none_of_anothers() {
    let signers = Algorithm::ALL.map(|algorithm| Signer::new(algorithm, "1"));
    for key in &signers {
        let keys = match key.algorithm.is_hmac() {
            true => secret_keys(&[SECRET], &[key.algorithm]),
            false => public_keys(&[&key.jwk]),
        };
        let world = World::new(vec![(issuer(), keys)]);
        for token in &signers {
            let expected =
                if token.algorithm == key.algorithm { Ok("alice".into()) } else { Err(Code::AlgorithmNotAllowed) };
            assert_eq!(world.user(&token.token(&payload())), expected, "{} with {}", token.algorithm, key.algorithm);
        }
    }
}

#[test]
fn row_62_no_algorithm_no_entry() {
    let signer = signer();
    let world = World::of(&signer);
    for alg in ["none", "None", "nOnE", "NONE", "", " none", "ES256K", "RSA-OAEP", "eddsa", "EDDSA", "hs256"] {
        let signed = signer.with_header(|header| drop(header.insert("alg".into(), alg.into())));
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        assert_eq!(world.user(&signed), Err(Code::AlgorithmNotAllowed), "{alg:?}");
        assert_eq!(world.user(&unsigned), Err(Code::AlgorithmNotAllowed), "{alg:?} unsigned");
    }
    let missing = signer.with_header(|header| drop(header.remove("alg")));
    assert_eq!(world.user(&missing), Err(Code::AlgorithmNotAllowed));
    for alg in [json!(null), json!(7), json!(["EdDSA"]), json!({}), json!(true)] {
        let mistyped = signer.with_header(|header| drop(header.insert("alg".into(), alg.clone())));
        assert_eq!(world.user(&mistyped), Err(Code::TokenMalformed), "{alg}");
    }
}

#[test]
fn rows_65_and_66_keys_in_the_token_are_not_looked_at() {
    let (good, evil) = (signer(), signer());
    let world = World::of(&good);
    for (name, value) in [
        ("jwk", evil.jwk.clone()),
        ("jku", "https://evil.example/jwks".into()),
        ("x5u", "https://evil.example/cert".into()),
        ("x5c", json!(["MIIB"])),
        ("jwk", 7.into()),
    ] {
        let forged = evil.with_header(|header| drop(header.insert(name.into(), value.clone())));
        assert_eq!(world.user(&forged), Err(Code::SignatureInvalid), "{name}");
        let honest = good.with_header(|header| drop(header.insert(name.into(), value)));
        assert_eq!(world.user(&honest), Ok("alice".into()), "{name}");
    }
}

#[test]
fn row_69_a_signature_that_is_missing_or_cut_short_verifies_nothing() {
    for algorithm in [Algorithm::HS256, Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        let signer = Signer::new(algorithm, "1");
        let world = match algorithm.is_hmac() {
            true => World::of_secret(SECRET, &[]),
            false => World::of(&signer),
        };
        let token = signer.token(&payload());
        let (message, signature) = token.rsplit_once('.').unwrap();
        for signature in ["", "AA", &signature[..signature.len() - 4], &format!("{signature}AAAA")] {
            let cut = world.verify(&format!("{message}.{signature}"));
            let code = cut.map_err(|denial| denial.code).map(|identity| identity.user().as_str().to_owned());
            // A length that base64 cannot have is a fault of form already.
            assert!(matches!(code, Err(Code::SignatureInvalid | Code::TokenMalformed)), "{algorithm} {signature}");
        }
        assert_eq!(world.user(message), Err(Code::TokenMalformed), "two parts");
    }
}

#[test]
fn row_70_an_oversized_token_is_refused_before_it_is_read() {
    let signer = signer();
    let world = World::of(&signer);
    let token = signer.token(&payload());
    let message = token.rsplit_once('.').unwrap().0;
    assert_eq!(world.user(&format!("{message}.{}", "A".repeat(30_000))), Err(Code::TokenTooLarge));
    assert_eq!(world.user(&"A".repeat(16_385)), Err(Code::TokenTooLarge));
    assert_eq!(world.user(&"A".repeat(16_384)), Err(Code::TokenMalformed));
}

#[test]
fn row_76_whatever_must_be_understood_is_not() {
    let signer = signer();
    let cases = [
        json!({ "crit": ["x"], "x": 1 }),
        json!({ "crit": [] }),
        json!({ "crit": "x" }),
        json!({ "crit": null }),
        json!({ "crit": ["alg"] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "b64": true }),
        json!({ "zip": "DEF" }),
        json!({ "zip": null }),
    ];
    let tokens = cases.map(|members| {
        (members.to_string(), signer.with_header(|header| header.extend(members.as_object().unwrap().clone())))
    });
    assert_refused(&World::of(&signer), Code::TokenMalformed, tokens);
}

#[test]
fn row_77_repeated_members_are_refused_in_header_and_payload() {
    let signer = signer();
    let (header, payload) = (signer.header().to_string(), payload().to_string());
    let and = |text: &str, more: &str| format!("{},{more}}}", &text[..text.len() - 1]);
    let tokens = [
        and(&header, r#""alg":"EdDSA""#),
        and(&header, r#""kid":"1""#),
        and(&header, r#""x":1,"x":1"#),
        and(&header, r#""a\u006cg":"none""#),
    ]
    .map(|header| (header.clone(), signer.raw(&header, &payload)))
    .into_iter()
    .chain(
        [
            and(&payload, r#""sub":"bob""#),
            and(&payload, r#""s\u0075b":"bob""#),
            and(&payload, r#""role":"user","role":"admin""#),
            and(&payload, r#""deep":{"er":[{"a":1,"a":2}]}"#),
        ]
        .map(|payload| (payload.clone(), signer.raw(&header, &payload))),
    );
    assert_refused(&World::of(&signer), Code::TokenMalformed, tokens);
}

#[test]
fn rows_78_and_79_encrypted_tokens_are_named_and_never_opened() {
    let world = World::of(&signer());
    for header in [
        json!({ "alg": "dir", "enc": "A256CBC-HS512", "zip": "DEF" }),
        json!({ "alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_147_483_647 }),
        json!({ "alg": "RSA-OAEP", "enc": "A128GCM", "cty": "JWT" }),
    ] {
        let token = format!("{}.a.b.c.d", encode(header.to_string()));
        assert_eq!(world.user(&token), Err(Code::TokenEncrypted));
    }
    assert_eq!(world.user("...."), Err(Code::TokenEncrypted));
}

#[test]
fn row_80_a_flood_of_dots_is_refused() {
    let world = World::of(&signer());
    for dots in [3, 5, 6, 16_000] {
        assert_eq!(world.user(&".".repeat(dots)), Err(Code::TokenMalformed), "{dots}");
    }
    assert_eq!(world.user(&".".repeat(1_000_000)), Err(Code::TokenTooLarge));
}

#[test]
fn row_82_base64url_has_one_spelling() {
    let signer = signer();
    let world = World::of(&signer);
    let token = signer.token(&payload());
    let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    // 64 bytes end in a character of which only the upper two bits count.
    let next = char::from(signature.as_bytes()[85] + 1);
    for token in [
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{token}="),
        format!("{token}=="),
        format!("{token}\n"),
        format!("{header} .{payload}.{signature}"),
        format!(" {token}"),
        format!("{token} x"),
        format!("{header}.{payload}.{}{next}", &signature[..85]),
        format!("{header}.{payload}.{}+/", &signature[..84]),
        format!("{header}.{payload}.%41{}", &signature[3..]),
    ] {
        assert_eq!(world.user(&token), Err(Code::TokenMalformed), "{token}");
    }
}

#[test]
fn rows_83_and_84_json_is_strict() {
    let signer = signer();
    let (header, payload) = (signer.header().to_string(), payload().to_string());
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let broken = [
        format!("\u{feff}{payload}"),
        format!("{payload}{payload}"),
        format!("{payload}\0"),
        payload.replace('}', ",}"),
        payload.replace('}', ",\"x\":NaN}"),
        payload.replace('}', ",\"x\":\"\\ud800\"}"),
        payload.replace('}', ",\"x\":1e400}"),
        payload.replace('}', "/* x */}"),
        format!("[{payload}]"),
        format!("{payload:?}"),
        "null".into(),
        String::new(),
        nested(32),
        nested(5_000),
    ];
    for broken in &broken {
        assert_eq!(World::of(&signer).user(&signer.raw(&header, broken)), Err(Code::TokenMalformed), "{broken:.60}");
        assert_eq!(World::of(&signer).user(&signer.raw(broken, &payload)), Err(Code::TokenMalformed), "{broken:.60}");
    }
    let deep = signer.with_claims(|claims| {
        let nested: Value = serde_json::from_str(&nested(30)).unwrap();
        claims.insert("x".into(), nested);
    });
    assert_eq!(World::of(&signer).user(&deep), Ok("alice".into()), "32 levels");
}

#[test]
fn row_85_other_kinds_of_token_pass_only_where_they_are_listed() {
    let signer = signer();
    let typed = |typ: &str| signer.with_header(|header| drop(header.insert("typ".into(), typ.into())));
    let world = World::of(&signer);
    for typ in ["JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT"] {
        assert_eq!(world.user(&typed(typ)), Ok("alice".into()), "{typ}");
    }
    let others = ["at+jwt", "logout+jwt", "better-auth.session-cache+jwt", "", "JWT ", "text/JWT", "application/"];
    for typ in others {
        assert_eq!(world.user(&typed(typ)), Err(Code::TokenTypeRefused), "{typ}");
    }
    let mut listing = issuer();
    listing.token_types = ["at+jwt".into()].into();
    let world = World::new(vec![(listing, public_keys(&[&signer.jwk]))]);
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "JWT"] {
        assert_eq!(world.user(&typed(typ)), Ok("alice".into()), "{typ}");
    }
    assert_eq!(world.user(&typed("logout+jwt")), Err(Code::TokenTypeRefused));
}

#[test]
fn row_88_header_members_of_any_type_are_ignored_unless_they_mean_something() {
    let signer = signer();
    let world = World::of(&signer);
    for value in [json!({}), json!([1]), json!(null), json!(1.5), json!("x")] {
        let extended = signer.with_header(|header| drop(header.insert("ext".into(), value.clone())));
        assert_eq!(world.user(&extended), Ok("alice".into()), "{value}");
        for name in ["kid", "typ"] {
            if !value.is_string() {
                let mistyped = signer.with_header(|header| drop(header.insert(name.into(), value.clone())));
                assert_eq!(world.user(&mistyped), Err(Code::TokenMalformed), "{name}: {value}");
            }
        }
    }
}

#[test]
fn an_opaque_session_token_is_recognised() {
    let world = World::of(&signer());
    let tells = |token: &str| world.verify(token).unwrap_err().detail().contains("/api/auth/token");
    for token in [
        "JFktC6SZJ3tstMTIAO5fPtGvmsxwWerm",
        "JFktC6SZJ3tstMTIAO5fPtGvmsxwWerm.8foCHH7VfVcNtF2njKhjZgEbvs/7LyA6Wv4jy9kad5s=",
        "JFktC6SZJ3tstMTIAO5fPtGvmsxwWerm.8foCHH7VfVcNtF2njKhjZgEbvs%2F7LyA6Wv4jy9kad5s%3D",
        "junk",
    ] {
        assert_eq!(world.user(token), Err(Code::TokenMalformed), "{token}");
        assert!(tells(token), "{token}");
    }
    for token in ["eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0", "a.b.c", "a.b.c.d"] {
        assert_eq!(world.user(token), Err(Code::TokenMalformed), "{token}");
        assert!(!tells(token), "{token}");
    }
}

#[test]
fn row_114_no_part_of_a_token_is_told_back() {
    let signer = signer();
    let world = World::of(&signer);
    let good = signer.token(&payload());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let broken = [
        message.to_owned(),
        format!("{good}="),
        format!("{message}.{}", signature.replace(|_: char| true, "A")),
        signer.raw(&signer.header().to_string(), "{\"sub\":\"alice\""),
        signer.with_claims(|claims| drop(claims.insert("exp".into(), 1.into()))),
    ];
    for token in broken {
        let Denial { detail, reason, .. } = world.verify(&token).unwrap_err();
        let told = format!("{detail:?} {reason:?}");
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!told.contains(&part[..8]), "{told} tells {part}");
        }
    }
}
