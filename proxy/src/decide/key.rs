//! One key, bound to its one algorithm (RFC 8725 §3.1) and prepared, so that a verification parses nothing.
//!
//! aws-lc directly rather than `jsonwebtoken`'s verifiers: those know neither ES512 nor prepared keys, and would need a
//! second way for the rest.

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
        RsaPublicKeyComponents,
    },
};

use super::{Algorithm, point};

/// A key that verifies signatures of one algorithm.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    /// The one length that a signature can have, so that others cost no cryptography.
    signature_bytes: usize,
    material: Material,
}

/// The key's prepared form. Neither kind's `Debug` shows a secret.
#[derive(Debug)]
enum Material {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// How an algorithm computes.
pub(super) enum Scheme {
    Hmac(hmac::Algorithm),
    Rsa(&'static RsaParameters),
    Ec(Curve),
    Ed25519,
}

/// A NIST curve with the hash that JOSE ties to it.
pub(super) struct Curve {
    /// The name in a key's `crv`.
    pub(super) name: &'static str,
    /// The length of a coordinate, and of half a signature.
    pub(super) bytes: usize,
    verification: &'static EcdsaVerificationAlgorithm,
}

/// Why numbers are no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialFault {
    /// RFC 7518 §3.3 asks for 2048 bits or more; past 8192 a verification costs too much.
    #[error("its modulus has {0} bits, want 2048 to 8192")]
    ModulusSize(usize),
    /// A product of two odd primes is odd.
    #[error("its modulus is even")]
    ModulusEven,
    /// 1 signs nothing, even ones have no inverse, and beyond 33 bits aws-lc verifies none.
    #[error("its exponent is not an odd number from 3 to 2^33")]
    Exponent,
    /// RFC 7518 §6.2.1.2: full length, leading zeros included.
    #[error("its coordinate has {found} bytes, want {wanted}")]
    CoordinateSize {
        /// The length that it has.
        found: usize,
        /// The length that its curve has.
        wanted: usize,
    },
    /// No point of the curve has these coordinates.
    #[error("its point is not on the curve")]
    OffCurve,
    /// RFC 8032 §5.1.3: `y` is below the field's prime, and the sign of zero is 0.
    #[error("its point is not in canonical form")]
    PointNotCanonical,
    /// Signatures that verify under such a point need no private key.
    #[error("its point is of small order")]
    PointSmallOrder,
}

impl Key {
    /// A shared secret; `None` where the algorithm takes none. It answers to any key id.
    pub(super) fn secret(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let Scheme::Hmac(hash) = Scheme::of(algorithm) else { return None };
        let material = Material::Secret(Box::new(hmac::Key::new(hash, secret)));
        Some(Self { id: None, algorithm, signature_bytes: hash.tag_len(), material })
    }

    /// An RSA key from its big-endian modulus and exponent.
    pub(super) fn rsa(
        id: Option<&str>,
        algorithm: Algorithm,
        parameters: &'static RsaParameters,
        (modulus, exponent): (&[u8], &[u8]),
    ) -> Result<Self, MaterialFault> {
        // RFC 7518 §6.3.1.1 forbids leading zeros, but some libraries write the one of a signed integer.
        let (modulus, exponent) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        check_modulus(modulus)?;
        check_exponent(exponent)?;
        let parsed = RsaPublicKeyComponents { n: modulus, e: exponent }.to_parsed_public_key(parameters);
        let material = Material::Public(parsed.map_err(|_| MaterialFault::ModulusSize(bits(modulus)))?);
        Ok(Self { id: id.map(Into::into), algorithm, signature_bytes: modulus.len(), material })
    }

    /// A point on a NIST curve from its big-endian coordinates.
    pub(super) fn ec(
        id: Option<&str>,
        algorithm: Algorithm,
        curve: &Curve,
        (x, y): (&[u8], &[u8]),
    ) -> Result<Self, MaterialFault> {
        for coordinate in [x, y] {
            check_length(coordinate, curve.bytes)?;
        }
        // SEC 1 §2.3.4: 4 marks a point that is written with both coordinates.
        let point = [&[4], x, y].concat();
        let parsed = ParsedPublicKey::new(curve.verification, point).map_err(|_| MaterialFault::OffCurve)?;
        let material = Material::Public(parsed);
        Ok(Self { id: id.map(Into::into), algorithm, signature_bytes: 2 * curve.bytes, material })
    }

    /// An Ed25519 key from its encoded point.
    pub(super) fn ed25519(id: Option<&str>, point: &[u8]) -> Result<Self, MaterialFault> {
        check_length(point, point::BYTES)?;
        point::check(point)?;
        let parsed = ParsedPublicKey::new(&ED25519, point).map_err(|_| MaterialFault::OffCurve)?;
        let material = Material::Public(parsed);
        Ok(Self { id: id.map(Into::into), algorithm: Algorithm::EdDSA, signature_bytes: 64, material })
    }

    /// The one algorithm that it serves.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether a token that names this key, or none, may mean it.
    pub(super) fn answers_to(&self, id: Option<&str>) -> bool {
        match (&self.material, id) {
            (Material::Secret(_), _) | (Material::Public(_), None) => true,
            (Material::Public(_), Some(id)) => self.id.as_deref() == Some(id),
        }
    }

    /// Whether `signature` is this key's over `message`. Secrets are compared in constant time.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == self.signature_bytes
            && match &self.material {
                Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
                Material::Public(key) => key.verify_sig(message, signature).is_ok(),
            }
    }
}

impl Scheme {
    pub(super) fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::Hmac(hmac::HMAC_SHA256),
            Algorithm::HS384 => Self::Hmac(hmac::HMAC_SHA384),
            Algorithm::HS512 => Self::Hmac(hmac::HMAC_SHA512),
            Algorithm::RS256 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Self::Rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Self::Rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Self::ec("P-256", 32, &ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Self::ec("P-384", 48, &ECDSA_P384_SHA384_FIXED),
            Algorithm::ES512 => Self::ec("P-521", 66, &ECDSA_P521_SHA512_FIXED),
            Algorithm::EdDSA => Self::Ed25519,
        }
    }

    const fn ec(name: &'static str, bytes: usize, verification: &'static EcdsaVerificationAlgorithm) -> Self {
        Self::Ec(Curve { name, bytes, verification })
    }
}

fn check_modulus(modulus: &[u8]) -> Result<(), MaterialFault> {
    let bits = bits(modulus);
    if !(2048..=8192).contains(&bits) {
        return Err(MaterialFault::ModulusSize(bits));
    }
    match modulus.last() {
        Some(last) if last % 2 == 1 => Ok(()),
        Some(_) | None => Err(MaterialFault::ModulusEven),
    }
}

fn check_exponent(exponent: &[u8]) -> Result<(), MaterialFault> {
    if exponent.len() > size_of::<u64>() {
        return Err(MaterialFault::Exponent);
    }
    let value = exponent.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if value % 2 == 1 && (3..1 << 33).contains(&value) { Ok(()) } else { Err(MaterialFault::Exponent) }
}

fn check_length(coordinate: &[u8], wanted: usize) -> Result<(), MaterialFault> {
    let found = coordinate.len();
    if found == wanted { Ok(()) } else { Err(MaterialFault::CoordinateSize { found, wanted }) }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The length in bits of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
