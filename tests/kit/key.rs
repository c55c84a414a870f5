//! Signing keys of every algorithm a token may name.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A JOSE signature algorithm (RFC 7518 §3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the registry's")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

impl Algorithm {
    /// Those whose public key stands in a key set.
    pub const PUBLIC: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// As the `alg` member spells it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

#[derive(Clone)]
enum Secret {
    Hmac(Vec<u8>),
    Rsa(&'static RsaKeyPair),
    Ec(Arc<EcdsaKeyPair>),
    Ed25519(Arc<Ed25519KeyPair>),
}

/// A key that signs with one algorithm.
#[derive(Clone)]
pub struct Key {
    /// What the key signs with, and what its tokens and its JWK say.
    pub algorithm: Algorithm,
    /// The key's name in tokens and in the key set; HMAC keys have none.
    pub id: Option<String>,
    secret: Secret,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({:?}, {:?})", self.algorithm, self.id)
    }
}

impl Key {
    /// HS256 with the bytes of `secret`.
    pub fn shared(secret: impl AsRef<[u8]>) -> Self {
        Self::hmac(Algorithm::HS256, secret)
    }

    /// An HMAC key: the exact bytes of `secret`.
    pub fn hmac(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Self {
        Self { algorithm, id: None, secret: Secret::Hmac(secret.as_ref().to_vec()) }
    }

    /// A new key of a public algorithm under the name `id`. RSA keys share one pair, which takes long to make.
    pub fn new(algorithm: Algorithm, id: &str) -> Self {
        let curve = match algorithm {
            Algorithm::ES256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => Some(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            _ => None,
        };
        let secret = match (algorithm, curve) {
            (_, Some(curve)) => Secret::Ec(Arc::new(EcdsaKeyPair::generate(curve).expect("an EC key"))),
            (Algorithm::EdDSA, None) => Secret::Ed25519(Arc::new(Ed25519KeyPair::generate().expect("an Ed25519 key"))),
            (Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512, None) => {
                panic!("{algorithm:?} has no public key")
            }
            (_, None) => Secret::Rsa(rsa_pair()),
        };
        Self { algorithm, id: Some(id.to_owned()), secret }
    }

    /// The same key without a name.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        self.id = None;
        self
    }

    /// The same key under another name.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// The same key signing with another algorithm of its family.
    #[must_use]
    pub fn signing_with(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The signature of `message`, in JWS form: raw r‖s for ECDSA.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Hmac(secret) => {
                let key = hmac::Key::new(hmac_of(self.algorithm), secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Secret::Rsa(pair) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                let padding = padding_of(self.algorithm);
                pair.sign(padding, &random, message, &mut bytes).expect("an RSA signature");
                bytes
            }
            Secret::Ec(pair) => pair.sign(&random, message).expect("an ECDSA signature").as_ref().to_vec(),
            Secret::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key as a JWK, as Better Auth writes them: `alg`, `kid`, `kty` and the parameters.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public_parameters();
        jwk["alg"] = json!(self.algorithm.name());
        if let Some(id) = &self.id {
            jwk["kid"] = json!(id);
        }
        jwk
    }

    fn public_parameters(&self) -> Value {
        match &self.secret {
            Secret::Hmac(secret) => json!({"kty": "oct", "k": base64url(secret)}),
            Secret::Rsa(pair) => {
                let (modulus, exponent) = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": base64url(modulus), "e": base64url(exponent)})
            }
            Secret::Ec(pair) => {
                let curve = match self.algorithm {
                    Algorithm::ES256 => "P-256",
                    Algorithm::ES384 => "P-384",
                    _ => "P-521",
                };
                // The uncompressed point: 4, x, y (SEC 1 §2.3.3).
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Secret::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())})
            }
        }
    }

    /// The public key as a PEM file holds it (SubjectPublicKeyInfo).
    pub fn public_pem(&self) -> String {
        let der = match &self.secret {
            Secret::Rsa(pair) => pair.public_key().as_der(),
            Secret::Ec(pair) => pair.public_key().as_der(),
            Secret::Ed25519(pair) => pair.public_key().as_der(),
            Secret::Hmac(_) => panic!("a shared secret has no public key"),
        };
        let encoded = base64::prelude::BASE64_STANDARD.encode(der.expect("a public key in DER").as_ref());
        let lines: Vec<&str> =
            (0..encoded.len()).step_by(64).map(|start| &encoded[start..encoded.len().min(start + 64)]).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}

/// The set of these keys (RFC 7517 §5).
pub fn key_set(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

/// Base64url without padding (RFC 7515 §2).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_pair() -> &'static RsaKeyPair {
    static PAIR: OnceLock<RsaKeyPair> = OnceLock::new();
    PAIR.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"))
}

fn hmac_of(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

fn padding_of(algorithm: Algorithm) -> &'static dyn signature::RsaEncoding {
    match algorithm {
        Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

/// Modulus and exponent of an RSAPublicKey in DER (RFC 8017 §A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = der_value(der);
    let (modulus, rest) = der_value(sequence);
    let (exponent, _) = der_value(rest);
    (without_zeros(modulus), without_zeros(exponent))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    &number[first..]
}

/// The content of the first value, and what follows it.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ ..=0x7f => (usize::from(short), 2),
        long => {
            let end = 2 + usize::from(long & 0x7f);
            (der[2..end].iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), end)
        }
    };
    der[start..].split_at(length)
}
