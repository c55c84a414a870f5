//! Every SQL statement on tasks, with the owner in each `WHERE`.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use crate::caller::Caller;
use crate::change::Draft;
use crate::cursor::{Cursor, Place};
use crate::idempotency::KEY_SECONDS;
use crate::query::ListQuery;
use crate::quota::Usage;
use crate::search::Words;
use crate::store::{Page, StoreError};
use crate::task::{Moment, Task, TaskId};

/// Adds a task; its id, and what its owner keeps now.
pub(super) async fn insert(
    transaction: &Transaction<'_>,
    caller: &Caller,
    draft: &Draft,
    now: Moment,
) -> Result<(TaskId, Usage), Error> {
    let statement = transaction
        .prepare_cached(
            "WITH made AS (
                INSERT INTO task (owner, title, description, created_at, updated_at, words)
                VALUES ($1, $2, $3, $4, $4, array_to_tsvector($5)) RETURNING id
             ), used AS (
                INSERT INTO usage AS u (owner, tasks, bytes)
                VALUES ($1, 1, octet_length($2) + coalesce(octet_length($3), 0))
                ON CONFLICT (owner) DO UPDATE SET tasks = u.tasks + 1, bytes = u.bytes + excluded.bytes
                RETURNING tasks, bytes
             )
             SELECT id, tasks, bytes FROM made, used",
        )
        .await?;
    let words = Words::of_task(&draft.title, draft.description.as_deref());
    let words: Vec<&str> = words.iter().collect();
    let row = transaction
        .query_one(&statement, &[&caller.as_str(), &draft.title, &draft.description, &now.0, &words])
        .await?;
    Ok((TaskId(row.get(0)), Usage { tasks: row.get(1), bytes: row.get(2) }))
}

/// Takes a key for a new create; `false` if it stands for one already. Keys whose day is over are forgotten first.
pub(super) async fn claim(
    transaction: &Transaction<'_>,
    caller: &Caller,
    key: &str,
    fingerprint: &str,
    now: Moment,
) -> Result<bool, Error> {
    let forget = transaction.prepare_cached("DELETE FROM idempotency WHERE made_at <= $1").await?;
    transaction.execute(&forget, &[&(now.0 - KEY_SECONDS)]).await?;
    let claim = transaction
        .prepare_cached(
            "INSERT INTO idempotency (owner, key, fingerprint, task, made_at) VALUES ($1, $2, $3, 0, $4)
             ON CONFLICT DO NOTHING",
        )
        .await?;
    let claimed = transaction.execute(&claim, &[&caller.as_str(), &key, &fingerprint, &now.0]).await?;
    Ok(claimed > 0)
}

/// What the caller's key stands for.
pub(super) async fn remembered(
    transaction: &Transaction<'_>,
    caller: &Caller,
    key: &str,
) -> Result<(String, TaskId, Moment), Error> {
    let statement = transaction
        .prepare_cached("SELECT fingerprint, task, made_at FROM idempotency WHERE owner = $1 AND key = $2")
        .await?;
    let row = transaction.query_one(&statement, &[&caller.as_str(), &key]).await?;
    Ok((row.get(0), TaskId(row.get(1)), Moment(row.get(2))))
}

/// Says which task a claimed key stands for.
pub(super) async fn settle(transaction: &Transaction<'_>, caller: &Caller, key: &str, id: TaskId) -> Result<(), Error> {
    let statement =
        transaction.prepare_cached("UPDATE idempotency SET task = $3 WHERE owner = $1 AND key = $2").await?;
    transaction.execute(&statement, &[&caller.as_str(), &key, &id.0]).await.map(drop)
}

/// Counts what the caller keeps up or down; how much it is now.
pub(super) async fn grow(
    transaction: &Transaction<'_>,
    caller: &Caller,
    tasks: i64,
    bytes: i64,
) -> Result<Usage, Error> {
    let statement = transaction
        .prepare_cached(
            "UPDATE usage SET tasks = tasks + $2, bytes = bytes + $3 WHERE owner = $1 RETURNING tasks, bytes",
        )
        .await?;
    let row = transaction.query_one(&statement, &[&caller.as_str(), &tasks, &bytes]).await?;
    Ok(Usage { tasks: row.get(0), bytes: row.get(1) })
}

pub(super) async fn list(client: &Object, caller: &Caller, query: &ListQuery) -> Result<Page, StoreError> {
    let owner = caller.as_str();
    let matching = query.search.as_ref().map(matching);
    let limit = i64::from(query.limit) + 1;
    let mut sql =
        "SELECT id, title, description, completed, created_at, updated_at FROM task WHERE owner = $1".to_owned();
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&owner];
    if let Some(completed) = &query.completed {
        parameters.push(completed);
        sql.push_str(&format!(" AND completed = ${}", parameters.len()));
    }
    if let Some(matching) = &matching {
        parameters.push(matching);
        sql.push_str(&format!(" AND words @@ ${}::text::tsquery", parameters.len()));
    }
    let column = query.sort.key.name();
    let (direction, beyond) = if query.sort.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some(Cursor { place, id }) = &query.after {
        parameters.push(&id.0);
        let last = parameters.len();
        match value(place) {
            Some(place) => {
                parameters.push(place);
                sql.push_str(&format!(" AND ({column}, id) {beyond} (${}, ${last})", last + 1));
            }
            None => sql.push_str(&format!(" AND id {beyond} ${last}")),
        }
    }
    parameters.push(&limit);
    sql.push_str(&format!(" ORDER BY {column} {direction}, id {direction} LIMIT ${}", parameters.len()));
    let statement = client.prepare_cached(&sql).await?;
    let tasks = client.query(&statement, &parameters).await?.iter().map(task).collect();
    Ok(Page::cut(tasks, query.limit))
}

/// The value of a place, unless the id says it all.
fn value(place: &Place) -> Option<&(dyn ToSql + Sync)> {
    match place {
        Place::Id => None,
        Place::CreatedAt(second) | Place::UpdatedAt(second) => Some(second),
        Place::Title(title) => Some(title),
    }
}

/// The search in the language of `tsquery`. Words are letters and digits alone, so nothing in them needs escaping.
fn matching(words: &Words) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("'{word}':*")).collect();
    words.join(" & ")
}

pub(super) async fn find(client: &Object, caller: &Caller, id: TaskId) -> Result<Option<Task>, Error> {
    let statement = client
        .prepare_cached(
            "SELECT id, title, description, completed, created_at, updated_at FROM task
             WHERE owner = $1 AND id = $2",
        )
        .await?;
    Ok(client.query_opt(&statement, &[&caller.as_str(), &id.0]).await?.as_ref().map(task))
}

pub(super) async fn find_locked(
    transaction: &Transaction<'_>,
    caller: &Caller,
    id: TaskId,
) -> Result<Option<Task>, Error> {
    let statement = transaction
        .prepare_cached(
            "SELECT id, title, description, completed, created_at, updated_at FROM task
             WHERE owner = $1 AND id = $2 FOR UPDATE",
        )
        .await?;
    Ok(transaction.query_opt(&statement, &[&caller.as_str(), &id.0]).await?.as_ref().map(task))
}

pub(super) async fn update(transaction: &Transaction<'_>, caller: &Caller, task: &Task) -> Result<(), Error> {
    let statement = transaction
        .prepare_cached(
            "UPDATE task SET title = $3, description = $4, completed = $5, updated_at = $6, words = array_to_tsvector($7)
             WHERE owner = $1 AND id = $2",
        )
        .await?;
    let words = Words::of_task(&task.title, task.description.as_deref());
    let words: Vec<&str> = words.iter().collect();
    let Task { id, title, description, completed, created_at: _, updated_at } = task;
    transaction
        .execute(&statement, &[&caller.as_str(), &id.0, title, description, completed, &updated_at.0, &words])
        .await
        .map(drop)
}

pub(super) async fn delete(transaction: &Transaction<'_>, caller: &Caller, id: TaskId) -> Result<(), Error> {
    let statement = transaction.prepare_cached("DELETE FROM task WHERE owner = $1 AND id = $2").await?;
    transaction.execute(&statement, &[&caller.as_str(), &id.0]).await.map(drop)
}

fn task(row: &Row) -> Task {
    Task {
        id: TaskId(row.get(0)),
        title: row.get(1),
        description: row.get(2),
        completed: row.get(3),
        created_at: Moment(row.get(4)),
        updated_at: Moment(row.get(5)),
    }
}
