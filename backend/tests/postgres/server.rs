//! What only a server can show: several instances, a newer schema, a lock, a server that is away.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use serde_json::json;

use crate::kit::{Place, fail};
use crate::{check, cluster, execute};

const TASKS: &str = "/api/alice/tasks";

#[test]
fn several_instances_share_one_database() {
    let place = Place::new();
    // All start on no tables at all, so that they also race to make them.
    let services = thread::scope(|scope| {
        let starts = [0, 1, 2].map(|_| scope.spawn(|| place.start()));
        starts.map(|start| start.join().unwrap())
    });
    thread::scope(|scope| {
        for service in &services {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|number| drop(service.create(&number.to_string()))));
            }
        }
    });
    for service in &services {
        assert_eq!(service.pages(TASKS).concat().len(), 300);
    }
    check(&place.database());
}

#[test]
fn one_key_sent_to_several_instances_at_once_makes_one_task() {
    let place = Place::new();
    let services = [place.start(), place.start()];
    thread::scope(|scope| {
        for service in services.iter().cycle().take(16) {
            scope.spawn(|| {
                let key = [("Idempotency-Key", "k")];
                let made = service.send_with(&key, "POST", TASKS, Some(r#"{"title":"milk"}"#));
                assert_eq!((made.status, &made.json()["title"]), (201, &json!("milk")));
            });
        }
    });
    assert_eq!(services[0].pages(TASKS).concat().len(), 1);
}

#[test]
fn a_newer_schema_is_refused() {
    let place = Place::new();
    place.start().stop();
    let sql = "INSERT INTO refinery_schema_history
        SELECT 1000, 'future', applied_on, checksum FROM refinery_schema_history LIMIT 1";
    execute(&place.database(), sql);
    let (code, log) = place.fail();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("run the newer task-service"), "{log}");
}

#[test]
fn a_server_that_is_away_is_a_start_up_fault_that_tells_no_password() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_task-service"));
    command.args(["--listen", "127.0.0.1:0", "--database", "postgres://tasks:sesame@127.0.0.1:1/tasks"]);
    let (code, log) = fail(command);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("check the URL") && !log.contains("sesame"), "{log}");
}

#[test]
fn lost_connections_and_locks_are_passing_troubles() {
    let place = Place::new();
    let service = place.start();
    service.create("before");
    let url = place.database();
    disconnect(&url);
    // The pool may notice first; if not, the answer says that trying again helps, and it does.
    let recovered = (0..20).any(|_| service.send("POST", TASKS, Some(r#"{"title":"after"}"#)).status == 201);
    assert!(recovered);
    let mut other = cluster::client(&url).stdin(Stdio::piped()).spawn().unwrap();
    let mut statements = other.stdin.take().unwrap();
    statements.write_all(b"BEGIN; LOCK TABLE task IN EXCLUSIVE MODE;\n").unwrap();
    let locked =
        "SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock' AND relation = 'task'::regclass AND granted";
    while cluster::psql(&url, locked) == "0" {}
    service.send("POST", TASKS, Some(r#"{"title":"during"}"#)).refused(503, "storage_unavailable");
    assert_eq!(service.pages(TASKS).concat().len(), 2, "reads go on");
    statements.write_all(b"ROLLBACK;\n").unwrap();
    drop(statements);
    assert!(other.wait().unwrap().success());
    service.create("afterwards");
    check(&url);
}

/// Ends the service's connections.
fn disconnect(url: &str) {
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'task-service' AND datname = current_database()",
    );
}

#[test]
fn a_read_only_database_refuses_writes_reads_on_and_recovers() {
    let place = Place::new();
    let service = place.start();
    service.create("before");
    let url = place.database();
    let turn = |read_only: &str| {
        let sql = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = VALUE', current_database()); END $$";
        // The setting counts for new connections, and is itself a write.
        execute(&url, &format!("SET TRANSACTION READ WRITE; {}", sql.replace("VALUE", read_only)));
        disconnect(&url);
        // The pool throws away what it finds broken.
        assert!((0..20).any(|_| service.send("GET", TASKS, None).status == 200));
    };
    turn("on");
    let refused = service.send("POST", TASKS, Some(r#"{"title":"during"}"#));
    refused.refused(503, "storage_unavailable");
    assert_eq!(service.pages(TASKS).concat().len(), 1);
    turn("off");
    service.create("after");
}

mod migrations {
    //! The schema, step by step.
    refinery::embed_migrations!("migrations/postgres");
}

/// Makes the tables as an earlier version did.
fn make_tables(url: &str, version: i32) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (mut client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let steps = migrations::migrations::runner().set_target(refinery::Target::Version(version));
        steps.run_async(&mut client).await.unwrap();
    });
}

#[test]
fn an_earlier_schema_is_brought_up_to_date_with_all_that_is_in_it() {
    let place = Place::new();
    make_tables(&place.database(), 1);
    execute(
        &place.database(),
        "INSERT INTO task (owner, title, created_at, updated_at, words) VALUES
            ('alice', 'milk', 1, 1, array_to_tsvector('{milk}')), ('alice', 'the last one', 1, 1, '');
         INSERT INTO usage VALUES ('alice', 1, 4);
         DELETE FROM task WHERE id = 2",
    );
    let service = place.start();
    assert_eq!(service.send("GET", "/api/alice/tasks?q=mi", None).json()[0]["id"], 1);
    assert_eq!(service.create("new")["id"], 3, "an id of a task that is gone is not used again");
    check(&place.database());
}
