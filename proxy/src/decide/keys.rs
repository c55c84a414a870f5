//! Keys, each bound to its one algorithm (RFC 7517 §5, RFC 8725 §3.1).

use std::sync::Arc;

use super::IssuerId;

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// Ed25519; RFC 9864 names it `Ed25519`.
    EdDSA,
}

/// The keys of one issuer at one moment.
#[derive(Debug, Default)]
pub struct KeySet {}

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
