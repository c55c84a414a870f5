//! Where tasks are kept. Every operation names the caller, and touches nobody else's tasks.

mod sqlite;

use std::sync::Arc;

pub use sqlite::{OpenError, Sqlite};

use crate::caller::Caller;
use crate::query::ListQuery;
use crate::task::{Change, Draft, Moment, Task, TaskId};

/// A store; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Sqlite>);

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The tasks, in order.
    pub tasks: Vec<Task>,
    /// Whether others follow.
    pub more: bool,
}

impl Page {
    /// Makes a page of `limit` tasks from a result with one more than that, if there are more.
    fn cut(mut tasks: Vec<Task>, limit: u32) -> Self {
        let limit = limit as usize;
        let more = tasks.len() > limit;
        tasks.truncate(limit);
        Self { tasks, more }
    }
}

/// Why an operation could not be done. Whatever it was, nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room left.
    #[error("the store is full")]
    Full(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The store is locked, read-only, busy beyond reason or away.
    #[error("the store is not available")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A fault of ours, or damage.
    #[error("the store failed")]
    Internal(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl From<Sqlite> for Store {
    fn from(store: Sqlite) -> Self {
        Self(Arc::new(store))
    }
}

impl Store {
    /// Adds a task.
    ///
    /// # Errors
    /// The store cannot.
    pub async fn create(&self, caller: Caller, draft: Draft, now: Moment) -> Result<Task, StoreError> {
        self.0.create(caller, draft, now).await
    }

    /// One page of the caller's tasks.
    ///
    /// # Errors
    /// The store cannot.
    pub async fn list(&self, caller: Caller, query: ListQuery) -> Result<Page, StoreError> {
        self.0.list(caller, query).await
    }

    /// The caller's task of that id.
    ///
    /// # Errors
    /// The store cannot.
    pub async fn find(&self, caller: Caller, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.0.find(caller, id).await
    }

    /// Changes the caller's task of that id and answers how it is now.
    ///
    /// # Errors
    /// The store cannot.
    pub async fn change(
        &self,
        caller: Caller,
        id: TaskId,
        change: Change,
        now: Moment,
    ) -> Result<Option<Task>, StoreError> {
        self.0.change(caller, id, change, now).await
    }

    /// Deletes the caller's task of that id; `false` if there is none.
    ///
    /// # Errors
    /// The store cannot.
    pub async fn delete(&self, caller: Caller, id: TaskId) -> Result<bool, StoreError> {
        self.0.delete(caller, id).await
    }
}
