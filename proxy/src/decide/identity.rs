//! Who calls. Only the verifier makes an [`Identity`], and its user id is always a legal header value.

use http::{HeaderName, HeaderValue};

use super::{IssuerId, Timestamp};

/// The longest user id, in bytes, that goes into a header.
pub const USER_ID_BYTES: usize = 256;

/// The longest text of another claim, in bytes, that goes into a header.
pub(super) const CLAIM_BYTES: usize = 1024;

/// A user id that can stand in a header unchanged: 1 to 256 bytes, no Unicode control character, no white space at
/// either end. Compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId {
    text: Box<str>,
    header: HeaderValue,
}

/// Why a string is no [`UserId`], nor any other value that a header carries unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserIdFault {
    /// The empty string names nobody.
    #[error("is empty")]
    Empty,
    /// Over the longest that is carried, in bytes.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A control character would end or hide a header.
    #[error("holds a control character")]
    Control,
    /// HTTP strips white space around a value, so it would not arrive unchanged.
    #[error("begins or ends with white space")]
    Padded,
}

impl UserId {
    /// Accepts `text` as it is or not at all.
    ///
    /// # Errors
    /// [`UserIdFault`] when a header could not carry it unchanged.
    pub fn new(text: &str) -> Result<Self, UserIdFault> {
        let header = carry(text, USER_ID_BYTES)?;
        Ok(Self { text: text.into(), header })
    }

    /// The id, byte for byte as the issuer wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id as the value of the identity header.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }
}

/// The header value that is `text`, if a header carries it unchanged.
pub(super) fn carry(text: &str, longest: usize) -> Result<HeaderValue, UserIdFault> {
    if text.is_empty() {
        return Err(UserIdFault::Empty);
    }
    if text.len() > longest {
        return Err(UserIdFault::TooLong(longest));
    }
    if text.chars().any(char::is_control) {
        return Err(UserIdFault::Control);
    }
    if text.trim().len() != text.len() {
        return Err(UserIdFault::Padded);
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| UserIdFault::Control)
}

/// A caller whose token was verified.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) issuer: IssuerId,
    pub(super) user: UserId,
    pub(super) expires_at: Timestamp,
    pub(super) scopes: Box<[Box<str>]>,
    pub(super) roles: Box<[Box<str>]>,
    pub(super) claims: Box<[(HeaderName, HeaderValue)]>,
}

impl Identity {
    /// The issuer that vouches for the caller.
    pub fn issuer(&self) -> IssuerId {
        self.issuer
    }

    /// The caller.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// When the token stops being accepted: `exp` plus the issuer's leeway.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// What the token grants, from the issuer's scope claim.
    pub fn scopes(&self) -> &[Box<str>] {
        &self.scopes
    }

    /// The caller's roles, from the issuer's role claim.
    pub fn roles(&self) -> &[Box<str>] {
        &self.roles
    }

    /// Claims that go into headers of their own, ready to send.
    pub fn claims(&self) -> &[(HeaderName, HeaderValue)] {
        &self.claims
    }
}
