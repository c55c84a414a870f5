//! `ownergate token`: a signed token for local work.

use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ownergate::{
    config::{Environment, IssuerConfig, KeySource, Secret, Settings, Token},
    decide::{Algorithm, Issuer, Timestamp, UserId},
};
use serde_json::{Map, Value, json};

use super::{CommandFault, jwt, load::SettingsFault};

/// A token that the first issuer with a secret accepts. Where no key source is configured at all, it is signed with a
/// new secret, and standard error says how to start a proxy that accepts it.
///
/// # Errors
/// Faults of the settings, no issuer with a secret, or an id that could be nobody's.
pub(super) fn token(
    request: &Token,
    settings: &Settings,
    environment: &Environment,
    now: Timestamp,
) -> Result<String, CommandFault> {
    UserId::new(&request.user)
        .with_context(|| format!("--user {:?} could be nobody's id", request.user))
        .map_err(CommandFault::Usage)?;
    let read = |path: &Path| std::fs::read(path);
    let (issuers, _) = IssuerConfig::load(settings, environment, &read).map_err(SettingsFault::from)?;
    if issuers.is_empty() {
        return Ok(with_new_secret(request, now)?);
    }
    let (issuer, secret) = issuers
        .iter()
        .find_map(signer)
        .context(
            "this configuration holds no secret: its tokens come from the issuer \
             (Better Auth gives a signed-in user one at /api/auth/token)",
        )
        .map_err(CommandFault::Usage)?;
    let algorithm = issuer.algorithms.first().copied().unwrap_or(Algorithm::HS256);
    Ok(jwt::sign(&claims(request, Some(issuer), now), secret.expose(), algorithm)?)
}

fn signer(issuer: &IssuerConfig) -> Option<(&Issuer, &Secret)> {
    match &issuer.keys {
        KeySource::Secrets(secrets) => Some((&issuer.rules, secrets.first()?)),
        KeySource::JwksUrl(_) | KeySource::JwksFile(_) | KeySource::Discovery(_) => None,
    }
}

fn with_new_secret(request: &Token, now: Timestamp) -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).context("the system has no random bytes")?;
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    eprintln!("No secret is configured, so this token is signed with a new one. A proxy that accepts it:");
    eprintln!("  OWNERGATE_SECRET={secret} ownergate --upstream http://127.0.0.1:8081");
    jwt::sign(&claims(request, None, now), secret.as_bytes(), Algorithm::HS256)
}

fn claims(request: &Token, issuer: Option<&Issuer>, now: Timestamp) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".into(), json!(request.user));
    claims.insert("iat".into(), json!(now.as_unix()));
    claims.insert("exp".into(), json!(now.plus(request.expires_in.as_secs()).as_unix()));
    if let Some(issuer) = issuer {
        claims.insert(issuer.user_claim.to_string(), json!(request.user));
        claims.extend(issuer.issuer.as_ref().map(|name| ("iss".into(), json!(name))));
        claims.extend(issuer.audience.first().map(|name| ("aud".into(), json!(name))));
    }
    claims
}
