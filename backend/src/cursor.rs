//! A place in a list, as it stands in the link to the next page: opaque to clients, and bound to its order.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::json;
use crate::query::SortKey;
use crate::task::{Task, TaskId};

/// The last task of a page: what it is sorted by, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The value of the sort key.
    pub place: Place,
    /// Tells equal ones apart.
    pub id: TaskId,
}

/// The value of a sort key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In order of id the id says it all.
    Id,
    /// Seconds since the Unix epoch.
    CreatedAt(i64),
    /// Seconds since the Unix epoch.
    UpdatedAt(i64),
    /// A title.
    Title(String),
}

impl Cursor {
    /// The place of `task` in the order of `key`.
    pub(crate) fn of(task: &Task, key: SortKey) -> Self {
        let place = match key {
            SortKey::Id => Place::Id,
            SortKey::CreatedAt => Place::CreatedAt(task.created_at.0),
            SortKey::UpdatedAt => Place::UpdatedAt(task.updated_at.0),
            SortKey::Title => Place::Title(task.title.clone()),
        };
        Self { place, id: task.id }
    }

    /// Whether this is a place in the order of `key`.
    pub(crate) fn belongs_to(&self, key: SortKey) -> bool {
        let own = match self.place {
            Place::Id => SortKey::Id,
            Place::CreatedAt(_) => SortKey::CreatedAt,
            Place::UpdatedAt(_) => SortKey::UpdatedAt,
            Place::Title(_) => SortKey::Title,
        };
        own == key
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (place, id) = serde_json::from_slice(&json).ok()?;
        Some(Self { place, id: TaskId(id) })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(json::text(&(&self.place, self.id))))
    }
}
