//! A store in trouble refuses writes, goes on answering reads and recovers; two instances share a file.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;

use crate::check;
use crate::kit::{Place, Service};

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

/// Starts the service on a disk of its own of 2 MiB, in a mount namespace that ends with it.
fn start_on_small_disk(place: &Place) -> Service {
    let inner = place.command("127.0.0.1:0");
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs -o size=2m none \"$0\" && exec \"$@\""])
        .arg(place.folder.path())
        .arg(inner.get_program())
        .args(inner.get_args());
    Service::start(command)
}

#[test]
fn a_full_disk_refuses_writes_reads_on_and_recovers() {
    let place = Place::new();
    let service = start_on_small_disk(&place);
    service.create("before");
    let disk = format!("/proc/{}/root{}", service.id(), place.folder.path().display());
    let filler = format!("{disk}/filler");
    // Everything that is left, to the last byte.
    let mut file = fs::File::create(&filler).unwrap();
    while file.write(&[0; 512]).is_ok_and(|written| written > 0) {}
    let body = format!(r#"{{"title":"during","description":"{}"}}"#, "x".repeat(2000));
    let made = (0..50).take_while(|_| service.send("POST", TASKS, Some(&body)).status == 201).count();
    service.send("POST", TASKS, Some(&body)).refused(507, "storage_full");
    assert_eq!(service.pages(TASKS).concat().len(), 1 + made, "what was refused was not kept, what was not was");
    fs::remove_file(filler).unwrap();
    drop(file);
    service.create("after");
    assert_eq!(service.pages(TASKS).concat().len(), 2 + made);
    assert!(service.stop().success());
}

#[test]
fn a_limit_on_the_size_of_files_refuses_writes_and_ends_nothing() {
    let place = Place::new();
    let service = place.start();
    service.create("before");
    let limit = |bytes: &str| {
        let limits = ["--pid", &service.id().to_string(), &format!("--fsize={bytes}:")];
        assert!(Command::new("prlimit").args(limits).status().unwrap().success());
    };
    limit("4096");
    service.send("POST", TASKS, Some(r#"{"title":"during"}"#)).refused(503, "storage_unavailable");
    assert_eq!(service.send("GET", TASKS, None).json().as_array().unwrap().len(), 1);
    limit("unlimited");
    service.create("after");
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
        assert_eq!(service.pages("/api/alice/tasks").concat().len(), 300);
    }
    for service in services {
        assert!(service.stop().success());
    }
    check(&place.database());
}
