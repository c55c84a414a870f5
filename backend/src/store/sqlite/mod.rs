//! Tasks in one SQLite file: a pool of readers, and one writer that groups what is waiting.

mod maintain;
mod open;
mod search;
mod statements;
mod writer;

use std::error::Error;
use std::sync::Arc;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use open::OpenError;

use super::{Page, StoreError};
use crate::caller::Caller;
use crate::change::{Change, Draft};
use crate::conditional::Precondition;
use crate::idempotency::IdempotencyKey;
use crate::query::ListQuery;
use crate::quota::Quota;
use crate::task::{Moment, Task, TaskId};
use open::BUSY;
use writer::Writer;

/// An open SQLite file.
pub struct Sqlite {
    readers: Pool<SqliteConnectionManager>,
    /// As many as there are readers: whoever waits for one holds no thread meanwhile.
    turns: Semaphore,
    writer: Writer,
    quota: Quota,
}

impl Sqlite {
    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        self.read(|connection| Ok(connection.query_row("SELECT 1 FROM task", (), |_| Ok(())).optional().map(drop)?))
            .await
    }

    pub(super) async fn create(
        &self,
        caller: Caller,
        draft: Draft,
        key: IdempotencyKey,
        now: Moment,
    ) -> Result<Task, StoreError> {
        let quota = self.quota;
        self.writer.write(move |connection| statements::create(connection, &caller, &draft, &key, quota, now)).await
    }

    pub(super) async fn list(&self, caller: Caller, query: ListQuery) -> Result<Page, StoreError> {
        let brief = query.is_brief();
        let list = move |connection: &Connection| statements::list(connection, &caller, &query);
        if brief { self.read_briefly(list).await } else { self.read(list).await }
    }

    pub(super) async fn find(&self, caller: Caller, id: TaskId) -> Result<Task, StoreError> {
        self.read_briefly(move |connection| statements::find(connection, &caller, id)).await
    }

    pub(super) async fn change(
        &self,
        caller: Caller,
        id: TaskId,
        change: Change,
        precondition: Precondition,
        now: Moment,
    ) -> Result<Task, StoreError> {
        let quota = self.quota;
        self.writer
            .write(move |connection| statements::change(connection, &caller, id, change, &precondition, quota, now))
            .await
    }

    pub(super) async fn delete(
        &self,
        caller: Caller,
        id: TaskId,
        precondition: Precondition,
    ) -> Result<(), StoreError> {
        self.writer.write(move |connection| statements::delete(connection, &caller, id, &precondition)).await
    }

    /// Reads a few rows: at once, while a connection is free. To wake another thread takes longer than that.
    async fn read_briefly<T, F>(&self, statement: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        match self.readers.try_get() {
            Some(connection) => statement(&connection),
            None => self.read(statement).await,
        }
    }

    /// Reads however much it is, on a thread that may take its time.
    async fn read<T, F>(&self, statement: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let unavailable = |error: Arc<dyn Error + Send + Sync>| StoreError::Unavailable(error);
        let turn = timeout(BUSY, self.turns.acquire()).await.map_err(|error| unavailable(Arc::new(error)))?;
        let _turn = turn.map_err(|error| unavailable(Arc::new(error)))?;
        let readers = self.readers.clone();
        let read = move || {
            let connection = readers.get().map_err(|error| StoreError::Unavailable(Arc::new(error)))?;
            statement(&connection)
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| StoreError::Internal(Arc::new(error)))?
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let source = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => Self::Full(source),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Unavailable(source),
            // rusqlite's own enum, open-ended: what is left are faults of ours and damage.
            Some(_) | None => Self::Internal(source),
        }
    }
}
