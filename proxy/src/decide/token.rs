//! From the text of a token to the identity that it proves.
//!
//! Everything that is cheap comes first: form, algorithm, type, claims, and whether there is such a key. The signature
//! comes last, and until it is checked the token is called unverified.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    Algorithm, Code, Denial, GateRules, Identity, Issuer, IssuerId, IssuerKeys, Keys, Standing, Timestamp, claims,
    json::{self, Object},
    keys::{Lookup, VerifyingKey},
};

/// The longest key name that is looked up, in bytes.
const KID_BYTES: usize = 1024;

const SESSION_TOKEN: &str = "This looks like an opaque session token, not a JWT. Ask your sign-in service for a JWT \
    (with Better Auth: GET /api/auth/token) and send that.";

/// Proves who the bearer of a token is.
///
/// # Errors
/// The refusal that the token deserves.
pub(super) fn verify(rules: &GateRules, token: &str, keys: &Keys, now: Timestamp) -> Result<Identity, Denial> {
    let token = UnverifiedToken::parse(token, rules.token_bytes, rules.json_depth)?;
    let (id, issuer) = choose_issuer(&rules.issuers, &token.payload)?;
    let identity = || {
        let keys = keys.of(id).ok_or(Code::KeysUnavailable)?;
        check_algorithm(issuer, keys, token.algorithm)?;
        check_type(issuer, token.typ.as_deref())?;
        let unverified = claims::check(&token.payload, (id, issuer), &rules.identity.claims, now)?;
        check_signature(&token, keys)?;
        Ok(unverified)
    };
    identity().map_err(|denial: Denial| denial.from_issuer(id))
}

/// A signed JWT in its compact form (RFC 7515 §7.1), decoded and not yet believed.
struct UnverifiedToken<'a> {
    /// `header.payload`, as it was signed.
    signing_input: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    payload: Object,
    signature: Vec<u8>,
}

impl<'a> UnverifiedToken<'a> {
    fn parse(text: &'a str, token_bytes: usize, json_depth: usize) -> Result<Self, Denial> {
        if text.len() > token_bytes {
            return Err(Denial::from(Code::TokenTooLarge)
                .because(format!("the token has {} bytes, limits.token allows {token_bytes}", text.len())));
        }
        let (header, payload, signature) = split(text)?;
        let signing_input = text.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = Header::read(&decode(header, "header")?, json_depth)?;
        let payload =
            json::object(&decode(payload, "payload")?, json_depth).map_err(|error| not_json("payload", &error))?;
        let signature = decode(signature, "signature")?;
        let Header { algorithm, kid, typ } = header;
        Ok(Self { signing_input, algorithm, kid, typ, payload, signature })
    }
}

/// The header members that mean something here; others are ignored, whatever their type.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

impl Header {
    fn read(text: &[u8], json_depth: usize) -> Result<Self, Denial> {
        let mut members = json::object(text, json_depth).map_err(|error| not_json("header", &error))?;
        // Extensions that must be understood, compression and unencoded payloads change what was signed
        // (RFC 7515 §4.1.11, RFC 7516 §4.1.3, RFC 7797 §3); none is supported, so none is accepted.
        for member in ["crit", "zip", "b64"] {
            if members.contains_key(member) {
                return Err(malformed(format!("the header has {member:?}")));
            }
        }
        let Some(name) = text_member(&mut members, "alg")? else { return Err(malformed("the header has no \"alg\"")) };
        let algorithm = name.parse().map_err(|_| {
            Denial::from(Code::AlgorithmNotAllowed)
                .because(format!("the token says {name:.32?}, which is not supported"))
        })?;
        let kid = text_member(&mut members, "kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES) {
            return Err(malformed("the header's \"kid\" is over 1024 bytes"));
        }
        Ok(Self { algorithm, kid, typ: text_member(&mut members, "typ")? })
    }
}

fn text_member(members: &mut Object, name: &str) -> Result<Option<String>, Denial> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(format!("the header's {name:?} is not a string"))),
    }
}

/// Three parts; five are an encrypted token (RFC 7516 §7.1). Never looks for more.
fn split(text: &str) -> Result<(&str, &str, &str), Denial> {
    let mut parts = text.splitn(6, '.');
    match [(); 6].map(|()| parts.next()) {
        [Some(header), Some(payload), Some(signature), None, ..] => Ok((header, payload, signature)),
        [Some(_), Some(_), Some(_), Some(_), Some(_), None] => Err(Code::TokenEncrypted.into()),
        [Some(first), _, None, ..] if looks_opaque(first) => {
            Err(malformed("an opaque session token instead of a JWT").telling(SESSION_TOKEN))
        }
        _ => Err(malformed("the token is not three parts between dots")),
    }
}

/// Better Auth's session tokens are 32 letters and digits, alone or with a MAC behind a dot.
fn looks_opaque(first: &str) -> bool {
    first.len() >= 16 && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Base64url without padding, white space or stray bits (RFC 7515 §2).
fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, Denial> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(format!("the {name} is not base64url without padding")))
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> Denial {
    Denial::from(Code::TokenMalformed).because(reason)
}

fn not_json(part: &str, error: &serde_json::Error) -> Denial {
    malformed(format!("the {part} is not strict JSON: {error}"))
}

/// The issuer whose exact `iss` it is, else the one that has none. A single issuer is meant by every token; whether its
/// `iss` is right is then a rule like the others.
fn choose_issuer<'i>(issuers: &'i [Issuer], payload: &Object) -> Result<(IssuerId, &'i Issuer), Denial> {
    let mut all = issuers.iter().enumerate().map(|(place, issuer)| (IssuerId(place), issuer));
    if let [only] = issuers {
        return Ok((IssuerId(0), only));
    }
    let named = payload.get("iss").and_then(Value::as_str);
    let exact = all.clone().find(|(_, issuer)| issuer.issuer.is_some() && issuer.issuer.as_deref() == named);
    exact.or_else(|| all.find(|(_, issuer)| issuer.issuer.is_none())).ok_or_else(|| match payload.get("iss") {
        None => Denial::from(Code::ClaimMissing).because("the token has no \"iss\" and there are several issuers"),
        Some(Value::String(iss)) => {
            Denial::from(Code::IssuerMismatch).because(format!("the token's iss is {iss:?}, which is no issuer's"))
        }
        Some(_) => Denial::from(Code::ClaimInvalid).because("the token's \"iss\" is not a string"),
    })
}

fn check_algorithm(issuer: &Issuer, keys: &IssuerKeys, algorithm: Algorithm) -> Result<(), Denial> {
    let configured = issuer.algorithms.is_empty() || issuer.algorithms.contains(&algorithm);
    if configured && keys.set.could_have(algorithm) { Ok(()) } else { Err(other_algorithm(issuer, keys, algorithm)) }
}

/// The most common mistake of all: tokens signed in one way and keys configured for another.
fn other_algorithm(issuer: &Issuer, keys: &IssuerKeys, algorithm: Algorithm) -> Denial {
    let available = keys.set.algorithms();
    let accepted = if issuer.algorithms.is_empty() { &available } else { &*issuer.algorithms };
    let accepted = accepted.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(", ");
    Denial::from(Code::AlgorithmNotAllowed).because(format!(
        "the token says {algorithm}, issuer {:?} is configured for {}",
        issuer.name,
        if accepted.is_empty() { "the algorithms of its key set" } else { &accepted }
    ))
}

/// RFC 8725 §3.11. Absent or `JWT` is an ordinary token; other kinds are accepted only where they are listed.
fn check_type(issuer: &Issuer, typ: Option<&str>) -> Result<(), Denial> {
    let Some(typ) = typ else { return Ok(()) };
    // RFC 7515 §4.1.9: "application/" may be left out.
    let short = match typ.split_at_checked(12) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    };
    let listed = issuer.token_types.iter().any(|listed| listed.eq_ignore_ascii_case(short));
    if short.eq_ignore_ascii_case("JWT") || listed {
        return Ok(());
    }
    Err(Denial::from(Code::TokenTypeRefused)
        .because(format!("the token's typ is {typ:.64?}, accepted are {:?}", issuer.token_types)))
}

fn check_signature(token: &UnverifiedToken<'_>, keys: &IssuerKeys) -> Result<(), Denial> {
    let candidates = find_keys(token, keys)?;
    let message = token.signing_input.as_bytes();
    if candidates.iter().any(|key| key.verifies(message, &token.signature)) {
        return Ok(());
    }
    Err(Denial::from(Code::SignatureInvalid).because(match &token.kid {
        Some(kid) => format!("no key {kid:?} of the issuer made the signature"),
        None => format!("none of {} keys made the signature", candidates.len()),
    }))
}

fn find_keys<'k>(token: &UnverifiedToken<'_>, keys: &'k IssuerKeys) -> Result<Vec<&'k VerifyingKey>, Denial> {
    match (keys.set.lookup(token.kid.as_deref(), token.algorithm), keys.standing) {
        (Lookup::Candidates(candidates), _) => Ok(candidates),
        (Lookup::OtherAlgorithm, Standing::Current) => Err(Denial::from(Code::AlgorithmNotAllowed)
            .because(format!("the token says {}, its key has another algorithm", token.algorithm))),
        (Lookup::Unknown, Standing::Current) => Err(Denial::from(Code::KeyUnknown).because(match &token.kid {
            Some(kid) => format!("the issuer has no key {kid:?}"),
            None => "the issuer has no keys".to_owned(),
        })),
        (Lookup::OtherAlgorithm, Standing::Unreachable | Standing::Unfetched) if token.kid.is_some() => {
            Err(Denial::from(Code::AlgorithmNotAllowed)
                .because(format!("the token says {}, its key has another algorithm", token.algorithm)))
        }
        (Lookup::OtherAlgorithm | Lookup::Unknown, Standing::Unreachable) => {
            Err(Denial::from(Code::KeysUnavailable).because("an unknown key, and the issuer cannot be reached"))
        }
        (Lookup::OtherAlgorithm | Lookup::Unknown, Standing::Unfetched) => {
            Err(Denial::from(Code::KeysUnavailable).because("no keys have been fetched yet"))
        }
    }
}
