//! Who is calling. The only code that reads `X-User-Id`.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::problem::{Code, Problem};

/// The user that the proxy vouches for: every statement is filtered by it.
///
/// Compared byte for byte: no trimming, folding or normalisation. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(String);

impl Caller {
    /// The user id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("x-user-id").iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(missing("exactly one X-User-Id header is needed"));
        };
        // Ids beyond ASCII arrive as their UTF-8 bytes; anything else is nobody's id.
        match std::str::from_utf8(value.as_bytes()) {
            Ok("") => Err(missing("X-User-Id is empty")),
            Ok(id) => Ok(Self(id.to_owned())),
            Err(_) => Err(missing("X-User-Id is not UTF-8")),
        }
    }
}

fn missing(fault: &str) -> Problem {
    Problem::new(
        Code::CallerMissing,
        format!("The request does not say who is calling: {fault}. The proxy in front sets it."),
    )
}
