//! Signers of any token, however broken, and a gate to show it to.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, header::HeaderValue};
use ownergate::decide::{
    Algorithm, Code, Denial, Gate, GateRules, Identity, IdentityHeaders, Issuer, IssuerKeys, KeySet, Keys, Policy,
    Standing, Timestamp, TokenSource,
};
use serde_json::{Map, Value, json};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "http://localhost:3000";
pub(crate) const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key, what signs with it, and its public part.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<&'static str>,
    pub(crate) jwk: Value,
    sign: Sign,
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, kid: &'static str) -> Self {
        use Algorithm::*;
        let (mut jwk, sign) = match algorithm {
            HS256 | HS384 | HS512 => return Self::hmac(algorithm, SECRET),
            EdDSA => ed25519(),
            ES256 => ec("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            ES384 => ec("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            ES512 => ec("P-521", 66, &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            PS256 => rsa(&signature::RSA_PSS_SHA256),
            PS384 => rsa(&signature::RSA_PSS_SHA384),
            PS512 => rsa(&signature::RSA_PSS_SHA512),
        };
        jwk["kid"] = kid.into();
        jwk["alg"] = algorithm.as_str().into();
        Self { algorithm, kid: Some(kid), jwk, sign }
    }

    pub(crate) fn hmac(algorithm: Algorithm, secret: &[u8]) -> Self {
        let hash = match algorithm {
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        let key = hmac::Key::new(hash, secret);
        let sign = Box::new(move |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec());
        Self { algorithm, kid: None, jwk: Value::Null, sign }
    }

    /// The header that a well-behaved issuer writes.
    pub(crate) fn header(&self) -> Value {
        let mut header = json!({ "alg": self.algorithm.as_str() });
        if let Some(kid) = self.kid {
            header["kid"] = kid.into();
        }
        header
    }

    /// Signs these very texts.
    pub(crate) fn raw(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(payload));
        let signature = encode((self.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub(crate) fn token(&self, payload: &Value) -> String {
        self.raw(&self.header().to_string(), &payload.to_string())
    }

    /// A good token but for what `change` does to its header.
    pub(crate) fn with_header(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut header = self.header();
        change(header.as_object_mut().unwrap());
        self.raw(&header.to_string(), &payload().to_string())
    }

    /// A good token but for what `change` does to its claims.
    pub(crate) fn with_claims(&self, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut payload = payload();
        change(payload.as_object_mut().unwrap());
        self.token(&payload)
    }
}

fn ed25519() -> (Value, Sign) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) });
    (jwk, Box::new(move |message| pair.sign(message).as_ref().to_vec()))
}

fn ec(curve: &str, bytes: usize, algorithm: &'static signature::EcdsaSigningAlgorithm) -> (Value, Sign) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(bytes);
    let jwk = json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) });
    (jwk, Box::new(move |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()))
}

fn rsa(padding: &'static signature::RsaSignatureEncoding) -> (Value, Sign) {
    static PAIR: OnceLock<RsaKeyPair> = OnceLock::new();
    let pair = PAIR.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    // RFC 8017 appendix A.1.1: a sequence of the two integers, here of 257 bytes with the sign's zero, and of three.
    let der = pair.public_key().as_ref();
    let jwk = json!({ "kty": "RSA", "n": encode(&der[9..265]), "e": encode(&der[267..]) });
    let sign = move |message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    (jwk, Box::new(sign))
}

/// The claims of a good token.
pub(crate) fn payload() -> Value {
    json!({ "sub": "alice", "iss": ISSUER, "aud": ISSUER, "iat": NOW - 10, "exp": NOW + 900 })
}

/// The rules for such tokens.
pub(crate) fn issuer() -> Issuer {
    Issuer {
        name: "better-auth".into(),
        issuer: Some(ISSUER.into()),
        audience: [ISSUER.into()].into(),
        algorithms: [].into(),
        leeway_seconds: 30,
        token_types: [].into(),
        user_claim: "sub".into(),
        required_claims: [].into(),
        max_lifetime_seconds: None,
        scope_claims: ["scope".into(), "scp".into()].into(),
        role_claim: None,
        token_from: [TokenSource::Header].into(),
    }
}

/// The rules for tokens that a shared secret alone vouches for.
pub(crate) fn anonymous_issuer() -> Issuer {
    Issuer { name: "secret".into(), issuer: None, audience: [].into(), ..issuer() }
}

pub(crate) fn secret_keys(secrets: &[&[u8]], algorithms: &[Algorithm]) -> IssuerKeys {
    IssuerKeys { set: Arc::new(KeySet::from_secrets(secrets, algorithms)), standing: Standing::Current }
}

/// The keys of a set that is fetched and whole.
pub(crate) fn public_keys(jwks: &[&Value]) -> IssuerKeys {
    let document = json!({ "keys": jwks }).to_string();
    let (set, skipped) = KeySet::from_jwks(document.as_bytes(), &[]).unwrap();
    assert_eq!(skipped, [], "the test's own keys are good");
    IssuerKeys { set: Arc::new(set), standing: Standing::Current }
}

/// A gate, its keys and its clock.
pub(crate) struct World {
    gate: Gate,
    keys: Keys,
    pub(crate) now: Timestamp,
}

impl World {
    pub(crate) fn new(issuers: Vec<(Issuer, IssuerKeys)>) -> Self {
        Self::with_headers(issuers, &[])
    }

    pub(crate) fn with_headers(issuers: Vec<(Issuer, IssuerKeys)>, claims: &[(&'static str, &str)]) -> Self {
        let (issuers, keys) = issuers.into_iter().unzip();
        let claims = claims.iter().map(|(header, claim)| (HeaderName::from_static(header), (*claim).into()));
        let gate = Gate::new(GateRules {
            policy: Policy::new(Vec::new()).unwrap(),
            issuers,
            identity: IdentityHeaders {
                header: HeaderName::from_static("x-user-id"),
                claims: claims.collect(),
                signed: false,
            },
            trusted_proxies: Vec::new(),
            path_bytes: 8192,
            head_bytes: 32768,
            token_bytes: 16384,
            json_depth: 32,
        });
        Self { gate, keys: Keys(keys), now: Timestamp::from_unix(NOW) }
    }

    /// One issuer with one key in its set.
    pub(crate) fn of(signer: &Signer) -> Self {
        Self::new(vec![(issuer(), public_keys(&[&signer.jwk]))])
    }

    /// One issuer without `iss` and `aud`, with a secret.
    pub(crate) fn of_secret(secret: &[u8], algorithms: &[Algorithm]) -> Self {
        Self::new(vec![(anonymous_issuer(), secret_keys(&[secret], algorithms))])
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Identity>, Denial> {
        self.gate.verify(token, &self.keys, self.now)
    }

    /// The user, or the refusal's code.
    pub(crate) fn user(&self, token: &str) -> Result<String, Code> {
        self.verify(token).map(|identity| identity.user().as_str().to_owned()).map_err(|denial| denial.code)
    }

    pub(crate) fn header(&self, token: &str) -> Option<HeaderValue> {
        self.verify(token).unwrap().claims().first().map(|(_, value)| value.clone())
    }

    /// What only the log says of a refusal.
    pub(crate) fn reason(&self, token: &str) -> String {
        self.verify(token).unwrap_err().reason.unwrap_or_default().into_owned()
    }
}

/// Asserts that each token is refused with this code.
pub(crate) fn assert_refused(world: &World, code: Code, tokens: impl IntoIterator<Item = (String, String)>) {
    for (name, token) in tokens {
        assert_eq!(world.user(&token), Err(code), "{name}");
    }
}
