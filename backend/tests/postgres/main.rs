//! The task service on PostgreSQL: the same behaviour, and several instances on one database.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]
#![allow(dead_code, reason = "the kit serves the tests of SQLite too")]

#[path = "../api/bodies.rs"]
mod bodies;
#[path = "../api/callers.rs"]
mod callers;
#[allow(unreachable_pub, reason = "the end-to-end kit shows it to others")]
#[path = "../../../tests/kit/postgres.rs"]
mod cluster;
#[path = "../api/conditional.rs"]
mod conditional;
#[path = "../api/idempotency.rs"]
mod idempotency;
#[path = "../api/kit.rs"]
mod kit;
#[path = "../api/lifecycle.rs"]
mod lifecycle;
#[path = "../api/lists.rs"]
mod lists;
#[path = "../api/quotas.rs"]
mod quotas;
mod server;
#[path = "../api/tasks.rs"]
mod tasks;

use std::path::Path;

/// A new database for the service started in that folder.
fn database(folder: &Path) -> String {
    cluster::database(folder.file_name().unwrap().to_str().unwrap())
}

/// Runs a statement behind the service's back.
fn execute(database: &str, sql: &str) {
    cluster::psql(database, sql);
}

/// Whether the database is sound: the server sees to its own files, so what can be wrong is what is in them.
fn check(database: &str) {
    let wrong = cluster::psql(
        database,
        "SELECT count(*) FROM (SELECT owner, count(*) AS tasks FROM task GROUP BY owner) AS kept
         FULL JOIN usage USING (owner) WHERE coalesce(kept.tasks, 0) IS DISTINCT FROM usage.tasks",
    );
    assert_eq!(wrong, "0", "what is counted is what is there");
}
