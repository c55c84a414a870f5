//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a create that is sent again makes one task.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::problem::{Code, Problem};

/// How long a key is remembered, in seconds: 24 hours.
pub(crate) const KEY_SECONDS: i64 = 24 * 60 * 60;

/// The longest key, in characters.
const KEY_CHARACTERS: usize = 255;

/// The name that a caller gave one create, if any. Another caller's same key is another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    /// Takes the quoted string of the draft and the bare word that many clients send; they are the same key.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(Self(None)),
            (Some(value), None) => value.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => return Err(invalid()),
        };
        let key = match value.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"').unwrap_or_default(),
            None => value,
        };
        let fits = (1..=KEY_CHARACTERS).contains(&key.len())
            && key.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\'));
        if fits { Ok(Self(Some(key.to_owned()))) } else { Err(invalid()) }
    }
}

fn invalid() -> Problem {
    Problem::new(
        Code::IdempotencyKeyInvalid,
        format!(
            "Send one Idempotency-Key of 1 to {KEY_CHARACTERS} printable ASCII characters, quotes and backslashes apart."
        ),
    )
}
