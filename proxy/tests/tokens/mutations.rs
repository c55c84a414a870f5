//! No bytes panic, and no change to a good token leaves it good.

use std::sync::OnceLock;

use ownergate::decide::{Algorithm, KeySet};
use proptest::prelude::*;

use crate::kit::*;

/// A world and a good token in it, for each of a few algorithms.
fn good() -> &'static [(World, String)] {
    static GOOD: OnceLock<Vec<(World, String)>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let public = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES512, Algorithm::RS256, Algorithm::PS256];
        let public = public.map(|algorithm| Signer::new(algorithm, "1"));
        let mut good: Vec<_> = public.iter().map(|signer| (World::of(signer), signer.token(&payload()))).collect();
        let secret = Signer::hmac(Algorithm::HS256, SECRET);
        good.push((World::of_secret(SECRET, &[]), secret.token(&payload())));
        good
    })
}

#[test]
fn every_other_byte_at_every_place_is_refused() {
    for (world, token) in good() {
        assert!(world.user(token).is_ok());
        for place in 0..token.len() {
            for byte in [b'A', b'B', b'.', b'=', b'-', b' ', b'\n', b'\0', b'/'] {
                let mut changed = token.clone().into_bytes();
                changed[place] = byte;
                let changed = String::from_utf8(changed).unwrap();
                assert!(changed == *token || world.user(&changed).is_err(), "byte {place} became {byte}: {token}");
            }
            let (front, back) = token.split_at(place);
            assert!(world.user(&format!("{front}{}", &back[1..])).is_err(), "byte {place} went: {token}");
            assert!(world.user(front).is_err(), "cut at {place}: {token}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_refused_without_panic(text: String) {
        for (world, _) in good() {
            prop_assert!(world.verify(&text).is_err());
        }
    }

    #[test]
    fn any_parts_are_refused_without_panic(header: Vec<u8>, payload: Vec<u8>, signature: Vec<u8>) {
        let token = format!("{}.{}.{}", encode(header), encode(payload), encode(signature));
        for (world, _) in good() {
            prop_assert!(world.verify(&token).is_err());
        }
    }

    #[test]
    fn any_json_under_a_good_signature_is_decided_without_panic(
        header in "\\{(\"(alg|typ|kid|crit|x)\":(\"(HS256|JWT|none|)\"|1|null|\\[\\]|\\{\\}),?){0,3}\\}",
        payload in "\\{(\"(sub|exp|nbf|iat|iss|aud|scope)\":(\"[a-z]{0,3}\"|-?[0-9]{1,19}(\\.5)?(e[0-9]{1,3})?|null|\\[\\]|\\[1\\]),?){0,6}\\}",
    ) {
        let token = Signer::hmac(Algorithm::HS256, SECRET).raw(&header, &payload);
        let world = World::of_secret(SECRET, &[]);
        if let Ok(identity) = world.verify(&token) {
            prop_assert!(identity.expires_at() > world.now);
            prop_assert!(!identity.user().as_str().is_empty());
        }
    }

    #[test]
    fn any_change_of_a_good_token_is_refused(which in 0..6_usize, place: prop::sample::Index, byte in 0..128_u8) {
        let (world, token) = &good()[which];
        let mut changed = token.clone().into_bytes();
        let place = place.index(changed.len());
        changed[place] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(changed == *token || world.verify(&changed).is_err());
    }

    #[test]
    fn any_document_is_read_as_a_key_set_without_panic(document: Vec<u8>) {
        drop(KeySet::from_jwks(&document, &[]));
    }

    #[test]
    fn any_key_is_taken_in_or_left_out_without_panic(
        kind in "RSA|EC|OKP|oct", curve in "P-256|P-384|P-521|Ed25519|X25519", x: Vec<u8>, y: Vec<u8>,
    ) {
        let key = serde_json::json!({ "kty": kind, "crv": curve, "x": encode(&x), "y": encode(&y), "n": encode(&x), "e": encode(&y) });
        let document = serde_json::json!({ "keys": [key] }).to_string();
        let (set, skipped) = KeySet::from_jwks(document.as_bytes(), &[Algorithm::RS256]).unwrap();
        prop_assert_eq!(set.len() + skipped.len(), 1);
    }
}
