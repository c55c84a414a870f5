//! Every SQL statement of the service, with the owner in each `WHERE`.

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};

use crate::caller::Caller;
use crate::query::ListQuery;
use crate::store::Page;
use crate::task::{Change, Draft, Moment, Task, TaskId};

pub(super) fn create(connection: &Connection, caller: &Caller, draft: &Draft, now: Moment) -> Result<Task> {
    connection
        .prepare_cached(
            "INSERT INTO task (owner, title, description, created_at, updated_at)
             VALUES (:owner, :title, :description, :now, :now)
             RETURNING id, title, description, completed, created_at, updated_at",
        )?
        .query_row(
            named_params! {
                ":owner": caller.as_str(),
                ":title": draft.title,
                ":description": draft.description,
                ":now": now.0,
            },
            task,
        )
}

pub(super) fn list(connection: &Connection, caller: &Caller, query: &ListQuery) -> Result<Page> {
    let mut statement = connection.prepare_cached(
        "SELECT id, title, description, completed, created_at, updated_at FROM task
         WHERE owner = :owner AND id > :after ORDER BY id LIMIT :limit + 1",
    )?;
    let after = query.after.map_or(0, |TaskId(id)| id);
    let parameters = named_params! { ":owner": caller.as_str(), ":after": after, ":limit": query.limit };
    let tasks = statement.query_map(parameters, task)?.collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(tasks, query.limit))
}

pub(super) fn find(connection: &Connection, caller: &Caller, id: TaskId) -> Result<Option<Task>> {
    connection
        .prepare_cached(
            "SELECT id, title, description, completed, created_at, updated_at FROM task
             WHERE owner = :owner AND id = :id",
        )?
        .query_row(named_params! { ":owner": caller.as_str(), ":id": id.0 }, task)
        .optional()
}

pub(super) fn change(
    connection: &Connection,
    caller: &Caller,
    id: TaskId,
    change: &Change,
    now: Moment,
) -> Result<Option<Task>> {
    connection
        .prepare_cached(
            // A clock that was set back does not take a task back in time.
            "UPDATE task SET
                title = coalesce(:title, title),
                description = iif(:describes, :description, description),
                completed = coalesce(:completed, completed),
                updated_at = max(:now, updated_at)
             WHERE owner = :owner AND id = :id
             RETURNING id, title, description, completed, created_at, updated_at",
        )?
        .query_row(
            named_params! {
                ":owner": caller.as_str(),
                ":id": id.0,
                ":title": change.title,
                ":describes": change.description.is_some(),
                ":description": change.description.as_ref().and_then(Option::as_ref),
                ":completed": change.completed,
                ":now": now.0,
            },
            task,
        )
        .optional()
}

pub(super) fn delete(connection: &Connection, caller: &Caller, id: TaskId) -> Result<bool> {
    connection
        .prepare_cached("DELETE FROM task WHERE owner = :owner AND id = :id")?
        .execute(named_params! { ":owner": caller.as_str(), ":id": id.0 })
        .map(|deleted| deleted > 0)
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
