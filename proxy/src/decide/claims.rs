//! The rules for a token's claims (RFC 7519 §4.1, RFC 8725 §3): one function each, time as an argument.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{Code, Denial, Identity, Issuer, IssuerId, Timestamp, UserId, json::Object};

/// The last second of the year 9999; a later time is a mistake.
const LAST_SECOND: u64 = 253_402_300_799;

/// The longest claim that goes into a header, in bytes.
const CLAIM_HEADER_BYTES: usize = 1024;

/// Applies every rule. The identity is believed only once the signature is checked too.
///
/// # Errors
/// The first rule that the claims break.
pub(super) fn check(
    claims: &Object,
    (id, issuer): (IssuerId, &Issuer),
    headers: &[(HeaderName, Box<str>)],
    now: Timestamp,
) -> Result<Identity, Denial> {
    check_issuer(claims, issuer.issuer.as_deref())?;
    check_audience(claims, &issuer.audience)?;
    let expires_at = check_expiry(claims, issuer.leeway_seconds, now)?;
    check_begun(claims, "nbf", issuer.leeway_seconds, now)?;
    check_begun(claims, "iat", issuer.leeway_seconds, now)?;
    check_lifetime(claims, issuer.max_lifetime_seconds)?;
    check_required(claims, &issuer.required_claims)?;
    check_purpose(claims, &issuer.user_claim)?;
    Ok(Identity {
        issuer: id,
        user: user(claims, &issuer.user_claim)?,
        expires_at,
        scopes: scopes(claims, &issuer.scope_claims)?,
        roles: issuer.role_claim.as_deref().map_or(Ok(Box::default()), |name| roles(claims, name))?,
        claims: headers
            .iter()
            .filter_map(|(header, claim)| Some((header.clone(), header_value(claims.get(&**claim)?)?)))
            .collect(),
    })
}

fn missing(name: &str) -> Denial {
    Denial::from(Code::ClaimMissing).because(format!("the token has no {name:?}"))
}

fn invalid(name: &str, fault: &str) -> Denial {
    Denial::from(Code::ClaimInvalid).because(format!("the token's {name:?} {fault}"))
}

/// RFC 7519 §4.1.1: a string that equals the configured one.
fn check_issuer(claims: &Object, expected: Option<&str>) -> Result<(), Denial> {
    let Some(expected) = expected else { return Ok(()) };
    match claims.get("iss") {
        None => Err(missing("iss")),
        Some(Value::String(found)) if found == expected => Ok(()),
        Some(Value::String(found)) => {
            Err(Denial::from(Code::IssuerMismatch)
                .because(format!("the token's iss is {found:?}, wanted is {expected:?}")))
        }
        Some(_) => Err(invalid("iss", "is not a string")),
    }
}

/// RFC 7519 §4.1.3: a string, or an array of strings, one of which is ours.
fn check_audience(claims: &Object, expected: &[Box<str>]) -> Result<(), Denial> {
    if expected.is_empty() {
        return Ok(());
    }
    let found = match claims.get("aud") {
        None => return Err(missing("aud")),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| invalid("aud", "is not an array of strings"))?,
        Some(_) => return Err(invalid("aud", "is neither a string nor an array of strings")),
    };
    if found.is_empty() || found.contains(&"") {
        return Err(invalid("aud", "is empty"));
    }
    if found.iter().any(|found| expected.iter().any(|expected| **expected == **found)) {
        return Ok(());
    }
    Err(Denial::from(Code::AudienceMismatch)
        .because(format!("the token's aud is {found:?}, wanted is one of {expected:?}")))
}

/// RFC 7519 §4.1.4, required here. The result is when the token is no longer accepted: `exp` and the leeway.
fn check_expiry(claims: &Object, leeway: u32, now: Timestamp) -> Result<Timestamp, Denial> {
    let exp = numeric_date(claims, "exp")?.ok_or_else(|| missing("exp"))?;
    let end = exp.plus(leeway.into());
    if now < end {
        return Ok(end);
    }
    Err(Denial::from(Code::TokenExpired).because(format!("the token expired {} s ago", now.since(exp))))
}

/// RFC 7519 §4.1.5 and §4.1.6: a token from the future was made by a wrong clock.
fn check_begun(claims: &Object, name: &str, leeway: u32, now: Timestamp) -> Result<(), Denial> {
    match numeric_date(claims, name)? {
        Some(begin) if begin > now.plus(leeway.into()) => {
            Err(Denial::from(Code::TokenNotYetValid)
                .because(format!("the token's {name} is {} s ahead", begin.since(now))))
        }
        _ => Ok(()),
    }
}

fn check_lifetime(claims: &Object, longest: Option<u64>) -> Result<(), Denial> {
    let Some(longest) = longest else { return Ok(()) };
    let iat = numeric_date(claims, "iat")?.ok_or_else(|| missing("iat"))?;
    let exp = numeric_date(claims, "exp")?.ok_or_else(|| missing("exp"))?;
    let lifetime = exp.since(iat);
    if lifetime <= longest {
        return Ok(());
    }
    Err(invalid("exp", &format!("is {lifetime} s after its iat, max_lifetime_seconds allows {longest}")))
}

fn check_required(claims: &Object, names: &[Box<str>]) -> Result<(), Denial> {
    let absent = names.iter().find(|name| claims.get(&***name).is_none_or(Value::is_null));
    absent.map_or(Ok(()), |name| Err(missing(name)))
}

/// With another user claim than `sub`, Better Auth's e-mail links and cookie caches could pass for tokens: they are
/// signed with the same secret and name the user elsewhere.
fn check_purpose(claims: &Object, user_claim: &str) -> Result<(), Denial> {
    let has = |name| claims.contains_key(name);
    let link = has("requestType") || has("updateTo");
    let cache = has("session") && has("user") && has("updatedAt");
    if user_claim != "sub" && (link || cache) {
        return Err(Denial::from(Code::ClaimInvalid).because("the token is an e-mail link or a cookie cache"));
    }
    Ok(())
}

/// A non-empty string that can stand in a header unchanged. There is no fallback to another claim.
fn user(claims: &Object, name: &str) -> Result<UserId, Denial> {
    match claims.get(name) {
        None => Err(missing(name)),
        Some(Value::String(text)) => UserId::new(text).map_err(|fault| invalid(name, &fault.to_string())),
        Some(_) => Err(invalid(name, "is not a string")),
    }
}

/// A `NumericDate` in whole seconds; a fraction is cut off.
fn numeric_date(claims: &Object, name: &str) -> Result<Option<Timestamp>, Denial> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let Value::Number(number) = value else { return Err(invalid(name, "is not a number")) };
    let seconds =
        number.as_u64().or_else(|| number.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64));
    match seconds {
        Some(seconds) if seconds <= LAST_SECOND => Ok(Some(Timestamp::from_unix(seconds))),
        _ => Err(invalid(name, "is no time between 1970 and 9999")),
    }
}

/// RFC 8693 §4.2 and RFC 9068 §2.2.3: a list between spaces; some issuers write an array.
fn scopes(claims: &Object, names: &[Box<str>]) -> Result<Box<[Box<str>]>, Denial> {
    let mut scopes = Vec::new();
    for name in names {
        scopes.extend(texts(claims, name, " ")?);
    }
    Ok(scopes.into())
}

/// An array, or a list between commas as Better Auth's admin plugin writes it.
fn roles(claims: &Object, name: &str) -> Result<Box<[Box<str>]>, Denial> {
    texts(claims, name, ",").map(Box::from)
}

fn texts(claims: &Object, name: &str, separator: &str) -> Result<Vec<Box<str>>, Denial> {
    let fault = || invalid(name, "is neither a string nor an array of strings");
    match claims.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(list)) => {
            Ok(list.split(separator).map(str::trim).filter(|text| !text.is_empty()).map(Box::from).collect())
        }
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(Box::from).ok_or_else(fault)).collect(),
        Some(_) => Err(fault()),
    }
}

/// A scalar as text, or an array of strings between commas. `None` for what would not arrive as it was: objects, null,
/// control characters, outer white space, a comma within an item, over [`CLAIM_HEADER_BYTES`].
fn header_value(claim: &Value) -> Option<HeaderValue> {
    let text = match claim {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => {
            let items = items
                .iter()
                .map(|item| item.as_str().filter(|item| !item.contains(',')))
                .collect::<Option<Vec<_>>>()?;
            items.join(",")
        }
        Value::Null | Value::Object(_) => return None,
    };
    let unchanged = !text.is_empty() && text.trim().len() == text.len() && !text.chars().any(char::is_control);
    (unchanged && text.len() <= CLAIM_HEADER_BYTES).then(|| HeaderValue::from_bytes(text.as_bytes()).ok()).flatten()
}
