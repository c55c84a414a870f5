//! Stopping, and dying.

use std::collections::HashSet;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use serde_json::json;

use crate::check;
use crate::kit::{Place, Wire};

#[test]
fn a_signal_lets_what_is_in_flight_finish_and_exits_0() {
    for name in ["TERM", "INT"] {
        let place = Place::new();
        let service = place.start();
        let mut idle = service.connect();
        idle.send("GET", "/api/alice/tasks", &[("X-User-Id", "alice")], None);
        let mut busy = service.connect();
        busy.write(b"POST /api/alice/tasks HTTP/1.1\r\nHost: tasks\r\nX-User-Id: alice\r\nContent-Type: application/json\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(busy.receive(true).status, 100, "the request is being served");
        service.signal(name);
        service.logged("stopping: finishing what is in flight");
        busy.write(br#"{"title":"a"}"#);
        assert_eq!(busy.receive(false).status, 201);
        assert!(idle.closed());
        assert_eq!(service.wait().code(), Some(0));
        let list = place.start().send("GET", "/api/alice/tasks", None).json();
        assert_eq!(list[0]["title"], json!("a"));
    }
}

/// Writes without pause until the service is gone, telling each title once it is acknowledged.
fn write_on(mut wire: Wire, writer: usize, acknowledged: &Sender<String>) {
    for number in 0.. {
        let title = format!("{writer}/{number}");
        let body = json!({ "title": title }).to_string();
        let headers = [("X-User-Id", "alice"), ("Content-Type", "application/json")];
        let Some(status) = wire.try_send("POST", "/api/alice/tasks", &headers, body.as_bytes()) else { return };
        assert_eq!(status, 201);
        acknowledged.send(title).unwrap();
    }
}

#[test]
fn kill_9_loses_no_acknowledged_write() {
    let place = Place::new();
    let mut acknowledged = Vec::new();
    for round in 0..10 {
        let service = place.start();
        let (sender, titles) = channel();
        thread::scope(|scope| {
            for writer in 0..16 {
                let (wire, sender) = (service.connect(), sender.clone());
                scope.spawn(move || write_on(wire, round * 16 + writer, &sender));
            }
            drop(sender);
            // Each round dies at another moment, always with writes in flight.
            acknowledged.extend(titles.iter().take(5 + 37 * round));
            service.kill();
            acknowledged.extend(titles);
        });
    }
    let service = place.start();
    let tasks = service.pages("/api/alice/tasks").concat();
    let titles: HashSet<_> = tasks.iter().map(|task| task["title"].as_str().unwrap()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|title| !titles.contains(title.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    assert_eq!(titles.len(), tasks.len(), "a write was done twice");
    assert!(tasks.len() <= acknowledged.len() + 160, "there is more than was sent");
    assert!(service.stop().success());
    check(&place.database());
}
