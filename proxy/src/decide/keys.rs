//! The keys of the issuers at one moment, and which of them may have signed a token.

use std::sync::Arc;

use super::{Algorithm, IssuerId, key::Key};

/// The keys of one issuer at one moment, each bound to its one algorithm.
#[derive(Debug)]
pub struct KeySet {
    keys: Box<[Key]>,
    /// Whether they come from a key set, so that others may follow; secrets stay what they are.
    published: bool,
}

/// How many keys of a key set are tried on one token.
const TRIED: usize = 8;

impl KeySet {
    /// Shared secrets, any of which may verify, with each of the algorithms that take one; HS256 where none is named.
    pub fn from_secrets(secrets: &[&[u8]], algorithms: &[Algorithm]) -> Self {
        let algorithms = if algorithms.is_empty() { &[Algorithm::HS256] } else { algorithms };
        let bound = |secret| algorithms.iter().filter_map(move |algorithm| Key::secret(*algorithm, secret));
        Self { keys: secrets.iter().copied().flat_map(bound).collect(), published: false }
    }

    /// The keys of an issuer whose key set has not been read yet: none, and all that will come are public.
    pub fn unread() -> Self {
        Self::published(Vec::new())
    }

    pub(super) fn published(keys: Vec<Key>) -> Self {
        Self { keys: keys.into(), published: true }
    }

    /// How many pairs of a key and its algorithm there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The algorithms that the keys serve, each once.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for key in &self.keys {
            if !algorithms.contains(&key.algorithm()) {
                algorithms.push(key.algorithm());
            }
        }
        algorithms
    }

    /// Whether a key, now or after a fetch, could serve this algorithm: a key set never holds a secret.
    pub(super) fn could_serve(&self, algorithm: Algorithm) -> bool {
        if self.published { !algorithm.is_hmac() } else { self.keys.iter().any(|key| key.algorithm() == algorithm) }
    }

    /// The keys that a token of this algorithm and `kid` may be signed with: few, so that a forged one costs little.
    pub(super) fn candidates<'a>(&'a self, algorithm: Algorithm, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let tried = if self.published { TRIED } else { self.keys.len() };
        let meant = move |key: &&Key| key.algorithm() == algorithm && key.answers_to(id);
        self.keys.iter().filter(meant).take(tried)
    }

    /// Whether a key of any algorithm answers to this `kid`.
    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.answers_to(Some(id)))
    }
}

/// What is known of the place that an issuer's keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The keys are those that the issuer has, as of the last fetch; or they are fixed (a secret, a file).
    Current,
    /// The last fetch failed: known keys go on, an unknown one may exist.
    Unreachable,
    /// No fetch has succeeded yet.
    Unfetched,
}

/// An issuer's keys and how far they can be trusted to be all of them.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    /// The last good set.
    pub set: Arc<KeySet>,
    /// Whether an unknown `kid` is really unknown.
    pub standing: Standing,
}

/// The keys of every issuer, in the order of the gate's issuers.
#[derive(Clone, Debug, Default)]
pub struct Keys(pub Vec<IssuerKeys>);

impl Keys {
    /// The keys of one issuer.
    pub fn of(&self, issuer: IssuerId) -> Option<&IssuerKeys> {
        self.0.get(issuer.0)
    }
}
