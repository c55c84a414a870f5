//! Every SQL statement on tasks, with the owner in each `WHERE`.

use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, named_params};

use super::search;
use crate::caller::Caller;
use crate::change::{Change, Draft};
use crate::conditional::Precondition;
use crate::cursor::{Cursor, Place};
use crate::fingerprint::Fingerprint;
use crate::idempotency::{IdempotencyKey, KEY_SECONDS};
use crate::query::ListQuery;
use crate::quota::{Quota, Usage};
use crate::store::{Page, Refusal, StoreError};
use crate::task::{Moment, Task, TaskId};

pub(super) fn create(
    connection: &Connection,
    caller: &Caller,
    draft: &Draft,
    key: &IdempotencyKey,
    quota: Quota,
    now: Moment,
) -> Result<Task, StoreError> {
    let Some(key) = &key.0 else {
        return within(quota, connection, caller, || insert(connection, caller, draft, now));
    };
    let fingerprint = Fingerprint::of_json(draft).to_string();
    if let Some((sent, task, made_at)) = remembered(connection, caller, key, now)? {
        // A task is made with nothing but what was sent: it can be told again as it was then.
        return if sent == fingerprint {
            Ok(draft.clone().made(task, made_at))
        } else {
            Err(Refusal::KeyReused.into())
        };
    }
    let task = within(quota, connection, caller, || insert(connection, caller, draft, now))?;
    connection
        .prepare_cached("INSERT INTO idempotency (owner, key, fingerprint, task, made_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((caller.as_str(), key, fingerprint, task.id.0, now.0))?;
    Ok(task)
}

fn insert(connection: &Connection, caller: &Caller, draft: &Draft, now: Moment) -> Result<Task> {
    let id = connection
        .prepare_cached("UPDATE last_id SET id = id + 1 RETURNING id")?
        .query_row((), |row| Ok(TaskId(row.get(0)?)))?;
    connection
        .prepare_cached(
            "INSERT INTO task (owner, id, title, description, created_at, updated_at)
             VALUES (:owner, :id, :title, :description, :now, :now)",
        )?
        .execute(named_params! {
            ":owner": caller.as_str(),
            ":id": id.0,
            ":title": draft.title,
            ":description": draft.description,
            ":now": now.0,
        })?;
    search::add(connection, caller.as_str(), id.0, &draft.title, draft.description.as_deref())?;
    Ok(draft.clone().made(id, now))
}

/// What the caller's key stands for. Keys whose day is over are forgotten first.
fn remembered(
    connection: &Connection,
    caller: &Caller,
    key: &str,
    now: Moment,
) -> Result<Option<(String, TaskId, Moment)>> {
    connection.prepare_cached("DELETE FROM idempotency WHERE made_at <= ?1")?.execute([now.0 - KEY_SECONDS])?;
    connection
        .prepare_cached("SELECT fingerprint, task, made_at FROM idempotency WHERE owner = ?1 AND key = ?2")?
        .query_row((caller.as_str(), key), |row| Ok((row.get(0)?, TaskId(row.get(1)?), Moment(row.get(2)?))))
        .optional()
}

pub(super) fn list(connection: &Connection, caller: &Caller, query: &ListQuery) -> Result<Page, StoreError> {
    let owner = caller.as_str();
    let matching = query.search.as_ref().map(|words| search::matching(owner, words));
    let after = query.after.as_ref().map(|Cursor { place, id }| (value(place), id.0));
    let limit = query.limit + 1;
    let mut sql =
        "SELECT id, title, description, completed, created_at, updated_at FROM task WHERE owner = :owner".to_owned();
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":owner", &owner), (":limit", &limit)];
    if let Some(completed) = &query.completed {
        sql.push_str(" AND completed = :completed");
        parameters.push((":completed", completed));
    }
    if let Some(matching) = &matching {
        sql.push_str(" AND id IN (SELECT rowid FROM task_search WHERE task_search MATCH :matching)");
        parameters.push((":matching", matching));
    }
    let column = query.sort.key.name();
    let (direction, beyond) = if query.sort.descending { ("DESC", "<") } else { ("ASC", ">") };
    if let Some((place, id)) = &after {
        match place {
            Some(place) => {
                sql.push_str(&format!(" AND ({column}, id) {beyond} (:place, :id)"));
                parameters.push((":place", place));
            }
            None => sql.push_str(&format!(" AND id {beyond} :id")),
        }
        parameters.push((":id", id));
    }
    sql.push_str(&format!(" ORDER BY {column} {direction}, id {direction} LIMIT :limit"));
    let mut statement = connection.prepare_cached(&sql)?;
    let tasks = statement.query_map(parameters.as_slice(), task)?.collect::<Result<_>>()?;
    Ok(Page::cut(tasks, query.limit))
}

/// The value of a place, unless the id says it all.
fn value(place: &Place) -> Option<Box<dyn ToSql + '_>> {
    match place {
        Place::Id => None,
        Place::CreatedAt(second) | Place::UpdatedAt(second) => Some(Box::new(second)),
        Place::Title(title) => Some(Box::new(title)),
    }
}

pub(super) fn find(connection: &Connection, caller: &Caller, id: TaskId) -> Result<Task, StoreError> {
    connection
        .prepare_cached(
            "SELECT id, title, description, completed, created_at, updated_at FROM task
             WHERE owner = ?1 AND id = ?2",
        )?
        .query_row((caller.as_str(), id.0), task)
        .optional()?
        .ok_or_else(|| Refusal::NoTask.into())
}

pub(super) fn change(
    connection: &Connection,
    caller: &Caller,
    id: TaskId,
    change: Change,
    precondition: &Precondition,
    quota: Quota,
    now: Moment,
) -> Result<Task, StoreError> {
    let old = admitted(connection, caller, id, precondition)?;
    let new = change.apply(old.clone(), now);
    within(quota, connection, caller, || update(connection, caller, &old, &new))?;
    Ok(new)
}

fn update(connection: &Connection, caller: &Caller, old: &Task, new: &Task) -> Result<()> {
    let Task { id, title, description, completed, created_at: _, updated_at } = new;
    connection
        .prepare_cached(
            "UPDATE task SET title = :title, description = :description, completed = :completed, updated_at = :now
             WHERE owner = :owner AND id = :id",
        )?
        .execute(named_params! {
            ":owner": caller.as_str(),
            ":id": id.0,
            ":title": title,
            ":description": description,
            ":completed": completed,
            ":now": updated_at.0,
        })?;
    if (title, description) != (&old.title, &old.description) {
        search::remove(connection, id.0)?;
        search::add(connection, caller.as_str(), id.0, title, description.as_deref())?;
    }
    Ok(())
}

pub(super) fn delete(
    connection: &Connection,
    caller: &Caller,
    id: TaskId,
    precondition: &Precondition,
) -> Result<(), StoreError> {
    admitted(connection, caller, id, precondition)?;
    connection.prepare_cached("DELETE FROM task WHERE owner = ?1 AND id = ?2")?.execute((caller.as_str(), id.0))?;
    Ok(search::remove(connection, id.0)?)
}

/// The caller's task, if the precondition admits it. The writer's transaction keeps it as it is.
fn admitted(
    connection: &Connection,
    caller: &Caller,
    id: TaskId,
    precondition: &Precondition,
) -> Result<Task, StoreError> {
    let task = find(connection, caller, id)?;
    if precondition.admits(&task) { Ok(task) } else { Err(Refusal::Changed.into()) }
}

/// Writes, and refuses if that takes the caller over the quota; the writer undoes what was refused.
fn within<T>(
    quota: Quota,
    connection: &Connection,
    caller: &Caller,
    write: impl FnOnce() -> Result<T>,
) -> Result<T, StoreError> {
    if !quota.is_some() {
        return Ok(write()?);
    }
    let before = usage(connection, caller)?;
    let written = write()?;
    if quota.admits(before, usage(connection, caller)?) { Ok(written) } else { Err(Refusal::QuotaExceeded.into()) }
}

fn usage(connection: &Connection, caller: &Caller) -> Result<Usage> {
    let usage = connection
        .prepare_cached("SELECT tasks, bytes FROM usage WHERE owner = ?1")?
        .query_row([caller.as_str()], |row| Ok(Usage { tasks: row.get(0)?, bytes: row.get(1)? }))
        .optional()?;
    Ok(usage.unwrap_or_default())
}

fn task(row: &Row<'_>) -> Result<Task> {
    Ok(Task {
        id: TaskId(row.get(0)?),
        title: row.get(1)?,
        description: row.get(2)?,
        completed: row.get(3)?,
        created_at: Moment(row.get(4)?),
        updated_at: Moment(row.get(5)?),
    })
}
