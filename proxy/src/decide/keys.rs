//! Keys, each bound to its one algorithm (RFC 7517 §5, RFC 8725 §3.1).

use std::{fmt, sync::Arc};

use aws_lc_rs::{hmac, signature::ParsedPublicKey};

use super::{Algorithm, IssuerId};

/// A token without `kid` is tried against so many keys of its algorithm.
const UNNAMED_TRIES: usize = 8;

/// The keys of one issuer at one moment.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Box<[VerifyingKey]>,
    /// Secrets have no names: a token's `kid` says nothing about them.
    named: bool,
}

/// A key and the one algorithm that it verifies, parsed once.
///
/// Signatures are verified by aws-lc directly: it has P-521 and keeps parsed keys, and `jsonwebtoken` has and does
/// neither.
pub(super) struct VerifyingKey {
    pub(super) kid: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    pub(super) material: Material,
}

pub(super) enum Material {
    Secret(Box<hmac::Key>),
    Public { key: ParsedPublicKey, signature_bytes: usize },
}

/// The keys that a token may be meant for.
#[derive(Debug)]
pub(super) enum Lookup<'k> {
    /// These, in the order of the set.
    Candidates(Vec<&'k VerifyingKey>),
    /// The `kid` is a key's, but of another algorithm; or no key has the algorithm.
    OtherAlgorithm,
    /// No key has the `kid`.
    Unknown,
}

impl KeySet {
    /// The keys of shared secrets: each for each of these algorithms, `HS256` where none is named.
    pub fn from_secrets(secrets: &[&[u8]], algorithms: &[Algorithm]) -> Self {
        let algorithms = if algorithms.is_empty() { &[Algorithm::HS256] } else { algorithms };
        let pairs = secrets.iter().flat_map(|secret| algorithms.iter().map(move |algorithm| (*secret, *algorithm)));
        let keys = pairs.filter_map(|(secret, algorithm)| {
            let material = Material::Secret(Box::new(hmac::Key::new(hmac_of(algorithm)?, secret)));
            Some(VerifyingKey { kid: None, algorithm, material })
        });
        Self { keys: keys.collect(), named: false }
    }

    /// The keys of an issuer whose key set has not been read yet: none, and all that will come are public.
    pub fn unread() -> Self {
        Self::of_public_keys(Vec::new())
    }

    pub(super) fn of_public_keys(keys: Vec<VerifyingKey>) -> Self {
        Self { keys: keys.into(), named: true }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The names of the keys that have one, in the order of the set.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
    }

    /// The algorithms of the keys, each once.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for key in &self.keys {
            if !algorithms.contains(&key.algorithm) {
                algorithms.push(key.algorithm);
            }
        }
        algorithms
    }

    /// Whether some key, now or after a fetch, could have this algorithm. A key set never holds secrets.
    pub(super) fn could_have(&self, algorithm: Algorithm) -> bool {
        if self.named { !algorithm.is_hmac() } else { self.keys.iter().any(|key| key.algorithm == algorithm) }
    }

    pub(super) fn lookup(&self, kid: Option<&str>, algorithm: Algorithm) -> Lookup<'_> {
        let kid = kid.filter(|_| self.named);
        let mut known = self.keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid).peekable();
        if known.peek().is_none() {
            return Lookup::Unknown;
        }
        let mut candidates: Vec<&VerifyingKey> = known.filter(|key| key.algorithm == algorithm).collect();
        if self.named {
            candidates.truncate(UNNAMED_TRIES);
        }
        if candidates.is_empty() { Lookup::OtherAlgorithm } else { Lookup::Candidates(candidates) }
    }
}

impl VerifyingKey {
    /// Whether this key signed the message. HMACs are compared in constant time.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            // Raw fixed-length signatures alone (RFC 7518 §3.4); any other length is no signature of this key.
            Material::Public { key, signature_bytes } => {
                signature.len() == *signature_bytes && key.verify_sig(message, signature).is_ok()
            }
        }
    }
}

/// Says which key it is, and nothing of it.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn hmac_of(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::ES512
        | Algorithm::EdDSA => None,
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
