//! Start-up faults: exit 1, a sentence that helps, and a file that stays as it was.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::execute;
use crate::kit::{Place, Service, fail};

#[test]
fn a_file_that_cannot_be_used_is_refused_and_stays_as_it_was() {
    type Spoil = fn(&Place);
    let cases: [(&str, Spoil); 7] = [
        ("is not an SQLite database", |place| fs::write(place.database(), "dear diary\n".repeat(500)).unwrap()),
        ("is not an SQLite database", |place| fs::write(place.database(), "x").unwrap()),
        ("of another program", |place| execute(&place.database(), "CREATE TABLE diary (entry TEXT)")),
        ("run the newer task-service", |place| {
            place.start().stop();
            execute(&place.database(), "PRAGMA user_version = 1000");
        }),
        ("is damaged", |place| spoil(place, |bytes| bytes.truncate(bytes.len() / 2))),
        ("is damaged", |place| spoil(place, |bytes| bytes[4096..].fill(0xff))),
        ("is damaged", |place| {
            spoil(place, |bytes| {
                let end = bytes.len();
                bytes[end - 4096..].fill(0);
            });
        }),
    ];
    for (sentence, spoil) in cases {
        let place = Place::new();
        spoil(&place);
        let before = fs::read(place.database()).unwrap();
        let (code, log) = place.fail();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(sentence), "{sentence}: {log}");
        assert!(fs::read(place.database()).unwrap() == before, "{sentence}: the file was touched");
    }
}

/// Makes a database of some pages and lets `damage` loose on its bytes.
fn spoil(place: &Place, damage: fn(&mut Vec<u8>)) {
    let service = place.start();
    for _ in 0..20 {
        service.create(&"long title ".repeat(18));
    }
    service.stop();
    let mut bytes = fs::read(place.database()).unwrap();
    damage(&mut bytes);
    fs::write(place.database(), bytes).unwrap();
}

#[test]
fn a_path_that_can_hold_no_file_is_refused() {
    let place = Place::new();
    for (path, sentence) in [
        (place.folder.path().join("missing/tasks.db"), "its folder does not exist"),
        (place.folder.path().to_owned(), "is not a regular file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_task-service"));
        command.env("TASK_SERVICE_DATABASE", &path).env("TASK_SERVICE_LISTEN", "127.0.0.1:0");
        let (code, log) = fail(command);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(sentence), "{log}");
    }
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    let place = Place::new();
    fs::write(place.database(), "").unwrap();
    place.start().create("first");
}

#[test]
fn an_address_in_use_is_refused() {
    let place = Place::new();
    let first = place.start();
    let port = first.address().to_owned();
    let (code, log) = fail(Place::new().command(&port));
    assert_eq!(code, Some(1));
    assert!(log.contains("--listen: cannot listen at "), "{log}");
    let second = Place::new();
    let mut command = second.command("127.0.0.1:0");
    command.args(["--admin", &port]);
    let (code, log) = fail(command);
    assert_eq!(code, Some(1));
    assert!(log.contains("--admin: cannot listen at "), "{log}");
}

#[test]
fn a_flag_that_cannot_be_understood_exits_64() {
    let mut command = Place::new().command("127.0.0.1:0");
    command.arg("--frobnicate");
    assert_eq!(fail(command).0, Some(64));
}

#[test]
fn a_stale_socket_file_is_replaced_and_one_in_use_is_not() {
    let place = Place::new();
    let socket = place.folder.path().join("tasks.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let listen = format!("unix:{}", socket.display());
    let service = Service::start(place.command(&listen));
    service.create("over a unix socket");
    let (code, log) = fail(Place::new().command(&listen));
    assert_eq!(code, Some(1));
    assert!(log.contains("another process does"), "{log}");
    service.create("still there");
    assert!(service.stop().success());
    assert!(!socket.exists());
    fs::write(&socket, "precious").unwrap();
    assert_eq!(fail(place.command(&listen)).0, Some(1));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}
