//! One issuer's rules for its tokens.

use super::Algorithm;

/// The place of an issuer in the gate's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerId(pub usize);

/// Where a token may stand in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenSource {
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    Header,
    /// The cookie of this name.
    Cookie(Box<str>),
    /// The query parameter of this name (RFC 6750 §2.3).
    Query(Box<str>),
    /// A `Sec-WebSocket-Protocol` entry that is itself a JWT.
    WebSocketProtocol,
}

/// What an issuer's tokens must say. Keys are apart, in [`super::Keys`], because they change while the rules stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The name by which routes, logs and metrics know it.
    pub name: Box<str>,
    /// The exact `iss`; `None` checks none and takes tokens of any or no `iss` (an HMAC secret alone).
    pub issuer: Option<Box<str>>,
    /// `aud` must contain one of these; empty checks none.
    pub audience: Box<[Box<str>]>,
    /// The algorithms that are accepted; empty leaves it to the keys.
    pub algorithms: Box<[Algorithm]>,
    /// Seconds of clock difference that are forgiven on `exp`, `nbf` and `iat`.
    pub leeway_seconds: u32,
    /// Accepted `typ` values beside none at all, compared without case.
    pub token_types: Box<[Box<str>]>,
    /// The claim that is the user id. No fallback.
    pub user_claim: Box<str>,
    /// Claims that must be present with any value but `null`.
    pub required_claims: Box<[Box<str>]>,
    /// The longest accepted `exp` minus `iat`, in seconds; `iat` is then required.
    pub max_lifetime_seconds: Option<u64>,
    /// Claims that hold scopes: a space-separated string or an array of strings.
    pub scope_claims: Box<[Box<str>]>,
    /// The claim that holds roles: a string or an array of strings.
    pub role_claim: Option<Box<str>>,
    /// Where its tokens may stand.
    pub token_from: Box<[TokenSource]>,
}
