//! The query string of a list, read strictly: every fault at once, nothing ignored.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::problem::{Code, FieldFault, Problem};
use crate::task::TaskId;

/// The most tasks that one page holds, and how many it holds when nothing is said.
pub(crate) const PAGE_TASKS: u32 = 100;

/// Which tasks of the caller are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// How many at most: 1 to [`PAGE_TASKS`].
    pub limit: u32,
    /// Only those after this one.
    pub after: Option<TaskId>,
}

impl<S: Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default())
            .map_err(|faults| Problem::of_fields(Code::QueryInvalid, faults))
    }
}

impl ListQuery {
    /// Reads a query string.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn parse(query: &str) -> Result<Self, Vec<FieldFault>> {
        let mut read = Self { limit: PAGE_TASKS, after: None };
        let mut faults = Vec::new();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&name) {
                faults.push(FieldFault::new(name, "appears more than once"));
                continue;
            }
            if let Err(message) = read.set(&name, &value) {
                faults.push(FieldFault::new(name.clone(), message));
            }
            seen.push(name);
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "limit" => {
                self.limit = TaskId::parse(value)
                    .and_then(|TaskId(limit)| u32::try_from(limit).ok())
                    .filter(|limit| (1..=PAGE_TASKS).contains(limit))
                    .ok_or_else(|| format!("must be a number from 1 to {PAGE_TASKS}"))?;
            }
            "cursor" => {
                let after = TaskId::parse(value);
                self.after = Some(after.ok_or("must be taken from the Link header of a list")?);
            }
            _ => return Err("is not a known parameter".to_owned()),
        }
        Ok(())
    }

    /// The query string of the page that follows the one ending with `last`.
    pub fn next_page(&self, last: TaskId) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if self.limit != PAGE_TASKS {
            query.append_pair("limit", &self.limit.to_string());
        }
        query.append_pair("cursor", &last.0.to_string());
        query.finish()
    }
}
