//! The query string of a list, read strictly: every fault at once, nothing ignored.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::cursor::Cursor;
use crate::problem::{Code, FieldFault, Problem};
use crate::search::Words;
use crate::task::{Task, TaskId};

/// The most tasks that one page holds, and how many it holds when nothing is said.
pub(crate) const PAGE_TASKS: u32 = 100;

/// The longest search, in characters.
pub(crate) const SEARCH_CHARACTERS: usize = 200;

/// Which tasks of the caller are wanted, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Only those that are done, or only those that are not.
    pub completed: Option<bool>,
    /// Only those that hold these words.
    pub search: Option<Words>,
    /// The order.
    pub sort: Sort,
    /// How many at most: 1 to [`PAGE_TASKS`].
    pub limit: u32,
    /// Only those after this place in the order.
    pub after: Option<Cursor>,
}

/// The order of a list; tasks that are equal in it come in order of id, in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// What is compared.
    pub key: SortKey,
    /// From the last to the first.
    pub descending: bool,
}

/// What a list can be in order of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// The number of the task.
    Id,
    /// When it was made.
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// Its title, by code point.
    Title,
}

impl SortKey {
    const ALL: [Self; 4] = [Self::Id, Self::CreatedAt, Self::UpdatedAt, Self::Title];

    /// The name of the key; its column is called the same.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Title => "title",
        }
    }
}

impl Sort {
    /// Reads `title` or `-title`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix('-');
        let key = SortKey::ALL.into_iter().find(|key| key.name() == name.unwrap_or(text))?;
        Some(Self { key, descending: name.is_some() })
    }
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
        let sort = Sort { key: SortKey::Id, descending: false };
        let mut read = Self { completed: None, search: None, sort, limit: PAGE_TASKS, after: None };
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
        if read.after.as_ref().is_some_and(|after| !after.belongs_to(read.sort.key)) {
            faults.push(FieldFault::new("cursor", "belongs to a list in another order"));
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// Whether a page of it is found by looking at no more tasks than it holds.
    pub(crate) fn is_brief(&self) -> bool {
        self.completed.is_none() && self.search.is_none() && self.sort.key == SortKey::Id
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "completed" => self.completed = Some(value.parse().map_err(|_| "must be true or false")?),
            "q" => self.search = search(value)?,
            "sort" => {
                let wanted = "must be id, created_at, updated_at or title, with - in front to turn the order";
                self.sort = Sort::parse(value).ok_or(wanted)?;
            }
            "limit" => {
                self.limit = TaskId::parse(value)
                    .and_then(|TaskId(limit)| u32::try_from(limit).ok())
                    .filter(|limit| (1..=PAGE_TASKS).contains(limit))
                    .ok_or_else(|| format!("must be a number from 1 to {PAGE_TASKS}"))?;
            }
            "cursor" => {
                let after = Cursor::parse(value);
                self.after = Some(after.ok_or("must be taken from the Link header of a list")?);
            }
            _ => return Err("is not a known parameter".to_owned()),
        }
        Ok(())
    }

    /// `query`, of which this was read, turned to the page that follows the one ending with `last`.
    pub(crate) fn next_page(&self, query: &str, last: &Task) -> String {
        let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair("cursor", &Cursor::of(last, self.sort.key).to_string())
            .finish()
    }
}

/// A blank search is none.
fn search(text: &str) -> Result<Option<Words>, String> {
    if text.chars().count() > SEARCH_CHARACTERS {
        return Err(format!("must have at most {SEARCH_CHARACTERS} characters"));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()).map(Words::of))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::Moment;

    fn task(id: i64, title: &str, at: i64) -> Task {
        let (title, at) = (title.to_owned(), Moment(at));
        Task { id: TaskId(id), title, description: None, completed: false, created_at: at, updated_at: at }
    }

    #[test]
    fn the_next_page_keeps_the_filters_and_replaces_the_cursor() {
        let query = "completed=true&q=a%26b&sort=-title&limit=7";
        let read = ListQuery::parse(query).unwrap();
        let next = read.next_page(query, &task(9, "ü", 3));
        assert!(next.starts_with("completed=true&q=a%26b&sort=-title&limit=7&cursor="), "{next}");
        let second = ListQuery::parse(&next).unwrap();
        assert_eq!(second.after, Some(Cursor::of(&task(9, "ü", 3), SortKey::Title)));
        assert_eq!(second.next_page(&next, &task(9, "ü", 3)), next);
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let next = ListQuery::parse("").unwrap().next_page("", &task(9, "a", 3));
        assert!(ListQuery::parse(&format!("{next}&sort=-id")).is_ok());
        assert_eq!(ListQuery::parse(&format!("{next}&sort=title")).unwrap_err()[0].field, "cursor");
    }

    #[test]
    fn a_blank_search_is_none_and_one_without_words_finds_nothing() {
        assert_eq!(ListQuery::parse("q=+").unwrap().search, None);
        assert!(ListQuery::parse("q=%21%00").unwrap().search.unwrap().is_empty());
        assert_eq!(ListQuery::parse("q=Oat%0aMILK").unwrap().search, Some(Words::of("oat milk")));
    }

    proptest! {
        #[test]
        fn no_query_makes_the_parser_panic(query: String) {
            let _ = ListQuery::parse(&query);
        }

        #[test]
        fn a_cursor_is_read_back(id in 1..=i64::MAX, title: String, at: i64) {
            for key in SortKey::ALL {
                let cursor = Cursor::of(&task(id, &title, at), key);
                prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            }
        }
    }
}
