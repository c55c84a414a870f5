#![no_main]
//! Any document is a key set or none.

use libfuzzer_sys::fuzz_target;
use ownergate::decide::{Algorithm, KeySet};

fuzz_target!(|document: &[u8]| {
    if let Ok((set, skipped)) = KeySet::from_jwks(document, &[Algorithm::RS256]) {
        assert!(set.algorithms().iter().all(|algorithm| !algorithm.is_hmac()));
        skipped.iter().for_each(|key| drop(key.to_string()));
    }
});
