#![no_main]
//! Any head is decided, and nobody gets to an owner's path without a token.

use libfuzzer_sys::fuzz_target;
use ownergate::decide::Decision;
use ownergate_fuzz::{GATE, KEYS, NOW, with_head};

fuzz_target!(|data: &[u8]| {
    with_head(data, |head| {
        if let Decision::Forward(permit) = GATE.decide(head, &KEYS, NOW) {
            // The secret is not in the corpus, so only what needs no token is forwarded.
            assert!(permit.identity().is_none());
            assert!(head.uri.path().starts_with("/public") || head.uri.path() == "/feed");
        }
    });
});
