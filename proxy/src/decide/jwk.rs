//! JSON Web Key Sets: each key read alone, and skipped alone when it is of no use (RFC 7517 §5).

use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{self, ParsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    Algorithm, KeySet,
    algorithm::Family,
    json::{self, Object},
    keys::{Material, VerifyingKey},
};

/// The deepest nesting of a key set; a real one has three levels.
const DOCUMENT_DEPTH: usize = 16;

/// A key that was left out of its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the set, from 0.
    pub place: usize,
    /// Its name, if it has one.
    pub kid: Option<Box<str>>,
    /// Why it is of no use here. Never part of the key.
    pub reason: &'static str,
}

/// Why a document is no JSON Web Key Set.
#[derive(Debug, thiserror::Error)]
pub enum JwksFault {
    /// Not strict JSON, or not an object.
    #[error("is not a JSON object in which each member stands once")]
    Json(#[source] serde_json::Error),
    /// RFC 7517 §5.1.
    #[error("has no array \"keys\"")]
    NoKeys,
}

impl KeySet {
    /// Reads a JSON Web Key Set. An RSA key without `alg` serves the one RSA algorithm among `algorithms`.
    ///
    /// # Errors
    /// [`JwksFault`] when the document is none at all; a key that is of no use is skipped instead.
    pub fn from_jwks(document: &[u8], algorithms: &[Algorithm]) -> Result<(Self, Vec<SkippedKey>), JwksFault> {
        let document = json::object(document, DOCUMENT_DEPTH).map_err(JwksFault::Json)?;
        let Some(Value::Array(entries)) = document.get("keys") else { return Err(JwksFault::NoKeys) };
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            let kid = entry.get("kid").and_then(Value::as_str).map(Box::from);
            match Jwk::of(entry).and_then(|jwk| jwk.verifying_key(algorithms)) {
                Ok((algorithm, material)) => keys.push(VerifyingKey { kid, algorithm, material }),
                Err(reason) => skipped.push(SkippedKey { place, kid, reason }),
            }
        }
        Ok((Self::of_public_keys(keys), skipped))
    }
}

/// One entry of a set.
struct Jwk<'a>(&'a Object);

type Read<T> = Result<T, &'static str>;

impl<'a> Jwk<'a> {
    fn of(entry: &'a Value) -> Read<Self> {
        let members = entry.as_object().ok_or("is not an object")?;
        if members.get("kid").is_some_and(|kid| !kid.is_string()) {
            return Err("has a kid that is not a string");
        }
        match members.get("use").map(Value::as_str) {
            None | Some(Some("sig")) => {}
            Some(Some("enc")) => return Err("is for encryption (use)"),
            Some(_) => return Err("is for an unknown use"),
        }
        match members.get("key_ops").map(Value::as_array) {
            None => {}
            Some(Some(operations)) if operations.iter().any(|operation| operation == "verify") => {}
            Some(_) => return Err("is not for verifying (key_ops)"),
        }
        Ok(Self(members))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn bytes(&self, name: &str, fault: &'static str) -> Read<Vec<u8>> {
        self.text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(fault)
    }

    /// The algorithm that the key itself names.
    fn algorithm(&self) -> Read<Option<Algorithm>> {
        match self.0.get("alg").map(Value::as_str) {
            None => Ok(None),
            Some(Some(name)) => name.parse().map(Some).map_err(|_| "has an unknown alg"),
            Some(None) => Err("has an alg that is not a string"),
        }
    }

    fn verifying_key(&self, algorithms: &[Algorithm]) -> Read<(Algorithm, Material)> {
        match self.text("kty") {
            Some("RSA") => self.rsa(algorithms),
            Some("EC") => self.elliptic(),
            Some("OKP") => self.edwards(),
            Some("oct") => Err("is a shared secret (oct), which has no place in a key set"),
            _ => Err("is of an unknown kind (kty)"),
        }
    }

    fn rsa(&self, algorithms: &[Algorithm]) -> Read<(Algorithm, Material)> {
        let algorithm = match self.algorithm()? {
            Some(algorithm) => algorithm,
            None => only_rsa(algorithms).ok_or("is an RSA key without alg; name one RSA algorithm in algorithms")?,
        };
        let verification = rsa_verification(algorithm).ok_or("has an alg that is not for RSA")?;
        let n = self.bytes("n", "has no valid modulus (n)")?;
        let e = self.bytes("e", "has no valid exponent (e)")?;
        let (n, e) = (without_zeros(&n), without_zeros(&e));
        if bits(n) < 2048 {
            return Err("is an RSA key under 2048 bits");
        }
        if bits(e) < 2 || e.last().is_none_or(|last| last % 2 == 0) {
            return Err("is an RSA key with an exponent under 3 or even");
        }
        let key = PublicKeyComponents { n, e }.to_parsed_public_key(verification);
        let key = key.map_err(|_| "is no RSA key that can be used")?;
        Ok((algorithm, Material::Public { key, signature_bytes: n.len() }))
    }

    fn elliptic(&self) -> Read<(Algorithm, Material)> {
        let (algorithm, size, verification): (_, usize, &'static dyn signature::VerificationAlgorithm) =
            match self.text("crv") {
                Some("P-256") => (Algorithm::ES256, 32, &signature::ECDSA_P256_SHA256_FIXED),
                Some("P-384") => (Algorithm::ES384, 48, &signature::ECDSA_P384_SHA384_FIXED),
                Some("P-521") => (Algorithm::ES512, 66, &signature::ECDSA_P521_SHA512_FIXED),
                _ => return Err("is on an unknown curve (crv)"),
            };
        self.agrees(algorithm)?;
        let x = self.bytes("x", "has no valid coordinate (x)")?;
        let y = self.bytes("y", "has no valid coordinate (y)")?;
        if x.len() != size || y.len() != size {
            return Err("has coordinates of the wrong length");
        }
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        let key = ParsedPublicKey::new(verification, point).map_err(|_| "is no point of its curve")?;
        Ok((algorithm, Material::Public { key, signature_bytes: 2 * size }))
    }

    fn edwards(&self) -> Read<(Algorithm, Material)> {
        if self.text("crv") != Some("Ed25519") {
            return Err("is on an unknown curve (crv)");
        }
        self.agrees(Algorithm::EdDSA)?;
        let point = self.bytes("x", "has no valid point (x)")?;
        let point: [u8; 32] = point.try_into().map_err(|_| "has a point of the wrong length")?;
        if is_weak_point(&point) {
            return Err("is a small-order or non-canonical point, under which anybody can sign");
        }
        let key = ParsedPublicKey::new(&signature::ED25519, point).map_err(|_| "is no point of its curve")?;
        Ok((Algorithm::EdDSA, Material::Public { key, signature_bytes: 64 }))
    }

    /// The curve says the algorithm; an `alg` beside it must say the same.
    fn agrees(&self, algorithm: Algorithm) -> Read<()> {
        match self.algorithm()? {
            None => Ok(()),
            Some(named) if named == algorithm => Ok(()),
            Some(_) => Err("has an alg that is not for its curve"),
        }
    }
}

fn only_rsa(algorithms: &[Algorithm]) -> Option<Algorithm> {
    let mut named = algorithms.iter().filter(|algorithm| algorithm.family() == Family::Rsa);
    let only = named.next().copied();
    only.filter(|_| named.next().is_none())
}

fn rsa_verification(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::HS256
        | Algorithm::HS384
        | Algorithm::HS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::ES512
        | Algorithm::EdDSA => None,
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The length in bits of a big-endian number without leading zero bytes.
fn bits(number: &[u8]) -> u32 {
    let whole = u32::try_from(number.len()).unwrap_or(u32::MAX).saturating_mul(8);
    whole.saturating_sub(number.first().map_or(0, |byte| byte.leading_zeros()))
}

/// Whether an Ed25519 point's y is one of the five of small order, or is not reduced modulo 2^255 - 19 (RFC 8032
/// §5.1.3). Under such a key one signature fits many messages.
fn is_weak_point(point: &[u8; 32]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    // The last byte's top bit is the sign of x.
    let [low, middle @ .., high] = *point;
    let high = high & 0x7f;
    let (zeros, ones) = (middle.iter().all(|byte| *byte == 0), middle.iter().all(|byte| *byte == 0xff));
    let zero_or_one = low <= 1 && zeros && high == 0;
    // From p - 1 on, which is of order two, there is nothing canonical and large.
    let minus_one_or_more = low >= 0xec && ones && high == 0x7f;
    let order_8 = ORDER_8.iter().any(|[first, rest @ .., last]| *first == low && *rest == middle && *last == high);
    zero_or_one || minus_one_or_more || order_8
}
