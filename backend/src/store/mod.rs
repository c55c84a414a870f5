//! Where tasks are kept. Every operation names the caller, and touches nobody else's tasks.

mod postgres;
mod sqlite;

use std::error::Error;
use std::sync::Arc;

pub use postgres::{Postgres, PostgresError};
pub use sqlite::{OpenError, Sqlite};

use crate::caller::Caller;
use crate::change::{Change, Draft};
use crate::conditional::Precondition;
use crate::idempotency::IdempotencyKey;
use crate::query::ListQuery;
use crate::task::{Moment, Task, TaskId};

/// A store; clones share it. Both kinds behave the same.
#[derive(Clone)]
pub enum Store {
    /// One file, beside the service.
    Sqlite(Arc<Sqlite>),
    /// A server that several instances of the service share.
    Postgres(Arc<Postgres>),
}

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

/// Why an operation was not done. Whatever it was, nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The operation is not to be done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no room left.
    #[error("the store is full")]
    Full(#[source] Arc<dyn Error + Send + Sync>),
    /// The store is locked, read-only, busy beyond reason or away.
    #[error("the store is not available")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
    /// A fault of ours, or damage.
    #[error("the store failed")]
    Internal(#[source] Arc<dyn Error + Send + Sync>),
}

/// Why an operation is not to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller has no such task.
    #[error("the caller has no such task")]
    NoTask,
    /// The task is not in a state that `If-Match` and `If-None-Match` admit.
    #[error("the task has changed")]
    Changed,
    /// The caller's idempotency key stands for another task.
    #[error("the idempotency key was used for another task")]
    KeyReused,
    /// The caller would keep more than the quota.
    #[error("the quota would be exceeded")]
    QuotaExceeded,
}

impl From<Sqlite> for Store {
    fn from(store: Sqlite) -> Self {
        Self::Sqlite(Arc::new(store))
    }
}

impl From<Postgres> for Store {
    fn from(store: Postgres) -> Self {
        Self::Postgres(Arc::new(store))
    }
}

impl Store {
    /// Whether the store answers.
    ///
    /// # Errors
    /// The store cannot.
    pub async fn ready(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.ready().await,
            Self::Postgres(store) => store.ready().await,
        }
    }

    /// Adds a task. A create that was done before under the same key answers the task it made then.
    ///
    /// # Errors
    /// [`Refusal::KeyReused`], [`Refusal::QuotaExceeded`], or the store cannot.
    pub async fn create(
        &self,
        caller: Caller,
        draft: Draft,
        key: IdempotencyKey,
        now: Moment,
    ) -> Result<Task, StoreError> {
        match self {
            Self::Sqlite(store) => store.create(caller, draft, key, now).await,
            Self::Postgres(store) => store.create(caller, draft, key, now).await,
        }
    }

    /// One page of the caller's tasks.
    ///
    /// # Errors
    /// The store cannot.
    pub async fn list(&self, caller: Caller, query: ListQuery) -> Result<Page, StoreError> {
        match self {
            Self::Sqlite(store) => store.list(caller, query).await,
            Self::Postgres(store) => store.list(caller, query).await,
        }
    }

    /// The caller's task of that id.
    ///
    /// # Errors
    /// [`Refusal::NoTask`], or the store cannot.
    pub async fn find(&self, caller: Caller, id: TaskId) -> Result<Task, StoreError> {
        match self {
            Self::Sqlite(store) => store.find(caller, id).await,
            Self::Postgres(store) => store.find(caller, id).await,
        }
    }

    /// Changes the caller's task of that id and answers how it is now.
    ///
    /// # Errors
    /// [`Refusal::NoTask`], [`Refusal::Changed`], [`Refusal::QuotaExceeded`], or the store cannot.
    pub async fn change(
        &self,
        caller: Caller,
        id: TaskId,
        change: Change,
        precondition: Precondition,
        now: Moment,
    ) -> Result<Task, StoreError> {
        match self {
            Self::Sqlite(store) => store.change(caller, id, change, precondition, now).await,
            Self::Postgres(store) => store.change(caller, id, change, precondition, now).await,
        }
    }

    /// Deletes the caller's task of that id.
    ///
    /// # Errors
    /// [`Refusal::NoTask`], [`Refusal::Changed`], or the store cannot.
    pub async fn delete(&self, caller: Caller, id: TaskId, precondition: Precondition) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.delete(caller, id, precondition).await,
            Self::Postgres(store) => store.delete(caller, id, precondition).await,
        }
    }
}
