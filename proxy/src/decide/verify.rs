//! From a token to its bearer: the steps of the verification, in order, from the cheapest to the dearest.
//!
//! 1. Its form ([`UnverifiedToken`]).
//! 2. Its issuer, by exact `iss`: rules and keys are this issuer's alone from here on.
//! 3. Its algorithm, which the issuer must accept; the key has the last word on it.
//! 4. Its type, then its claims ([`Claims`]).
//! 5. Its key, within the issuer.
//! 6. Its signature. Only now is there an [`Identity`], and this file alone makes them.

use super::{
    Algorithm, Code, Denial, GateRules, Identity, Issuer, IssuerId, IssuerKeys, KeySet, Keys, Standing, Timestamp,
    claims::{Claims, UnverifiedCaller},
    excerpt::Excerpt,
    token::{UnverifiedHeader, UnverifiedToken},
};

/// Who the token's bearer is.
///
/// # Errors
/// The refusal of the first step that fails.
pub(super) fn verify(text: &str, rules: &GateRules, keys: &Keys, now: Timestamp) -> Result<Identity, Denial> {
    let token = UnverifiedToken::parse(text, rules.token_bytes, rules.json_depth)?;
    let claims = Claims(&token.claims);
    let (issuer, its) = choose_issuer(&rules.issuers, claims)?;
    let caller = check(&token, claims, its, keys.of(issuer), now).map_err(|denial| denial.from_issuer(issuer))?;
    let UnverifiedCaller { user, expires_at, scopes, roles } = caller;
    Ok(Identity { issuer, user, expires_at, scopes, roles, claims: claims.headers(&rules.identity.claims) })
}

/// The issuer that the token names. Where there is only one it is taken on trial, so that its own rule tells a mismatch;
/// an issuer without `iss` takes what nobody else's `iss` claims.
fn choose_issuer<'a>(issuers: &'a [Issuer], claims: Claims<'_>) -> Result<(IssuerId, &'a Issuer), Denial> {
    let found = |place: usize| issuers.get(place).map(|issuer| (IssuerId(place), issuer));
    if issuers.len() == 1 {
        return found(0).ok_or_else(|| Code::IssuerMismatch.into());
    }
    let named = claims.issuer()?;
    let place = named.and_then(|name| issuers.iter().position(|issuer| issuer.issuer.as_deref() == Some(name)));
    let place = place.or_else(|| issuers.iter().position(|issuer| issuer.issuer.is_none()));
    place.and_then(found).ok_or_else(|| match named {
        Some(name) => Denial::from(Code::IssuerMismatch).because(format!("iss is {}, no issuer's", Excerpt(name))),
        None => Denial::from(Code::ClaimMissing).because("the token has no claim \"iss\" to choose an issuer by"),
    })
}

fn check(
    token: &UnverifiedToken<'_>,
    claims: Claims<'_>,
    issuer: &Issuer,
    keys: Option<&IssuerKeys>,
    now: Timestamp,
) -> Result<UnverifiedCaller, Denial> {
    let keys = keys.ok_or(Code::KeysUnavailable)?;
    check_algorithm(&token.header, issuer, &keys.set)?;
    check_type(&token.header, issuer)?;
    let caller = claims.check(issuer, now)?;
    check_signature(token, keys)?;
    Ok(caller)
}

/// The issuer accepts the algorithm, and has or may come to have a key of it. Which one came and which are accepted is
/// the most useful line of the log: a token signed in one way and keys configured for another is the commonest mistake.
fn check_algorithm(header: &UnverifiedHeader, issuer: &Issuer, keys: &KeySet) -> Result<(), Denial> {
    if !issuer.algorithms.is_empty() && !issuer.algorithms.contains(&header.algorithm) {
        return Err(algorithm_not_allowed(header, "the issuer accepts", &issuer.algorithms));
    }
    if keys.could_serve(header.algorithm) { Ok(()) } else { Err(not_served(header, keys)) }
}

/// `typ` is absent, `JWT`, or one that the issuer lists (RFC 8725 §3.11). It is compared without case, and
/// `application/` may be written out (RFC 7515 §4.1.9).
fn check_type(header: &UnverifiedHeader, issuer: &Issuer) -> Result<(), Denial> {
    let Some(found) = &header.token_type else { return Ok(()) };
    let mut accepted = issuer.token_types.iter().map(AsRef::as_ref).chain(["JWT"]);
    if accepted.any(|accepted| media_type(accepted).eq_ignore_ascii_case(media_type(found))) {
        return Ok(());
    }
    let reason = format!("typ is {}, want none, \"JWT\" or one of {:?}", Excerpt(found), issuer.token_types);
    Err(Denial::from(Code::TokenTypeRefused).because(reason))
}

fn media_type(text: &str) -> &str {
    const PREFIX: &str = "application/";
    match text.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        Some(_) | None => text,
    }
}

fn check_signature(token: &UnverifiedToken<'_>, keys: &IssuerKeys) -> Result<(), Denial> {
    let header = &token.header;
    let mut candidates = keys.set.candidates(header.algorithm, header.key_id.as_deref()).peekable();
    if candidates.peek().is_none() {
        return Err(without_key(header, keys));
    }
    if candidates.any(|key| key.verifies(token.message.as_bytes(), &token.signature)) {
        return Ok(());
    }
    Err(Code::SignatureInvalid.into())
}

/// Why no key can be tried, and so whether a fetch of the keys could help.
fn without_key(header: &UnverifiedHeader, keys: &IssuerKeys) -> Denial {
    let other_algorithm = match &header.key_id {
        Some(id) => keys.set.has(id),
        None => keys.standing == Standing::Current && !keys.set.is_empty(),
    };
    if other_algorithm {
        return not_served(header, &keys.set);
    }
    match (keys.standing, &header.key_id) {
        (Standing::Current, Some(id)) => {
            Denial::from(Code::KeyUnknown).because(format!("kid is {}, which the issuer does not publish", Excerpt(id)))
        }
        (Standing::Current, None) => Denial::from(Code::KeyUnknown).because("the issuer publishes no keys"),
        (Standing::Unreachable, _) => {
            Denial::from(Code::KeysUnavailable).because("no known key fits, and the issuer cannot be asked for others")
        }
        (Standing::Unfetched, _) => {
            Denial::from(Code::KeysUnavailable).because("the issuer's keys have not been fetched yet")
        }
    }
}

fn not_served(header: &UnverifiedHeader, keys: &KeySet) -> Denial {
    algorithm_not_allowed(header, "the issuer's keys serve", &keys.algorithms())
}

fn algorithm_not_allowed(header: &UnverifiedHeader, who: &str, accepted: &[Algorithm]) -> Denial {
    let accepted: Vec<&str> = accepted.iter().map(|algorithm| algorithm.as_str()).collect();
    let accepted = if accepted.is_empty() { "none yet".to_owned() } else { accepted.join(", ") };
    Denial::from(Code::AlgorithmNotAllowed).because(format!("the token says {}, {who} {accepted}", header.algorithm))
}
