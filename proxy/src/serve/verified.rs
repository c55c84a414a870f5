//! Tokens that were verified before, one cache a worker.
//!
//! 1. Only successes are kept, under the SHA-256 of the whole token, signature included: nothing that a caller can
//!    time tells how much of a token was right.
//! 2. An entry ends with its token's expiry, and with the keys and rules that it was verified by.
//! 3. Entries and bytes are bounded, and a flood of tokens that come once does not push out those that come often.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::{Weighter, unsync::Cache};

use super::counts::{self, Count};
use crate::decide::{Identity, Timestamp};

/// Most callers of one worker at a time; each costs a few hundred bytes.
const ENTRIES: usize = 16_384;

/// All entries of one worker together.
const BYTES: u64 = 8 << 20;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

/// A bounded map from tokens to the identities that they prove.
pub(super) struct Verified {
    entries: Cache<Fingerprint, Arc<Identity>, ByBytes, BuildHasherDefault<Prefix>>,
    /// The generation of the keys that all entries were verified by.
    generation: u64,
}

impl Fingerprint {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

impl Verified {
    pub(super) fn new() -> Self {
        let entries = Cache::with(ENTRIES, BYTES, ByBytes, BuildHasherDefault::default(), Default::default());
        Self { entries, generation: 0 }
    }

    /// Who the bearer was found to be by keys of this generation, if that still holds.
    pub(super) fn find(&self, token: &Fingerprint, generation: u64, now: Timestamp) -> Option<Arc<Identity>> {
        let identity = self.entries.get(token).filter(|_| self.generation == generation)?;
        (now < identity.expires_at()).then(|| Arc::clone(identity))
    }

    /// Keeps what keys of this generation have proved.
    pub(super) fn keep(&mut self, token: Fingerprint, generation: u64, identity: &Arc<Identity>) {
        if self.generation != generation {
            self.entries.clear();
            self.generation = generation;
        }
        self.entries.insert(token, Arc::clone(identity));
        counts::set(Count::TokensHeld, self.entries.len());
    }
}

impl std::hash::Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// A fingerprint is as good as random already; its first eight bytes are its hash.
#[derive(Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(prefix) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*prefix);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What an entry costs in memory, near enough.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Fingerprint, Arc<Identity>> for ByBytes {
    fn weight(&self, _: &Fingerprint, identity: &Arc<Identity>) -> u64 {
        let grants = identity.scopes().iter().chain(identity.roles()).map(|grant| grant.len() + 16).sum::<usize>();
        let claims =
            identity.claims().iter().map(|(name, value)| name.as_str().len() + value.len() + 72).sum::<usize>();
        // The user id is kept as text and as a header value; the rest is the entry's and the identity's own size.
        let own = size_of::<Identity>() + size_of::<Fingerprint>() + 64;
        (own + 2 * identity.user().as_str().len() + grants + claims) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::identity, *};

    #[test]
    fn row_54_an_entry_ends_with_its_token_and_with_its_keys() {
        let mut verified = Verified::new();
        let (token, alice) = (Fingerprint::of("a.b.c"), identity("alice"));
        let before = Timestamp::from_unix(alice.expires_at().as_unix() - 1);
        verified.keep(token, 7, &alice);
        assert!(verified.find(&token, 7, before).is_some());
        assert!(verified.find(&token, 7, alice.expires_at()).is_none(), "the token has expired");
        assert!(verified.find(&token, 8, before).is_none(), "the keys have changed");
        assert!(verified.find(&Fingerprint::of("a.b.d"), 7, before).is_none());
        verified.keep(Fingerprint::of("a.b.e"), 8, &alice);
        assert!(verified.find(&token, 7, before).is_none(), "older generations do not come back");
    }

    #[test]
    fn a_flood_of_tokens_that_come_once_leaves_those_that_come_often() {
        let mut verified = Verified::new();
        let alice = identity("alice");
        let often: Vec<Fingerprint> = (0..100).map(|place| Fingerprint::of(&format!("often.{place}"))).collect();
        let now = Timestamp::from_unix(0);
        for token in &often {
            verified.keep(*token, 0, &alice);
        }
        for place in 0..100_000 {
            verified.keep(Fingerprint::of(&format!("once.{place}")), 0, &alice);
            assert!(verified.find(&often[place % often.len()], 0, now).is_some() || place < 200);
        }
        assert!(verified.entries.weight() <= BYTES);
    }
}
