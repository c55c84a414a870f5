//! The task service on SQLite from outside: the real binary, real sockets, real files.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]

mod bodies;
mod callers;
mod conditional;
mod idempotency;
mod kit;
mod lifecycle;
mod lists;
mod migration;
mod operator;
mod quotas;
mod startup;
mod storage;
mod tasks;

use std::path::Path;

/// A new database for the service started in that folder.
fn database(folder: &Path) -> String {
    folder.join("tasks.db").to_str().unwrap().to_owned()
}

/// Runs a statement behind the service's back.
fn execute(database: &str, sql: &str) {
    rusqlite::Connection::open(database).unwrap().execute_batch(sql).unwrap();
}

/// Whether the database is sound, and each task counted and searchable.
fn check(database: &str) {
    let database = rusqlite::Connection::open(database).unwrap();
    let found: String = database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
    let half: i64 = database
        .query_row(
            "SELECT (SELECT count(*) FROM task WHERE id NOT IN (SELECT rowid FROM task_search))
                + (SELECT count(*) FROM task_search WHERE rowid NOT IN (SELECT id FROM task))
                + (SELECT count(*) FROM (SELECT owner, count(*) AS tasks FROM task GROUP BY owner) AS kept
                    FULL JOIN usage USING (owner) WHERE ifnull(kept.tasks, 0) IS NOT usage.tasks)",
            (),
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(half, 0, "rows of half a write");
}
