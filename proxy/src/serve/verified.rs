//! Tokens that were verified, so that each costs its signature once.
//!
//! One cache a worker, without a lock. The key is a hash of the whole token, signature included: looking it up compares
//! no secret, and two tokens never share an entry. Only successes are kept. An entry ends with its token, with any
//! change of any issuer's keys, and with the configuration that it was verified under (a reload clears the cache).

use std::sync::Arc;

use aws_lc_rs::digest;
use quick_cache::unsync::Cache;

use crate::decide::{Identity, Timestamp};

/// Tokens that one worker remembers.
const TOKENS: usize = 16_384;

type Fingerprint = [u8; 32];

struct Entry {
    identity: Arc<Identity>,
    keys: u64,
}

pub(super) struct Verified {
    tokens: Cache<Fingerprint, Entry>,
}

impl Verified {
    pub(super) fn new() -> Self {
        Self { tokens: Cache::new(TOKENS) }
    }

    /// The token's bearer, if it was verified by these keys and has not expired.
    pub(super) fn find(&self, token: &Fingerprint, keys: u64, now: Timestamp) -> Option<Arc<Identity>> {
        let entry = self.tokens.get(token)?;
        (entry.keys == keys && now < entry.identity.expires_at()).then(|| Arc::clone(&entry.identity))
    }

    pub(super) fn keep(&mut self, token: Fingerprint, identity: Arc<Identity>, keys: u64) {
        self.tokens.insert(token, Entry { identity, keys });
    }
}

/// SHA-256 of the token as it was sent.
pub(super) fn fingerprint(token: &str) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}
