//! Proof for backends that want it: beside the plain header, a short-lived JWT of the proxy's own key.
//!
//! The key is made when the proxy starts and lives in its memory alone; the admin listener tells the public half as a
//! key set at `/jwks`. Whoever reaches the backend past the proxy cannot make such a token.

use aws_lc_rs::{
    digest,
    error::Unspecified,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::json;

use crate::decide::{Identity, Timestamp};

/// The header that carries the proof.
pub(super) const SIGNED_IDENTITY: HeaderName = HeaderName::from_static("x-ownergate-identity");

/// What the proof names as its issuer.
const ISSUER: &str = "ownergate";

/// How long a proof is good for, in seconds: the way to the backend and some difference of clocks.
const LIFETIME: u64 = 60;

/// Signs who calls.
pub struct Signer {
    key: EncodingKey,
    header: Header,
    jwks: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'static str,
    /// The upstream's name in the configuration.
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    exp: u64,
}

impl Signer {
    /// Makes a new Ed25519 key.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn generate() -> Result<Self, Unspecified> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|_| Unspecified)?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // RFC 7638 §3: the members in this order, without white space.
        let thumbprint =
            digest::digest(&digest::SHA256, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes());
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig" });
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::EdDSA) };
        Ok(Self {
            key: EncodingKey::from_ed_der(document.as_ref()),
            header,
            jwks: json!({ "keys": [jwk] }).to_string(),
        })
    }

    /// The public half as a JSON Web Key Set (RFC 7517 §5).
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// The proof for one request to this upstream; `None` if it cannot be made, so that the backend refuses.
    pub(super) fn sign(&self, caller: &Identity, upstream: &str, now: Timestamp) -> Option<HeaderValue> {
        let (sub, iat, exp) = (caller.user().as_str(), now.as_unix(), now.plus(LIFETIME).as_unix());
        let token =
            jsonwebtoken::encode(&self.header, &Claims { iss: ISSUER, aud: upstream, sub, iat, exp }, &self.key);
        token.ok().and_then(|token| HeaderValue::try_from(token).ok())
    }
}
