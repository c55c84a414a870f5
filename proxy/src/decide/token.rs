//! A signed token in compact form (RFC 7515 §3.1), read strictly and not yet believed.

use serde_json::{Map, Value};

use super::{Algorithm, Code, Denial, base64url, excerpt::Excerpt, json};

/// The longest `kid`, in bytes. It is an opaque name, and no key's name is longer.
const KID_BYTES: usize = 1024;

/// What a caller is told who sends the wrong one of the two tokens that sign-in services hand out.
const SESSION_TOKEN: &str = "The token is no JWT. It looks like an opaque session token, which says nothing here. Ask \
                             the sign-in service for a JWT (Better Auth: GET /api/auth/token) and send that.";

/// A token whose form is right. Nothing that it says is known to be true.
#[derive(Debug)]
pub(super) struct UnverifiedToken<'a> {
    pub(super) header: UnverifiedHeader,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over: header, dot, payload.
    pub(super) message: &'a str,
    pub(super) signature: Vec<u8>,
}

/// The header members that mean something here. `jwk`, `jku`, `x5u` and `x5c` do not: no key comes from a token.
#[derive(Debug)]
pub(super) struct UnverifiedHeader {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<Box<str>>,
    pub(super) token_type: Option<Box<str>>,
}

impl<'a> UnverifiedToken<'a> {
    /// Reads a token of at most `token_bytes`, whose JSON nests at most `json_depth` deep.
    ///
    /// # Errors
    /// `token_too_large`, `token_encrypted`, `token_malformed`, or `algorithm_not_allowed` for an `alg` that nobody
    /// could configure.
    pub(super) fn parse(text: &'a str, token_bytes: usize, json_depth: usize) -> Result<Self, Denial> {
        if text.len() > token_bytes {
            let reason = format!("the token has {} bytes, the limit is {token_bytes}", text.len());
            return Err(Denial::from(Code::TokenTooLarge).because(reason));
        }
        let [header, payload, signature] = split(text)?;
        let header = UnverifiedHeader::read(&object("header", header, json_depth)?)?;
        let claims = object("payload", payload, json_depth)?;
        let signature = bytes("signature", signature)?;
        let message = text.rsplit_once('.').map_or(text, |(message, _)| message);
        Ok(Self { header, claims, message, signature })
    }
}

impl UnverifiedHeader {
    fn read(members: &Map<String, Value>) -> Result<Self, Denial> {
        // No extension is understood here, so any that must be is a reason to refuse (RFC 7515 §4.1.11).
        for name in ["crit", "zip", "b64"] {
            if members.contains_key(name) {
                return Err(malformed(format!("the header has {name:?}")));
            }
        }
        let algorithm = text(members, "alg")?;
        let key_id = text(members, "kid")?;
        if key_id.is_some_and(|id| id.len() > KID_BYTES) {
            return Err(malformed(format!("the header's \"kid\" is longer than {KID_BYTES} bytes")));
        }
        let token_type = text(members, "typ")?;
        let algorithm = match algorithm {
            None => return Err(Denial::from(Code::AlgorithmNotAllowed).because("the token names no algorithm")),
            Some(name) => name.parse().map_err(|fault| {
                Denial::from(Code::AlgorithmNotAllowed).because(format!("the token's alg {} {fault}", Excerpt(name)))
            })?,
        };
        Ok(Self { algorithm, key_id: key_id.map(Into::into), token_type: token_type.map(Into::into) })
    }
}

/// The three parts of a signed token; the scan ends at the sixth.
fn split(text: &str) -> Result<[&str; 3], Denial> {
    let mut parts = text.splitn(6, '.');
    match std::array::from_fn(|_| parts.next()) {
        [Some(header), Some(payload), Some(signature), None, None, None] => Ok([header, payload, signature]),
        [_, _, _, _, Some(_), None] => Err(Code::TokenEncrypted.into()),
        parts if looks_opaque(&parts) => Err(malformed("the token does not have three parts").telling(SESSION_TOKEN)),
        _ => Err(malformed("the token does not have three parts")),
    }
}

/// Better Auth's session tokens are 32 letters and digits, alone or with a dot and a signature in padded base64. A JWT
/// that lost a part still begins with the encoding of `{"`.
fn looks_opaque(parts: &[Option<&str>; 6]) -> bool {
    match parts {
        [Some(_), None, ..] => true,
        [Some(token), Some(_), None, ..] => !token.starts_with("eyJ"),
        _ => false,
    }
}

fn bytes(part: &str, encoded: &str) -> Result<Vec<u8>, Denial> {
    base64url::decode(encoded).map_err(|_| malformed(format!("the {part} is no base64url without padding")))
}

fn object(part: &str, encoded: &str, depth: usize) -> Result<Map<String, Value>, Denial> {
    let decoded = bytes(part, encoded)?;
    json::object(&decoded, depth).map_err(|fault| malformed(format!("the {part} is no strict JSON object: {fault}")))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Denial> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(format!("the header's {name:?} is no string"))),
    }
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> Denial {
    Denial::from(Code::TokenMalformed).because(reason)
}
