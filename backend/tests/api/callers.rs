//! `X-User-Id`: exactly one, not empty, compared byte for byte.

use serde_json::json;

use crate::kit::Place;

#[test]
fn a_request_without_exactly_one_caller_is_refused() {
    let place = Place::new();
    let service = place.start();
    for (method, path) in [
        ("GET", "/api/alice/tasks"),
        ("POST", "/api/alice/tasks"),
        ("GET", "/api/alice/tasks/1"),
        ("PUT", "/api/alice/tasks/01"),
        ("DELETE", "/api/alice/tasks/1"),
        ("PATCH", "/api/alice/tasks/1/complete"),
    ] {
        for head in [
            "",
            "X-User-Id:\r\n",
            "X-User-Id:   \r\n",
            "X-User-Id: alice\r\nX-User-Id: alice\r\n",
            "X-User-Id: alice\r\nx-user-id:\r\n",
            "X_User_Id: alice\r\n",
        ] {
            let mut wire = service.connect();
            wire.write(format!("{method} {path} HTTP/1.1\r\nHost: tasks\r\n{head}\r\n").as_bytes());
            wire.receive(false).refused(400, "caller_missing");
        }
    }
}

#[test]
fn bytes_that_are_no_utf8_are_nobody() {
    let place = Place::new();
    let service = place.start();
    let mut wire = service.connect();
    wire.write(b"GET /api/x/tasks HTTP/1.1\r\nHost: tasks\r\nX-User-Id: caf\xe9\r\n\r\n");
    wire.receive(false).refused(400, "caller_missing");
}

#[test]
fn look_alike_callers_are_different_people() {
    let place = Place::new();
    let service = place.start();
    let callers = [
        "alice",
        "Alice",
        "alice@x",
        "a lice",
        "caf\u{e9}",
        "cafe\u{301}",
        "k",
        "\u{212a}",
        "7",
        "07",
        "' OR 1=1 --",
        "%",
    ];
    for caller in callers {
        let body = json!({ "title": caller }).to_string();
        assert_eq!(service.send_as(caller, "POST", "/api/x/tasks", Some(&body)).status, 201);
    }
    for caller in callers {
        let list = service.send_as(caller, "GET", "/api/x/tasks", None).json();
        let titles: Vec<_> = list.as_array().unwrap().iter().map(|task| task["title"].as_str().unwrap()).collect();
        assert_eq!(titles, [caller]);
    }
}
