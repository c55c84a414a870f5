#![no_main]
//! One token is found where it may stand, or none, or the request is refused.

use libfuzzer_sys::fuzz_target;
use ownergate::decide::Admission;
use ownergate_fuzz::{GATE, with_head};

fuzz_target!(|data: &[u8]| {
    let data = [b"GET\n/me\nhost:good\n", data].concat();
    with_head(&data, |head| {
        if let Admission::Pending(pending) = GATE.admit(head) {
            assert!(!pending.token().is_empty() && pending.token().is_ascii());
        }
    });
});
