//! A store in trouble refuses writes, goes on answering reads and recovers; two instances share a file.

use std::thread;

use crate::kit::Place;

const TASKS: &str = "/api/alice/tasks";

#[test]
fn a_locked_store_refuses_writes_reads_on_and_recovers() {
    let place = Place::new();
    let service = place.start();
    service.create("before");
    let other = rusqlite::Connection::open(place.database()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let answer = service.send("POST", TASKS, Some(r#"{"title":"during"}"#));
    answer.refused(503, "storage_unavailable");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(service.send("GET", TASKS, None).json().as_array().unwrap().len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    service.create("after");
    assert_eq!(service.send("GET", TASKS, None).json().as_array().unwrap().len(), 2);
}

#[test]
fn two_instances_on_one_file_do_not_harm_it() {
    let place = Place::new();
    // Both start on no file at all, so that they also race to make it.
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
        let second = service.send("GET", "/api/alice/tasks?cursor=200", None).json();
        assert_eq!(second.as_array().unwrap().len(), 100);
    }
    for service in services {
        assert!(service.stop().success());
    }
    let database = rusqlite::Connection::open(place.database()).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}
