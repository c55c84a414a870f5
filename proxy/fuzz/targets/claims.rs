#![no_main]
//! Whatever stands under a good signature, who gets through has a user id, and time left.

use libfuzzer_sys::fuzz_target;
use ownergate_fuzz::{GATE, KEYS, NOW, signed};

fuzz_target!(|payload: &[u8]| {
    if let Ok(identity) = GATE.verify(&signed(br#"{"alg":"HS256"}"#, payload), &KEYS, NOW) {
        let user = identity.user();
        assert_eq!(user.header().as_bytes(), user.as_str().as_bytes());
        assert!(!user.as_str().is_empty() && user.as_str().len() <= 256);
        assert!(!user.as_str().contains(char::is_control));
        assert!(identity.expires_at() > NOW);
    }
});
