//! Which key may have signed a token, and which keys of a set are taken in.

use std::sync::Arc;

use ownergate::decide::{Algorithm, Code, IssuerId, IssuerKeys, JwksFault, KeySet, Standing};
use serde_json::{Value, json};

use crate::kit::*;

fn set_of(keys: &[Value], algorithms: &[Algorithm]) -> (KeySet, Vec<String>) {
    let document = json!({ "keys": keys }).to_string();
    let (set, skipped) = KeySet::from_jwks(document.as_bytes(), algorithms).unwrap();
    (set, skipped.iter().map(ToString::to_string).collect())
}

fn changed(jwk: &Value, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Value {
    let mut jwk = jwk.clone();
    change(jwk.as_object_mut().unwrap());
    jwk
}

fn without(jwk: &Value, name: &str) -> Value {
    changed(jwk, |members| drop(members.remove(name)))
}

fn with(jwk: &Value, name: &str, value: impl Into<Value>) -> Value {
    changed(jwk, |members| drop(members.insert(name.into(), value.into())))
}

/// Asserts that the key is left out, and why.
fn assert_skipped(jwk: &Value, reason: &str) {
    let (set, skipped) = set_of(std::slice::from_ref(jwk), &[]);
    assert!(set.is_empty(), "{jwk} was taken in");
    assert!(skipped.len() == 1 && skipped[0].contains(reason), "{skipped:?}, want {reason:?}");
}

#[test]
fn row_51_what_cannot_be_used_is_left_out_key_by_key() {
    let good = Signer::new(Algorithm::EdDSA, "good");
    let keys = [
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": encode([1; 32]) }),
        json!({ "kty": "OKP", "crv": "Ed448", "x": encode([1; 57]) }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": encode([1; 32]), "y": encode([1; 32]) }),
        json!({ "kty": "oct", "k": encode(SECRET), "kid": "good" }),
        json!({}),
        json!(null),
        json!("key"),
        json!([[]]),
        good.jwk.clone(),
    ];
    let (set, skipped) = set_of(&keys, &[]);
    assert_eq!((set.len(), skipped.len()), (1, 9));
    assert!(!skipped.concat().contains(&encode(SECRET)), "{skipped:?}");
    let world = World::new(vec![(issuer(), IssuerKeys { set: Arc::new(set), standing: Standing::Current })]);
    assert_eq!(world.user(&good.token(&payload())), Ok("alice".into()));
}

#[test]
fn a_skipped_key_is_named_with_its_place_and_what_is_the_matter() {
    let key = json!({ "kty": "EC", "crv": "P-999\n", "kid": "a\"b", "x": "AA", "y": "AA" });
    let (_, skipped) = set_of(&[json!({ "kty": "oct", "k": "c2VjcmV0" }), key], &[]);
    assert_eq!(
        skipped,
        [
            "key 0: it is a symmetric key, which no public set may hold",
            r#"key 1 (kid "a\"b"): its crv "P-999\n" is not supported"#
        ]
    );
}

#[test]
fn a_key_says_what_it_is_for() {
    let key = Signer::new(Algorithm::EdDSA, "1").jwk;
    for taken in [
        with(&key, "use", "sig"),
        with(&key, "key_ops", json!(["verify"])),
        with(&key, "key_ops", json!(["sign", "verify"])),
        with(&key, "alg", "Ed25519"),
        without(&key, "alg"),
        without(&key, "kid"),
        with(&key, "x5c", json!([7])),
        with(&key, "exp", "x"),
    ] {
        assert_eq!(set_of(std::slice::from_ref(&taken), &[]).0.algorithms(), [Algorithm::EdDSA], "{taken}");
    }
    assert_skipped(&with(&key, "use", "enc"), "its use is \"enc\"");
    assert_skipped(&with(&key, "use", "SIG"), "its use is \"SIG\"");
    assert_skipped(&with(&key, "use", 7), "its \"use\" is of the wrong type");
    assert_skipped(&with(&key, "key_ops", json!(["sign"])), "key_ops");
    assert_skipped(&with(&key, "key_ops", json!([])), "key_ops");
    assert_skipped(&with(&key, "key_ops", "verify"), "its \"key_ops\" is of the wrong type");
    assert_skipped(&with(&key, "kid", 1), "its \"kid\" is of the wrong type");
    assert_skipped(&with(&key, "alg", "ES256"), "its alg ES256 does not belong");
    assert_skipped(&with(&key, "alg", "HS256"), "its alg HS256 does not belong");
    assert_skipped(&with(&key, "alg", "none"), "its alg \"none\" is not supported");
    assert_skipped(&with(&key, "alg", json!(null)), "its \"alg\" is of the wrong type");
    assert_skipped(&with(&key, "kty", "okp"), "its kty \"okp\" is none of");
    assert_skipped(&without(&key, "crv"), "it has no \"crv\"");
    assert_skipped(&without(&key, "x"), "it has no \"x\"");
    assert_skipped(&with(&key, "x", "AA=="), "its \"x\" is no base64url");
    assert_skipped(&with(&key, "x", encode([1; 31])), "its coordinate has 31 bytes, want 32");
}

#[test]
fn trap_10_ed25519_points_under_which_anybody_can_sign_are_left_out() {
    let key = Signer::new(Algorithm::EdDSA, "1").jwk;
    let mut one = [0; 32];
    one[0] = 1;
    assert_skipped(&with(&key, "x", encode([0; 32])), "small order");
    assert_skipped(&with(&key, "x", encode(one)), "small order");
    let mut not_canonical = [0xff; 32];
    not_canonical[31] = 0x7f;
    assert_skipped(&with(&key, "x", encode(not_canonical)), "canonical");
}

#[test]
fn points_on_nist_curves_are_points_of_the_curve_that_is_named() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        let key = Signer::new(algorithm, "1").jwk;
        assert_eq!(set_of(&[without(&key, "alg")], &[]).0.algorithms(), [algorithm]);
        assert_skipped(&with(&key, "y", key["x"].clone()), "not on the curve");
        assert_skipped(&with(&key, "x", ""), "its coordinate has 0 bytes");
        assert_skipped(&without(&key, "y"), "it has no \"y\"");
        let zeros = encode(vec![0; if algorithm == Algorithm::ES512 { 66 } else { 32 }]);
        assert_eq!(set_of(&[with(&with(&key, "x", zeros.clone()), "y", zeros)], &[]).0.len(), 0, "{algorithm}");
    }
    let p256 = Signer::new(Algorithm::ES256, "1").jwk;
    assert_skipped(&with(&without(&p256, "alg"), "crv", "P-384"), "its coordinate has 32 bytes, want 48");
    assert_skipped(&with(&p256, "alg", "ES384"), "its alg ES384 does not belong");
    assert_skipped(&with(&p256, "alg", "EdDSA"), "its alg EdDSA does not belong");
}

#[test]
fn rsa_keys_are_large_odd_and_have_a_real_exponent() {
    let key = Signer::new(Algorithm::RS256, "1").jwk;
    let modulus = |bytes: usize| {
        let mut modulus = vec![0x81; bytes];
        modulus[0] = 0xff;
        encode(modulus)
    };
    assert_skipped(&with(&key, "n", modulus(128)), "its modulus has 1024 bits");
    assert_skipped(&with(&key, "n", modulus(255)), "its modulus has 2040 bits");
    assert_skipped(&with(&key, "n", encode([&[0x7f], &[0x81; 255][..]].concat())), "its modulus has 2047 bits");
    assert_skipped(&with(&key, "n", modulus(1025)), "its modulus has 8200 bits");
    assert_skipped(&with(&key, "n", ""), "its modulus has 0 bits");
    assert_skipped(&with(&key, "n", encode([0x80; 256])), "its modulus is even");
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1; 9]] {
        assert_skipped(&with(&key, "e", encode(exponent)), "its exponent");
    }
    for exponent in [&[3][..], &[17], &[1, 0, 1], &[0, 1, 0, 1], &[1, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(set_of(&[with(&key, "e", encode(exponent))], &[]).0.len(), 1, "{exponent:?}");
    }
    assert_skipped(&with(&key, "alg", "ES256"), "its alg ES256 does not belong");
    assert_skipped(&with(&key, "alg", "RSA-OAEP"), "its alg \"RSA-OAEP\" is not supported");
}

#[test]
fn an_rsa_key_without_alg_serves_what_the_issuer_names_for_rsa() {
    use Algorithm::*;
    let bare = without(&Signer::new(RS256, "1").jwk, "alg");
    let served = |algorithms: &[Algorithm]| set_of(std::slice::from_ref(&bare), algorithms).0.algorithms();
    assert_skipped(&bare, "it has no alg");
    assert_eq!(served(&[EdDSA, ES256]), []);
    assert_eq!(served(&[EdDSA, PS256]), [PS256]);
    assert_eq!(served(&[RS256, RS512]), [RS256, RS512]);
    let named = set_of(&[Signer::new(RS256, "1").jwk], &[PS256]).0;
    assert_eq!(named.algorithms(), [RS256], "a key's own alg stands");
}

#[test]
fn a_published_private_key_is_used_for_its_public_part_and_reported() {
    let signer = Signer::new(Algorithm::EdDSA, "1");
    let (set, skipped) = set_of(&[with(&signer.jwk, "d", "c2VjcmV0")], &[]);
    assert_eq!(set.len(), 1);
    assert!(skipped[0].contains("private key is published") && !skipped[0].contains("c2VjcmV0"), "{skipped:?}");
}

#[test]
fn a_document_that_is_no_key_set_is_a_fault() {
    for document in
        ["", "[]", "null", "{\"keys\":[],\"keys\":[]}", "{\"keys\":[{\"kty\":\"OKP\",\"kty\":\"EC\"}]}", "<html>"]
    {
        assert!(matches!(KeySet::from_jwks(document.as_bytes(), &[]), Err(JwksFault::Json(_))), "{document}");
    }
    for document in ["{}", "{\"keys\":{}}", "{\"keys\":null}", "{\"kty\":\"OKP\"}"] {
        assert!(matches!(KeySet::from_jwks(document.as_bytes(), &[]), Err(JwksFault::NoKeys)), "{document}");
    }
    let (set, skipped) = KeySet::from_jwks(b"{\"keys\":[],\"more\":[1]}", &[]).unwrap();
    assert!(set.is_empty() && skipped.is_empty());
}

#[test]
fn row_63_and_64_a_public_key_is_no_secret() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let signer = Signer::new(algorithm, "1");
        let world = World::of(&signer);
        let jwk = signer.jwk.to_string();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{jwk}\n-----END PUBLIC KEY-----\n");
        let parameter = signer.jwk["x"].as_str().or(signer.jwk["n"].as_str()).unwrap();
        for secret in [jwk.as_bytes(), pem.as_bytes(), parameter.as_bytes(), b"ssh-ed25519 AAAA", b""] {
            for hash in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let mut forger = Signer::hmac(hash, secret);
                for kid in [None, Some("1"), Some("2")] {
                    forger.kid = kid;
                    assert_eq!(world.user(&forger.token(&payload())), Err(Code::AlgorithmNotAllowed));
                }
            }
        }
    }
}

#[test]
fn row_67_ecdsa_signatures_of_zeros_and_of_the_order_verify_nothing() {
    // n of P-256 (SEC 2 §2.4.2).
    let order = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let signer = Signer::new(Algorithm::ES256, "1");
    let world = World::of(&signer);
    let token = signer.token(&payload());
    let message = token.rsplit_once('.').unwrap().0;
    let (zero, one) = ([0; 32], [&[0; 31][..], &[1]].concat());
    for r in [&zero[..], &one, &order, &[0xff; 32]] {
        for s in [&zero[..], &one, &order, &[0xff; 32]] {
            let forged = format!("{message}.{}", encode([r, s].concat()));
            assert_eq!(world.user(&forged), Err(Code::SignatureInvalid), "{r:x?} {s:x?}");
        }
    }
    for algorithm in [Algorithm::ES384, Algorithm::ES512] {
        let signer = Signer::new(algorithm, "1");
        let token = signer.token(&payload());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{message}.{}", "A".repeat(signature.len()));
        assert_eq!(World::of(&signer).user(&forged), Err(Code::SignatureInvalid));
    }
}

#[test]
fn row_68_ecdsa_signatures_are_raw_and_of_one_length() {
    let signer = Signer::new(Algorithm::ES256, "1");
    let world = World::of(&signer);
    let token = signer.token(&payload());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let raw = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, signature).unwrap();
    let integer = |half: &[u8]| [&[2, 33, 0], half].concat();
    let der = [&[0x30, 70][..], &integer(&raw[..32]), &integer(&raw[32..])].concat();
    let padded = [&[0], &raw[..32], &[0], &raw[32..]].concat();
    for other in [&der[..], &raw[..63], &[&raw[..], &[0]].concat(), &padded, &raw[1..]] {
        let forged = format!("{message}.{}", encode(other));
        assert_eq!(world.user(&forged), Err(Code::SignatureInvalid), "{} bytes", other.len());
    }
    assert_eq!(world.user(&token), Ok("alice".into()));
}

#[test]
fn row_60_a_kid_is_an_opaque_name_of_bounded_length() {
    let signer = Signer::new(Algorithm::EdDSA, "1");
    let world = World::of(&signer);
    let named = |kid: Value| signer.with_header(|header| drop(header.insert("kid".into(), kid)));
    for kid in
        ["../../dev/null", "' UNION SELECT 1--", "", "1 ", "1\0", "01", "https://evil.example", &"k".repeat(1024)]
    {
        assert_eq!(world.user(&named(kid.into())), Err(Code::KeyUnknown), "{kid:.20}");
    }
    assert_eq!(world.user(&named("k".repeat(1025).into())), Err(Code::TokenMalformed));
    assert_eq!(world.user(&named(json!(1))), Err(Code::TokenMalformed));
    assert_eq!(world.user(&signer.with_header(|header| drop(header.remove("kid")))), Ok("alice".into()));
    let unnamed = World::new(vec![(issuer(), public_keys(&[&without(&signer.jwk, "kid")]))]);
    assert_eq!(unnamed.user(&signer.token(&payload())), Err(Code::KeyUnknown), "a key without kid answers to none");
}

#[test]
fn two_keys_of_one_kid_may_both_verify() {
    let (old, new) = (Signer::new(Algorithm::EdDSA, "1"), Signer::new(Algorithm::EdDSA, "1"));
    let world = World::new(vec![(issuer(), public_keys(&[&old.jwk, &new.jwk]))]);
    for signer in [&old, &new] {
        assert_eq!(world.user(&signer.token(&payload())), Ok("alice".into()));
    }
}

#[test]
fn a_token_without_kid_is_tried_on_the_first_eight_keys_of_its_algorithm() {
    let signers: Vec<Signer> = (0..9).map(|_| Signer::new(Algorithm::EdDSA, "1")).collect();
    let other = Signer::new(Algorithm::ES256, "2");
    let jwks: Vec<&Value> = [&other.jwk].into_iter().chain(signers.iter().map(|signer| &signer.jwk)).collect();
    let world = World::new(vec![(issuer(), public_keys(&jwks))]);
    let unnamed = |signer: &Signer| world.user(&signer.with_header(|header| drop(header.remove("kid"))));
    for signer in signers[..8].iter().chain([&other]) {
        assert_eq!(unnamed(signer), Ok("alice".into()));
    }
    assert_eq!(unnamed(&signers[8]), Err(Code::SignatureInvalid));
}

#[test]
fn any_of_several_secrets_verifies_whatever_kid_the_token_names() {
    let secrets: Vec<Vec<u8>> = (0..12_u8).map(|number| vec![number; 32]).collect();
    let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
    let world = World::new(vec![(anonymous_issuer(), secret_keys(&secrets, &[Algorithm::HS256, Algorithm::HS512]))]);
    for secret in secrets {
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            let mut signer = Signer::hmac(algorithm, secret);
            signer.kid = Some("whatever");
            assert_eq!(world.user(&signer.token(&payload())), Ok("alice".into()));
        }
    }
    let foreign = Signer::hmac(Algorithm::HS256, &[99; 32]);
    assert_eq!(world.user(&foreign.token(&payload())), Err(Code::SignatureInvalid));
    let other = Signer::hmac(Algorithm::HS384, &[0; 32]);
    assert_eq!(world.user(&other.token(&payload())), Err(Code::AlgorithmNotAllowed));
}

#[test]
fn the_commonest_mistake_is_told_with_both_algorithms() {
    let signer = Signer::new(Algorithm::EdDSA, "1");
    let secret = World::of_secret(SECRET, &[]);
    assert_eq!(secret.user(&signer.token(&payload())), Err(Code::AlgorithmNotAllowed));
    assert_eq!(secret.reason(&signer.token(&payload())), "the token says EdDSA, the issuer's keys serve HS256");
    let mut rules = issuer();
    rules.algorithms = [Algorithm::ES256, Algorithm::RS256].into();
    let listing = World::new(vec![(rules, public_keys(&[&signer.jwk]))]);
    assert_eq!(listing.user(&signer.token(&payload())), Err(Code::AlgorithmNotAllowed));
    assert_eq!(listing.reason(&signer.token(&payload())), "the token says EdDSA, the issuer accepts ES256, RS256");
}

#[test]
fn an_unknown_key_is_unknown_only_while_the_issuer_can_be_asked() {
    let (known, unknown) = (Signer::new(Algorithm::EdDSA, "1"), Signer::new(Algorithm::EdDSA, "2"));
    let other = Signer::new(Algorithm::ES256, "1");
    let unnamed = other.with_header(|header| drop(header.remove("kid")));
    let shared = Signer::hmac(Algorithm::HS256, SECRET).token(&payload());
    let rows = [
        (Standing::Current, Code::KeyUnknown, Code::AlgorithmNotAllowed),
        (Standing::Unreachable, Code::KeysUnavailable, Code::KeysUnavailable),
    ];
    for (standing, unknown_kid, no_kid) in rows {
        let world = World::new(vec![(issuer(), IssuerKeys { standing, ..public_keys(&[&known.jwk]) })]);
        assert_eq!(world.user(&known.token(&payload())), Ok("alice".into()), "known keys go on");
        assert_eq!(world.user(&unknown.token(&payload())), Err(unknown_kid));
        assert_eq!(world.user(&other.token(&payload())), Err(Code::AlgorithmNotAllowed), "a known kid");
        assert_eq!(world.user(&unnamed), Err(no_kid));
        assert_eq!(world.user(&shared), Err(Code::AlgorithmNotAllowed), "no fetch brings a secret");
    }
    let unread = IssuerKeys { set: Arc::new(KeySet::unread()), standing: Standing::Unfetched };
    let world = World::new(vec![(issuer(), unread)]);
    assert_eq!(world.user(&known.token(&payload())), Err(Code::KeysUnavailable));
    assert_eq!(world.user(&unnamed), Err(Code::KeysUnavailable));
    assert_eq!(world.user(&shared), Err(Code::AlgorithmNotAllowed));
}

#[test]
fn what_a_fetch_could_change_names_its_issuer() {
    let (known, other) = (Signer::new(Algorithm::EdDSA, "1"), Signer::new(Algorithm::EdDSA, "2"));
    let impostor = Signer::new(Algorithm::EdDSA, "1");
    let world = World::of(&known);
    let stale = |token: &str| world.verify(token).unwrap_err().stale_keys();
    assert_eq!(stale(&other.token(&payload())), Some(IssuerId(0)));
    assert_eq!(stale(&impostor.token(&payload())), Some(IssuerId(0)), "serial ids repeat");
    assert_eq!(stale(&known.with_claims(|claims| drop(claims.remove("exp")))), None);
    let empty = World::new(vec![(issuer(), public_keys(&[]))]);
    let unnamed = known.with_header(|header| drop(header.remove("kid")));
    assert_eq!(empty.verify(&unnamed).unwrap_err().stale_keys(), Some(IssuerId(0)));
}

#[test]
fn bad_claims_cost_no_key_lookup() {
    let (known, unknown) = (Signer::new(Algorithm::EdDSA, "1"), Signer::new(Algorithm::EdDSA, "2"));
    let expired = unknown.with_claims(|claims| drop(claims.insert("exp".into(), 1.into())));
    assert_eq!(World::of(&known).user(&expired), Err(Code::TokenExpired));
}

#[test]
fn row_86_a_key_is_looked_up_within_the_issuer_that_the_token_names() {
    let (one, two) = (Signer::new(Algorithm::EdDSA, "1"), Signer::new(Algorithm::EdDSA, "1"));
    let secret = Signer::hmac(Algorithm::HS256, SECRET);
    let mut second = issuer();
    second.issuer = Some("https://two.example".into());
    let world = World::new(vec![
        (issuer(), public_keys(&[&one.jwk])),
        (second, public_keys(&[&two.jwk])),
        (anonymous_issuer(), secret_keys(&[SECRET], &[])),
    ]);
    let from = |signer: &Signer, iss: Option<Value>| {
        let token = signer.with_claims(|claims| {
            claims.remove("iss");
            claims.extend(iss.map(|iss| ("iss".to_owned(), iss)));
        });
        world.verify(&token).map(|identity| identity.issuer().0).map_err(|denial| denial.code)
    };
    assert_eq!(from(&one, Some(ISSUER.into())), Ok(0));
    assert_eq!(from(&two, Some("https://two.example".into())), Ok(1));
    assert_eq!(from(&two, Some(ISSUER.into())), Err(Code::SignatureInvalid));
    assert_eq!(from(&one, Some("https://two.example".into())), Err(Code::SignatureInvalid));
    // What no issuer's iss claims is the secret's, and nothing that one claims is.
    assert_eq!(from(&secret, None), Ok(2));
    assert_eq!(from(&secret, Some("anybody".into())), Ok(2));
    assert_eq!(from(&secret, Some(ISSUER.into())), Err(Code::AlgorithmNotAllowed));
    assert_eq!(from(&one, None), Err(Code::AlgorithmNotAllowed));
    assert_eq!(from(&secret, Some(json!([ISSUER]))), Err(Code::ClaimInvalid));
}

#[test]
fn among_several_issuers_a_token_names_one() {
    let signer = Signer::new(Algorithm::EdDSA, "1");
    let mut second = issuer();
    second.issuer = Some("https://two.example".into());
    let world = World::new(vec![(issuer(), public_keys(&[&signer.jwk])), (second, public_keys(&[&signer.jwk]))]);
    let from = |iss: Option<Value>| {
        world.user(&signer.with_claims(|claims| {
            claims.remove("iss");
            claims.extend(iss.map(|iss| ("iss".to_owned(), iss)));
        }))
    };
    assert_eq!(from(None), Err(Code::ClaimMissing));
    assert_eq!(from(Some(json!(7))), Err(Code::ClaimInvalid));
    assert_eq!(from(Some(json!("evil"))), Err(Code::IssuerMismatch));
    assert_eq!(World::new(Vec::new()).user(&signer.token(&payload())), Err(Code::IssuerMismatch));
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let secret = "a very secret secret of thirty-two";
    let shown = format!("{:?}", KeySet::from_secrets(&[secret.as_bytes()], &[]));
    assert!(!shown.contains("secret of") && !shown.contains("97, 32, 118"), "{shown}");
}
