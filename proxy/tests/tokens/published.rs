//! Tokens that others published, and tokens that Better Auth 1.7 made.

use std::{fs, path::PathBuf, sync::Arc};

use ownergate::decide::{Algorithm, Code, Issuer, IssuerKeys, KeySet, Standing, Timestamp};
use serde_json::{Value, json};

use crate::kit::*;

/// RFC 7515 appendix A: claims of `iss`, `exp` and one more; there is no `sub`, so `iss` is read as the user.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn example(keys: IssuerKeys) -> World {
    let mut rules = anonymous_issuer();
    rules.user_claim = "iss".into();
    let mut world = World::new(vec![(rules, keys)]);
    world.now = Timestamp::from_unix(1_300_819_379);
    world
}

#[test]
fn rfc_7515_a_1_and_rfc_7519_3_1_hmac() {
    let secret = [
        3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119, 123, 166, 143, 90, 179, 40, 230, 240, 84, 201, 40, 169,
        15, 132, 178, 210, 80, 46, 191, 211, 251, 90, 146, 210, 6, 71, 239, 150, 138, 180, 195, 119, 98, 61, 34, 61,
        46, 33, 114, 5, 46, 79, 8, 192, 205, 154, 245, 103, 208, 128, 163,
    ];
    let token =
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(example(secret_keys(&[&secret], &[])).user(&token), Ok("joe".into()));
    assert_eq!(example(secret_keys(&[&secret[1..]], &[])).user(&token), Err(Code::SignatureInvalid));
}

#[test]
fn rfc_7515_a_2_rsa() {
    let jwk = json!({ "kty": "RSA", "alg": "RS256", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" });
    let token = format!(
        "eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    assert_eq!(example(public_keys(&[&jwk])).user(&token), Ok("joe".into()));
}

#[test]
fn rfc_7515_a_3_ecdsa() {
    let jwk = json!({ "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert_eq!(example(public_keys(&[&jwk])).user(&token), Ok("joe".into()));
}

#[test]
fn rfc_7515_a_4_and_rfc_8037_a_4_are_signed_but_hold_no_claims() {
    let p521 = json!({ "kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2" });
    let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let world = example(public_keys(&[&p521, &ed25519]));
    for token in [
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ] {
        assert_eq!(world.user(token), Err(Code::TokenMalformed));
    }
}

#[test]
fn rfc_7515_a_5_an_unsecured_token_is_refused() {
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert_eq!(example(secret_keys(&[SECRET], &[])).user(&token), Err(Code::AlgorithmNotAllowed));
}

const BETTER_AUTH: &str = "http://127.0.0.1:3000";

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/better-auth").join(name);
    fs::read_to_string(path).unwrap()
}

fn better_auth(algorithm: &str) -> World {
    let document: Value = serde_json::from_str(&fixture(&format!("{algorithm}/jwks.json"))).unwrap();
    let (set, skipped) = KeySet::from_jwks(document.to_string().as_bytes(), &[]).unwrap();
    assert_eq!(skipped, []);
    world_at_the_time(IssuerKeys { set: Arc::new(set), standing: Standing::Current })
}

fn world_at_the_time(keys: IssuerKeys) -> World {
    let rules = Issuer { issuer: Some(BETTER_AUTH.into()), audience: [BETTER_AUTH.into()].into(), ..issuer() };
    let mut world = World::new(vec![(rules, keys)]);
    world.now = Timestamp::from_unix(1_795_417_800);
    world
}

#[test]
fn better_auth_tokens_of_every_algorithm_are_accepted() {
    let secret = fixture("secret.txt");
    let with_secret = || world_at_the_time(secret_keys(&[secret.as_bytes()], &[]));
    for (algorithm, world, alice, bob) in [
        ("EdDSA", better_auth("EdDSA"), "Kq8EYP7OmorUj6ncJctsnIkNbZWdm4zk", "r1LQw4AFQmqoJ6IMHMU6LjIMiX5vL19F"),
        ("ES256", better_auth("ES256"), "E0oiYidQZl7nnmjSgJWUGtEKYNQcgR42", "C7ZZOtostaoNjh7HsDKseSI7BJixzljp"),
        ("ES512", better_auth("ES512"), "hxdcQwSJRERrXsrmVJSFrCvecTPGMfRf", "2A0eRdxON5LGGlm9H1xIEIUNUg2eB4UW"),
        ("RS256", better_auth("RS256"), "yD0R5T0KNklWxODYRQzIttqHVZ4u3LG9", "AnPp1yrpTdkBYiqmA0R1cexeTw0Ud6UB"),
        ("PS256", better_auth("PS256"), "UPCrHwnlu4uygYGjsWws1tqepwiGoyyX", "LNbrtK1eXjs5qMjAvczeGKdbZ2yOEufm"),
        ("HS256", with_secret(), "R8KcQWULVQOhAWcwAyc1JpSGg1PJGtao", "pCYVDpEZSy8JW3OPzo5SkKr2SErMftGW"),
    ] {
        for (file, user) in [("alice", alice), ("alice.15m", alice), ("bob", bob)] {
            assert_eq!(world.user(&fixture(&format!("{algorithm}/{file}.jwt"))), Ok(user.into()), "{algorithm} {file}");
        }
    }
}

#[test]
fn better_auth_tokens_end_after_their_fifteen_minutes() {
    let mut world = better_auth("EdDSA");
    world.now = Timestamp::from_unix(1_795_418_488 + 30);
    assert_eq!(world.user(&fixture("EdDSA/alice.15m.jwt")), Err(Code::TokenExpired));
}

#[test]
fn a_token_of_an_own_endpoint_has_neither_iss_nor_aud() {
    let (secret, token) = (fixture("secret.txt"), fixture("HS256/alice.own-endpoint.jwt"));
    let mut world = World::of_secret(secret.as_bytes(), &[]);
    world.now = Timestamp::from_unix(1_795_417_800);
    assert_eq!(world.user(&token), Ok("Kq8EYP7OmorUj6ncJctsnIkNbZWdm4zk".into()));
    assert_eq!(world_at_the_time(secret_keys(&[secret.as_bytes()], &[])).user(&token), Err(Code::ClaimMissing));
    let guessed = World::of_secret(b"better-auth-secret-12345678901234567890", &[Algorithm::HS256]);
    assert_eq!(guessed.user(&token), Err(Code::SignatureInvalid));
}
