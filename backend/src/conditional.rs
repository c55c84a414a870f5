//! Conditional requests (RFC 9110, section 13): `ETag`, `If-None-Match`, `If-Match`.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

use crate::fingerprint::Fingerprint;
use crate::problem::Problem;
use crate::task::Task;

/// The name of one state of a resource: a strong entity tag.
pub(crate) fn entity_tag(fingerprint: Fingerprint) -> String {
    format!("\"{fingerprint}\"")
}

/// What `If-Match` and `If-None-Match` say of the state that may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// One of these; `None` is any.
    wanted: Option<Vec<String>>,
    /// None of these.
    unwanted: Vec<String>,
}

impl Precondition {
    /// Whether the task may be changed as it is now.
    pub(crate) fn admits(&self, task: &Task) -> bool {
        if self.wanted.is_none() && self.unwanted.is_empty() {
            return true;
        }
        let current = entity_tag(Fingerprint::of_json(task));
        let wanted = |tags: &Vec<String>| tags.iter().any(|tag| *tag == current || tag == "*");
        self.wanted.as_ref().is_none_or(wanted) && !self.unwanted.iter().any(|tag| is_weakly(tag, &current))
    }
}

impl<S: Sync> FromRequestParts<S> for Precondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let wanted = tags(&parts.headers, &header::IF_MATCH);
        Ok(Self {
            wanted: parts.headers.contains_key(header::IF_MATCH).then(|| wanted.collect()),
            unwanted: tags(&parts.headers, &header::IF_NONE_MATCH).collect(),
        })
    }
}

/// Whether the client has this state already, by `If-None-Match`.
pub(crate) fn is_known(headers: &HeaderMap, current: &str) -> bool {
    tags(headers, &header::IF_NONE_MATCH).any(|tag| is_weakly(&tag, current))
}

/// The weak comparison that `If-None-Match` is defined by.
fn is_weakly(tag: &str, current: &str) -> bool {
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current
}

/// The entity tags of a header. Ours hold no comma, so one in another's tag cannot make it look like ours.
fn tags(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().to_owned())
}
