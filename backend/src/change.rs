//! What callers say of tasks, each body parsed once into a type that cannot be wrong.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::json::{FromMembers, Members};
use crate::task::{Moment, Task, TaskId};

/// The longest title, in Unicode scalar values.
pub(crate) const TITLE_CHARACTERS: usize = 200;

/// The longest description, in Unicode scalar values.
pub(crate) const DESCRIPTION_CHARACTERS: usize = 2_000;

/// What a caller may say of a new task, and what PUT replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Trimmed, 1 to 200 characters, no U+0000.
    #[schema(
        pattern = "^[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*[^\\u0000\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000](?:[^\\u0000]{0,198}[^\\u0000\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000])?[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*$"
    )]
    pub title: String,
    /// Up to 2 000 characters, no U+0000.
    #[schema(max_length = 2000, pattern = "^[^\\u0000]*$")]
    pub description: Option<String>,
}

impl Draft {
    /// The task that this makes.
    pub(crate) fn made(self, id: TaskId, now: Moment) -> Task {
        let Self { title, description } = self;
        Task { id, title, description, completed: false, created_at: now, updated_at: now }
    }
}

impl FromMembers for Draft {
    fn from_members(members: &mut Members) -> Option<Self> {
        let title = members.require("title").and_then(|value| title(value, members));
        let description = match members.take("description") {
            Some(value) => description(value, members),
            None => Some(None),
        };
        Some(Self { title: title?, description: description? })
    }
}

/// The body of `PATCH …/complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// Whether the task is done.
    pub completed: bool,
}

impl FromMembers for Completion {
    fn from_members(members: &mut Members) -> Option<Self> {
        let value = members.require("completed")?;
        completed(&value, members).map(|completed| Self { completed })
    }
}

/// A change of a task, as a JSON merge patch says it (RFC 7396); what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The new title: trimmed, 1 to 200 characters, no U+0000.
    #[schema(
        nullable = false,
        pattern = "^[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*[^\\u0000\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000](?:[^\\u0000]{0,198}[^\\u0000\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000])?[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*$"
    )]
    pub title: Option<String>,
    /// The new description, or none: up to 2 000 characters, no U+0000.
    #[schema(value_type = Option<String>, max_length = 2000, pattern = "^[^\\u0000]*$")]
    pub description: Option<Option<String>>,
    /// Whether the task is done.
    #[schema(nullable = false)]
    pub completed: Option<bool>,
}

impl Change {
    /// The task as it is after this change. A clock that was set back does not take it back in time.
    pub(crate) fn apply(self, task: Task, now: Moment) -> Task {
        Task {
            title: self.title.unwrap_or(task.title),
            description: self.description.unwrap_or(task.description),
            completed: self.completed.unwrap_or(task.completed),
            updated_at: now.max(task.updated_at),
            ..task
        }
    }
}

impl From<Draft> for Change {
    fn from(draft: Draft) -> Self {
        Self { title: Some(draft.title), description: Some(draft.description), completed: None }
    }
}

impl From<Completion> for Change {
    fn from(Completion { completed }: Completion) -> Self {
        Self { completed: Some(completed), ..Self::default() }
    }
}

impl FromMembers for Change {
    const MEDIA_TYPES: &'static [&'static str] = &["application/merge-patch+json", "application/json"];

    fn from_members(members: &mut Members) -> Option<Self> {
        let title = members.take("title").map(|value| title(value, members));
        let description = members.take("description").map(|value| description(value, members));
        let completed = members.take("completed").map(|value| completed(&value, members));
        Some(Self { title: given(title)?, description: given(description)?, completed: given(completed)? })
    }
}

/// Tells a member that is absent, which is fine, from one that is wrong.
fn given<T>(member: Option<Option<T>>) -> Option<Option<T>> {
    member.map_or(Some(None), |read| read.map(Some))
}

fn title(value: Value, members: &mut Members) -> Option<String> {
    let Value::String(text) = value else {
        members.fault("title", "must be a string");
        return None;
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        members.fault("title", "must not be blank");
    }
    bounded("title", trimmed, TITLE_CHARACTERS, members);
    Some(trimmed.to_owned())
}

fn description(value: Value, members: &mut Members) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => {
            bounded("description", &text, DESCRIPTION_CHARACTERS, members);
            Some(Some(text))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            members.fault("description", "must be a string or null");
            None
        }
    }
}

fn completed(value: &Value, members: &mut Members) -> Option<bool> {
    let flag = value.as_bool();
    if flag.is_none() {
        members.fault("completed", "must be true or false");
    }
    flag
}

fn bounded(field: &str, text: &str, most: usize, members: &mut Members) {
    let count = text.chars().count();
    if count > most {
        members.fault(field, format!("must have at most {most} characters, not {count}"));
    }
    if text.contains('\0') {
        members.fault(field, "must not contain U+0000");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::parse;
    use crate::problem::FieldFault;

    fn fields(faults: &[FieldFault]) -> Vec<(&str, &str)> {
        faults.iter().map(|fault| (fault.field.as_str(), fault.message.as_str())).collect()
    }

    #[test]
    fn a_title_is_trimmed_and_counted_in_characters() {
        let title = |text: &str| {
            let body = serde_json::json!({ "title": text }).to_string();
            parse::<Draft>(body.as_bytes()).map(|draft| draft.title)
        };
        assert_eq!(title(" \u{a0}\u{2003}milk\t").as_deref(), Ok("milk"));
        assert!(title(&"é".repeat(200)).is_ok());
        assert!(title(&format!(" {} ", "🥛".repeat(200))).is_ok());
        assert!(title(&"🥛".repeat(201)).is_err());
        assert!(title(" \u{3000}\n").is_err());
        assert!(title("a\0b").is_err());
    }

    #[test]
    fn a_missing_description_is_null_and_an_empty_one_stays() {
        let description = |body: &str| parse::<Draft>(body.as_bytes()).map(|draft| draft.description);
        assert_eq!(description(r#"{"title":"a"}"#), Ok(None));
        assert_eq!(description(r#"{"title":"a","description":null}"#), Ok(None));
        assert_eq!(description(r#"{"title":"a","description":""}"#), Ok(Some(String::new())));
    }

    #[test]
    fn every_fault_of_a_body_is_told_at_once() {
        let body = r#"{"id":1,"title":7,"title":"x","description":[],"colour":"red","id":2}"#;
        assert_eq!(
            fields(&parse::<Draft>(body.as_bytes()).unwrap_err()),
            [
                ("title", "appears more than once"),
                ("title", "must be a string"),
                ("description", "must be a string or null"),
                ("colour", "is not a known member"),
                ("id", "is not a known member"),
            ]
        );
    }

    #[test]
    fn what_is_no_json_object_is_one_fault_of_the_whole() {
        for body in ["", "[]", "null", "\"title\"", "{", "{\"title\":\"a\"}x", "\u{feff}{}", "{\"title\":\"\\ud800\"}"]
        {
            let faults = parse::<Draft>(body.as_bytes()).unwrap_err();
            assert_eq!(faults.len(), 1, "{body:?}");
            assert_eq!(faults[0].field, "", "{body:?}");
        }
        assert!(parse::<Draft>(b"{\"title\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_merge_patch_changes_what_it_names() {
        assert_eq!(parse(b"{}"), Ok(Change::default()));
        assert_eq!(
            parse(br#"{"description":null,"completed":false}"#),
            Ok(Change { title: None, description: Some(None), completed: Some(false) })
        );
        let faults = parse::<Change>(br#"{"title":null,"completed":null,"id":1}"#).unwrap_err();
        assert_eq!(faults.len(), 3, "only the description can be taken away: {faults:?}");
    }

    #[test]
    fn completed_is_a_boolean_and_nothing_like_one() {
        for value in ["1", "0", "\"true\"", "null", "[]"] {
            assert!(parse::<Completion>(format!("{{\"completed\":{value}}}").as_bytes()).is_err());
        }
        assert_eq!(parse(br#"{"completed":true}"#), Ok(Completion { completed: true }));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body: Vec<u8>) {
            let _ = parse::<Draft>(&body);
        }

        #[test]
        fn whatever_is_accepted_keeps_the_rules(title: String, description: Option<String>) {
            let body = serde_json::json!({ "title": title, "description": description }).to_string();
            if let Ok(draft) = parse::<Draft>(body.as_bytes()) {
                prop_assert_eq!(draft.title.as_str(), title.trim());
                prop_assert!((1..=TITLE_CHARACTERS).contains(&draft.title.chars().count()));
                prop_assert!(!draft.title.contains('\0'));
                prop_assert_eq!(draft.description, description);
            }
        }
    }
}
