//! A task as it is kept and shown.

use axum::extract::FromRequestParts;
use http::request::Parts;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::problem::Problem;

/// A task as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Task {
    /// Never used again, also after the task is gone.
    #[schema(value_type = i64, minimum = 1)]
    pub id: TaskId,
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// Up to 2 000 characters.
    #[schema(max_length = 2000, required)]
    pub description: Option<String>,
    /// Whether it is done.
    pub completed: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Moment,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Moment,
}

impl Task {
    /// How much of a quota this takes: the bytes of title and description.
    pub(crate) fn bytes(&self) -> i64 {
        let bytes = self.title.len() + self.description.as_ref().map_or(0, String::len);
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }
}

/// The number of a task: positive, and with one spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TaskId(pub i64);

impl TaskId {
    /// Reads `7` and refuses `07`, `+7`, `%37`, `0` and what does not fit 63 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse().ok().filter(|_| canonical).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for TaskId {
    type Rejection = Problem;

    /// Reads the segment after `/api/{user_id}/tasks/` as it was sent: axum's own `Path` would decode it first.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let segment = parts.uri.path().split('/').nth(4).unwrap_or_default();
        Self::parse(segment).ok_or_else(Problem::task_not_found)
    }
}

/// A point in time in whole seconds since the Unix epoch; RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// The present.
    pub fn now() -> Self {
        Self(Timestamp::now().as_second())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let timestamp = Timestamp::from_second(self.0).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&timestamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        for text in ["", "0", "01", "+1", "-1", "%31", "1 ", "1.0", "0x1", "١", "9223372036854775808"] {
            assert_eq!(TaskId::parse(text), None, "{text:?}");
        }
        assert_eq!(TaskId::parse("1"), Some(TaskId(1)));
        assert_eq!(TaskId::parse("9223372036854775807"), Some(TaskId(i64::MAX)));
    }

    #[test]
    fn a_moment_is_written_in_whole_seconds() {
        assert_eq!(serde_json::to_string(&Moment(1_795_416_007)).unwrap(), r#""2026-11-23T06:40:07Z""#);
    }

    proptest! {
        #[test]
        fn a_number_is_read_back_from_its_own_spelling(id in 1..=i64::MAX) {
            prop_assert_eq!(TaskId::parse(&id.to_string()), Some(TaskId(id)));
        }
    }
}
