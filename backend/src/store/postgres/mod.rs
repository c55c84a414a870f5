//! Tasks in PostgreSQL, or what speaks its protocol: several instances of the service may share it.

mod open;
mod statements;

use deadpool_postgres::{Object, Pool, PoolError, Transaction};
use std::sync::Arc;
use tokio_postgres::error::SqlState;

pub use open::PostgresError;

use super::{Page, Refusal, StoreError};
use crate::caller::Caller;
use crate::change::{Change, Draft};
use crate::conditional::Precondition;
use crate::fingerprint::Fingerprint;
use crate::idempotency::IdempotencyKey;
use crate::query::ListQuery;
use crate::quota::{Quota, Usage};
use crate::task::{Moment, Task, TaskId};

/// A pool of connections to one database.
pub struct Postgres {
    pool: Pool,
    quota: Quota,
}

impl Postgres {
    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        Ok(self.client().await?.simple_query("SELECT 1 FROM task LIMIT 1").await.map(drop)?)
    }

    pub(super) async fn create(
        &self,
        caller: Caller,
        draft: Draft,
        key: IdempotencyKey,
        now: Moment,
    ) -> Result<Task, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let fingerprint = Fingerprint::of_json(&draft).to_string();
        if let Some(key) = &key.0 {
            // Another create under this key, still under way, is waited for.
            if !statements::claim(&transaction, &caller, key, &fingerprint, now).await? {
                let (sent, id, made_at) = statements::remembered(&transaction, &caller, key).await?;
                return if sent == fingerprint { Ok(draft.made(id, made_at)) } else { Err(Refusal::KeyReused.into()) };
            }
        }
        let (id, after) = statements::insert(&transaction, &caller, &draft, now).await?;
        let task = draft.made(id, now);
        let before = Usage { tasks: after.tasks - 1, bytes: after.bytes - task.bytes() };
        self.admit(before, after)?;
        if let Some(key) = &key.0 {
            statements::settle(&transaction, &caller, key, id).await?;
        }
        transaction.commit().await?;
        Ok(task)
    }

    pub(super) async fn list(&self, caller: Caller, query: ListQuery) -> Result<Page, StoreError> {
        let client = self.client().await?;
        statements::list(&client, &caller, &query).await
    }

    pub(super) async fn find(&self, caller: Caller, id: TaskId) -> Result<Task, StoreError> {
        let client = self.client().await?;
        statements::find(&client, &caller, id).await?.ok_or_else(|| Refusal::NoTask.into())
    }

    pub(super) async fn change(
        &self,
        caller: Caller,
        id: TaskId,
        change: Change,
        precondition: Precondition,
        now: Moment,
    ) -> Result<Task, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let old = locked(&transaction, &caller, id, &precondition).await?;
        let bytes = old.bytes();
        let new = change.apply(old, now);
        statements::update(&transaction, &caller, &new).await?;
        let grown = new.bytes() - bytes;
        if grown != 0 {
            let after = statements::grow(&transaction, &caller, 0, grown).await?;
            self.admit(Usage { tasks: after.tasks, bytes: after.bytes - grown }, after)?;
        }
        transaction.commit().await?;
        Ok(new)
    }

    pub(super) async fn delete(
        &self,
        caller: Caller,
        id: TaskId,
        precondition: Precondition,
    ) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let task = locked(&transaction, &caller, id, &precondition).await?;
        statements::delete(&transaction, &caller, id).await?;
        statements::grow(&transaction, &caller, -1, -task.bytes()).await?;
        Ok(transaction.commit().await?)
    }

    /// A refusal ends the transaction before its commit, so that it leaves no trace.
    fn admit(&self, before: Usage, after: Usage) -> Result<(), Refusal> {
        if self.quota.admits(before, after) { Ok(()) } else { Err(Refusal::QuotaExceeded) }
    }

    async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => StoreError::Unavailable(Arc::new(error)),
        })
    }
}

/// The caller's task, kept from changing until the transaction ends, if the precondition admits it.
async fn locked(
    transaction: &Transaction<'_>,
    caller: &Caller,
    id: TaskId,
    precondition: &Precondition,
) -> Result<Task, StoreError> {
    let task = statements::find_locked(transaction, caller, id).await?.ok_or(Refusal::NoTask)?;
    if precondition.admits(&task) { Ok(task) } else { Err(Refusal::Changed.into()) }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code().map(|code| code.code().to_owned());
        let source = Arc::new(error);
        let Some(code) = code else {
            // No word of the server's: the connection broke.
            return Self::Unavailable(source);
        };
        // Classes of SQLSTATE: 08 connection, 25006 read-only, 40 rolled back, 53 resources, 55P03 lock, 57 operator.
        let passing = ["08", "25006", "40", "53", "55P03", "57"];
        if code == SqlState::DISK_FULL.code() {
            Self::Full(source)
        } else if passing.iter().any(|class| code.starts_with(class)) {
            Self::Unavailable(source)
        } else {
            Self::Internal(source)
        }
    }
}
