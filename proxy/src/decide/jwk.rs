//! JSON Web Key Sets (RFC 7517): what cannot be used is left out key by key, never with the whole set.

use std::fmt;

use serde_json::{Map, Value};

use super::{
    Algorithm, KeySet, base64url,
    excerpt::Excerpt,
    json,
    key::{Key, MaterialFault, Scheme},
};

/// The deepest nesting of a key set's JSON, the set itself included.
const DEPTH: usize = 32;

/// Parameters that only a private key has (RFC 7518 §6.2.2, §6.3.2; RFC 8037 §2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Why a document is no key set at all.
#[derive(Debug, thiserror::Error)]
pub enum JwksFault {
    /// It is no strict JSON object; a repeated member is a fault, because RFC 7517 §4 leaves open which one counts.
    #[error("the key set is no strict JSON object")]
    Json(#[source] serde_json::Error),
    /// RFC 7517 §5.1.
    #[error("the key set has no array \"keys\"")]
    NoKeys,
}

/// A key that was left out of a set, or that was taken in but deserves a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the set, from 0.
    pub place: usize,
    /// Its `kid`.
    pub kid: Option<Box<str>>,
    /// What is the matter.
    pub reason: JwkFault,
}

/// What is the matter with one key of a set. Holds nothing of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkFault {
    /// RFC 7517 §4.
    #[error("it is no object")]
    NotObject,
    /// A parameter that every key of its kind has.
    #[error("it has no {0:?}")]
    Missing(&'static str),
    /// A parameter of another JSON type than RFC 7517 and 7518 say.
    #[error("its {0:?} is of the wrong type")]
    Mistyped(&'static str),
    /// A parameter that is not strict base64url.
    #[error("its {0:?} is no base64url without padding")]
    Encoding(&'static str),
    /// A `kty` that is none of RSA, EC and OKP.
    #[error("its kty {0} is none of RSA, EC, OKP")]
    KindUnknown(Box<str>),
    /// A secret that everybody can read is none.
    #[error("it is a symmetric key, which no public set may hold")]
    Symmetric,
    /// RFC 7517 §4.2.
    #[error("its use is {0}, want \"sig\" or none")]
    Use(Box<str>),
    /// RFC 7517 §4.3.
    #[error("its key_ops do not hold \"verify\"")]
    Operations,
    /// An `alg` that is no signature algorithm known here.
    #[error("its alg {0} is not supported")]
    AlgorithmUnknown(Box<str>),
    /// A curve that no algorithm known here uses.
    #[error("its crv {0} is not supported")]
    CurveUnknown(Box<str>),
    /// An `alg` that takes another kind of key.
    #[error("its alg {0} does not belong to its kty and crv")]
    AlgorithmInconsistent(Algorithm),
    /// An RSA key serves six algorithms and must say which.
    #[error("it has no alg, and the issuer's algorithms name none for RSA")]
    AlgorithmOpen,
    /// The numbers are no usable key.
    #[error(transparent)]
    Material(#[from] MaterialFault),
    /// It was taken in all the same: its tokens are as good as they ever were, which is no longer very good.
    #[error("its private key is published with it; only the public part is used, but it must be replaced")]
    PrivatePublished,
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.place)?;
        if let Some(kid) = &self.kid {
            write!(f, " (kid {})", Excerpt(kid))?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl KeySet {
    /// Reads a key set. `algorithms` are the issuer's: those for RSA are what an RSA key without `alg` serves.
    ///
    /// Of two keys with one `kid` both may verify.
    ///
    /// # Errors
    /// When the document is no key set. A key that cannot be used is listed instead.
    pub fn from_jwks(document: &[u8], algorithms: &[Algorithm]) -> Result<(Self, Vec<SkippedKey>), JwksFault> {
        let set = json::object(document, DEPTH).map_err(JwksFault::Json)?;
        let Some(Value::Array(entries)) = set.get("keys") else { return Err(JwksFault::NoKeys) };
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            let mut note = |reason| {
                let kid = entry.get("kid").and_then(Value::as_str).map(Into::into);
                skipped.push(SkippedKey { place, kid, reason });
            };
            match read(entry, algorithms) {
                Ok(read) => {
                    if PRIVATE.iter().any(|name| entry.get(name).is_some()) {
                        note(JwkFault::PrivatePublished);
                    }
                    keys.extend(read);
                }
                Err(fault) => note(fault),
            }
        }
        Ok((Self::published(keys), skipped))
    }
}

/// One entry of a set: one key, or for an RSA key without `alg` one for each of the issuer's RSA algorithms.
fn read(entry: &Value, algorithms: &[Algorithm]) -> Result<Vec<Key>, JwkFault> {
    let jwk = Jwk(entry.as_object().ok_or(JwkFault::NotObject)?);
    let kind = jwk.required("kty")?;
    jwk.check_purpose()?;
    match kind {
        "RSA" => jwk.rsa(algorithms),
        "EC" => Ok(vec![jwk.ec()?]),
        "OKP" => Ok(vec![jwk.octet_key_pair()?]),
        "oct" => Err(JwkFault::Symmetric),
        other => Err(JwkFault::KindUnknown(quoted(other))),
    }
}

/// The members of one JSON Web Key.
struct Jwk<'a>(&'a Map<String, Value>);

impl<'a> Jwk<'a> {
    fn text(&self, name: &'static str) -> Result<Option<&'a str>, JwkFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(JwkFault::Mistyped(name)),
        }
    }

    fn required(&self, name: &'static str) -> Result<&'a str, JwkFault> {
        self.text(name)?.ok_or(JwkFault::Missing(name))
    }

    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, JwkFault> {
        base64url::decode(self.required(name)?).map_err(|_| JwkFault::Encoding(name))
    }

    fn kid(&self) -> Result<Option<&'a str>, JwkFault> {
        self.text("kid")
    }

    fn check_purpose(&self) -> Result<(), JwkFault> {
        if let Some(purpose) = self.text("use")?
            && purpose != "sig"
        {
            return Err(JwkFault::Use(quoted(purpose)));
        }
        let Some(operations) = self.0.get("key_ops") else { return Ok(()) };
        let operations = operations.as_array().ok_or(JwkFault::Mistyped("key_ops"))?;
        if operations.iter().any(|operation| operation == "verify") { Ok(()) } else { Err(JwkFault::Operations) }
    }

    /// What the key itself says of its algorithm.
    fn algorithm(&self) -> Result<Option<Algorithm>, JwkFault> {
        let Some(name) = self.text("alg")? else { return Ok(None) };
        name.parse().map(Some).map_err(|_| JwkFault::AlgorithmUnknown(quoted(name)))
    }

    fn rsa(&self, algorithms: &[Algorithm]) -> Result<Vec<Key>, JwkFault> {
        let named = self.algorithm()?;
        let (modulus, exponent) = (self.bytes("n")?, self.bytes("e")?);
        let mut keys = Vec::new();
        for algorithm in named.as_slice().iter().chain(if named.is_none() { algorithms } else { &[] }) {
            if let Scheme::Rsa(parameters) = Scheme::of(*algorithm) {
                keys.push(Key::rsa(self.kid()?, *algorithm, parameters, (&modulus, &exponent))?);
            }
        }
        match (keys.is_empty(), named) {
            (false, _) => Ok(keys),
            (true, Some(algorithm)) => Err(JwkFault::AlgorithmInconsistent(algorithm)),
            (true, None) => Err(JwkFault::AlgorithmOpen),
        }
    }

    fn ec(&self) -> Result<Key, JwkFault> {
        let name = self.required("crv")?;
        for algorithm in Algorithm::ALL {
            if let Scheme::Ec(curve) = Scheme::of(algorithm)
                && curve.name == name
            {
                self.check_algorithm(algorithm)?;
                let (x, y) = (self.bytes("x")?, self.bytes("y")?);
                return Ok(Key::ec(self.kid()?, algorithm, &curve, (&x, &y))?);
            }
        }
        Err(JwkFault::CurveUnknown(quoted(name)))
    }

    fn octet_key_pair(&self) -> Result<Key, JwkFault> {
        let name = self.required("crv")?;
        if name != "Ed25519" {
            return Err(JwkFault::CurveUnknown(quoted(name)));
        }
        self.check_algorithm(Algorithm::EdDSA)?;
        Ok(Key::ed25519(self.kid()?, &self.bytes("x")?)?)
    }

    /// That the key says nothing else than what its curve says.
    fn check_algorithm(&self, of_curve: Algorithm) -> Result<(), JwkFault> {
        match self.algorithm()? {
            Some(algorithm) if algorithm != of_curve => Err(JwkFault::AlgorithmInconsistent(algorithm)),
            Some(_) | None => Ok(()),
        }
    }
}

fn quoted(text: &str) -> Box<str> {
    Excerpt(text).to_string().into()
}
