//! Signing a JWT with a secret (RFC 7515): for local work and tests, never on a request's way.

use anyhow::{Context, Result};
use jsonwebtoken::{EncodingKey, Header};
use ownergate::decide::Algorithm;
use serde_json::{Map, Value};

/// Signs the claims. The header holds `alg` alone: without `typ`, every issuer's rules accept it.
///
/// # Errors
/// When the algorithm is none of secrets.
pub(super) fn sign(claims: &Map<String, Value>, secret: &[u8], algorithm: Algorithm) -> Result<String> {
    let needs_key = || format!("{algorithm} needs a private key, not a secret");
    let known = algorithm.as_str().parse().with_context(needs_key)?;
    let header = Header { typ: None, ..Header::new(known) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).with_context(needs_key)
}
