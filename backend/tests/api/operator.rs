//! What operators see: health, metrics, log lines, backups and checks.

use std::fs;
use std::process::Command;
use std::thread;

use crate::execute;
use crate::kit::{Place, Response, Service, Wire, fail};

fn start_with_admin(place: &Place) -> (Service, String) {
    let socket = place.folder.path().join("admin.sock");
    let admin = format!("unix:{}", socket.display());
    let mut command = place.command("127.0.0.1:0");
    command.args(["--admin", &admin]);
    (Service::start(command), admin)
}

fn ask(admin: &str, path: &str) -> Response {
    Wire::connect(admin).send("GET", path, &[], None)
}

#[test]
fn the_admin_listener_tells_health_and_counts() {
    let place = Place::new();
    let (service, admin) = start_with_admin(&place);
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(&admin, path).status, 200, "{path}");
        service.send("GET", path, None).refused(404, "path_unknown");
    }
    let lost = ask(&admin, "/");
    assert_eq!((lost.status, &*lost.text()), (404, "try /livez, /readyz or /metrics\n"));
    service.create("milk");
    service.send("GET", "/api/alice/tasks/77", None);
    service.send("BREW", "/api/alice/tasks/78", None);
    let metrics = ask(&admin, "/metrics").text();
    for line in [
        r#"task_service_requests_total{method="POST",route="/api/{user_id}/tasks",status="201"} 1"#,
        r#"task_service_requests_total{method="GET",route="/api/{user_id}/tasks/{id}",status="404"} 1"#,
        r#"task_service_requests_total{method="other",route="/api/{user_id}/tasks/{id}",status="405"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(!metrics.contains("alice"));
}

#[test]
fn a_log_line_has_the_ids_that_the_proxy_sent_and_not_the_caller() {
    let place = Place::new();
    let service = place.start();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("X-User-Id", "secretive"), ("X-Request-Id", "r-1"), ("traceparent", trace)];
    service.connect().send("GET", "/api/x/tasks/9?q=private", &headers, None);
    let event = service.logged("exchange");
    assert_eq!((&event["request_id"], &event["traceparent"]), (&"r-1".into(), &trace.into()));
    assert_eq!((&event["status"], &event["code"]), (&404.into(), &"task_not_found".into()));
    assert!(event["microseconds"].is_u64(), "{event}");
    let text = event.to_string();
    assert!(!text.contains("secretive") && !text.contains("private"), "{text}");
}

fn backup(place: &Place, to: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_task-service"));
    command.arg("backup").arg(place.folder.path().join(to)).arg("--database").arg(place.database());
    command
}

#[test]
fn a_backup_made_under_writes_is_a_sound_database_of_one_moment() {
    let place = Place::new();
    let service = place.start();
    for number in 0..50 {
        service.create(&number.to_string());
    }
    thread::scope(|scope| {
        let writer = scope.spawn(|| (50..250).for_each(|number| drop(service.create(&number.to_string()))));
        assert_eq!(fail(backup(&place, "copy.db")).0, Some(0));
        writer.join().unwrap();
    });
    let copy = Place::new();
    fs::copy(place.folder.path().join("copy.db"), copy.database()).unwrap();
    let titles: Vec<_> = copy.start().pages("/api/alice/tasks").concat();
    assert!(titles.len() >= 50);
    for (number, task) in titles.iter().enumerate() {
        assert_eq!(task["title"], number.to_string(), "what is there has no gaps");
    }
}

#[test]
fn a_backup_replaces_nothing_and_leaves_no_half() {
    let place = Place::new();
    let (code, log) = fail(backup(&place, "copy.db"));
    assert_eq!(code, Some(1));
    assert!(log.contains("does not exist"), "{log}");
    place.start().create("milk");
    fs::write(place.folder.path().join("copy.db"), "precious").unwrap();
    let (code, log) = fail(backup(&place, "copy.db"));
    assert_eq!(code, Some(1));
    assert!(log.contains("exists already"), "{log}");
    assert_eq!(fs::read_to_string(place.folder.path().join("copy.db")).unwrap(), "precious");
    assert_eq!(fail(backup(&place, "no/folder/copy.db")).0, Some(1));
}

#[test]
fn a_check_finds_an_index_that_has_lost_a_row() {
    let place = Place::new();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_task-service"));
        command.arg("--database").arg(place.database()).arg("check");
        fail(command)
    };
    let (code, log) = check();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("does not exist"), "{log}");
    place.start().create("milk");
    let (code, log) = check();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("sound"), "{log}");
    // A row put in while its index is out of sight is missing from the index afterwards.
    execute(
        &place.database(),
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET type = 'table', name = 'hidden', tbl_name = 'hidden',
            sql = 'CREATE TABLE hidden (made_at, owner, key, PRIMARY KEY (made_at, owner, key)) WITHOUT ROWID'
            WHERE name = 'idempotency_by_age'",
    );
    execute(
        &place.database(),
        "INSERT INTO idempotency VALUES ('alice', 'k', '', 1, 1);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET type = 'index', name = 'idempotency_by_age', tbl_name = 'idempotency',
            sql = 'CREATE INDEX idempotency_by_age ON idempotency (made_at)' WHERE name = 'hidden'",
    );
    let (code, log) = check();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("is damaged"), "{log}");
}
