//! Signing a JWT with a secret (RFC 7515): for local work and tests, never on a request's way.

use anyhow::{Result, bail};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ownergate::decide::Algorithm;
use serde_json::{Map, Value, json};

/// Signs the claims. The header holds `alg` alone: without `typ`, every issuer's rules accept it.
///
/// # Errors
/// When the algorithm is none of secrets.
pub(super) fn sign(claims: Map<String, Value>, secret: &[u8], algorithm: Algorithm) -> Result<String> {
    let hash = match algorithm {
        Algorithm::HS256 => hmac::HMAC_SHA256,
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::ES512
        | Algorithm::EdDSA => bail!("{algorithm} needs a private key, not a secret"),
    };
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(json!({ "alg": algorithm.as_str() })), encode(Value::Object(claims)));
    let signature = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
