//! What is accepted as a body, and how much of one.

use serde_json::json;

use crate::kit::{Place, Service};

const TASKS: &str = "/api/alice/tasks";

fn post(service: &Service, media_type: Option<&str>, body: &[u8]) -> crate::kit::Response {
    let mut headers = vec![("X-User-Id", "alice")];
    headers.extend(media_type.map(|media_type| ("Content-Type", media_type)));
    service.connect().send("POST", TASKS, &headers, Some(body))
}

#[test]
fn every_fault_of_a_body_is_told_at_once() {
    let place = Place::new();
    let service = place.start();
    let body = format!(r#"{{"title":"{}","description":false,"done":true}}"#, "x".repeat(201));
    let problem = service.send("POST", TASKS, Some(&body)).refused(400, "body_invalid");
    assert_eq!(
        problem["errors"],
        json!([
            { "field": "title", "message": "must have at most 200 characters, not 201" },
            { "field": "description", "message": "must be a string or null" },
            { "field": "done", "message": "is not a known member" },
        ])
    );
    assert_eq!(service.send("GET", TASKS, None).json(), json!([]), "nothing was made");
}

#[test]
fn a_body_that_is_not_the_json_asked_for_is_refused_everywhere() {
    let place = Place::new();
    let service = place.start();
    service.create("one");
    let bad_tasks = [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        r#"{"title":null}"#,
        r#"{"title":" "}"#,
        r#"{"title":"a","title":"a"}"#,
        r#"{"title":"a\u0000"}"#,
        r#"{"title":"a","completed":true}"#,
        "{\"title\":\"a\"} {}",
    ];
    for body in bad_tasks {
        service.send("POST", TASKS, Some(body)).refused(400, "body_invalid");
        service.send("PUT", "/api/alice/tasks/1", Some(body)).refused(400, "body_invalid");
    }
    for body in [
        "",
        "{}",
        r#"{"completed":1}"#,
        r#"{"completed":null}"#,
        r#"{"completed":true,"completed":true}"#,
        r#"{"completed":true,"title":"a"}"#,
    ] {
        service.send("PATCH", "/api/alice/tasks/1/complete", Some(body)).refused(400, "body_invalid");
    }
    post(&service, Some("application/json"), b"{\"title\":\"\xff\"}").refused(400, "body_invalid");
}

#[test]
fn lengths_are_counted_in_characters() {
    let place = Place::new();
    let service = place.start();
    let fits = json!({ "title": "🥛".repeat(200), "description": "é".repeat(2000) }).to_string();
    assert_eq!(service.send("POST", TASKS, Some(&fits)).status, 201);
    let over = json!({ "title": "a", "description": "é".repeat(2001) }).to_string();
    service.send("POST", TASKS, Some(&over)).refused(400, "body_invalid");
}

#[test]
fn only_json_is_taken() {
    let place = Place::new();
    let service = place.start();
    let body = br#"{"title":"a"}"#;
    for media_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        assert_eq!(post(&service, Some(media_type), body).status, 201, "{media_type}");
    }
    for media_type in [
        None,
        Some("text/plain"),
        Some("application/jsonp"),
        Some("application/json; charset=latin1"),
        Some("application/problem+json"),
        Some("json"),
        Some(""),
    ] {
        post(&service, media_type, body).refused(415, "content_type_unsupported");
    }
    for (method, path) in [("PUT", "/api/alice/tasks/1"), ("PATCH", "/api/alice/tasks/1/complete")] {
        let answer = service.connect().send(method, path, &[("X-User-Id", "alice")], Some(body));
        answer.refused(415, "content_type_unsupported");
    }
}

/// A good body of that many bytes.
fn padded(length: usize) -> String {
    let body = r#"{"title":"a"}"#;
    body.to_owned() + &" ".repeat(length - body.len())
}

#[test]
fn a_body_has_at_most_64_kib() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.send("POST", TASKS, Some(&padded(65_536))).status, 201);
    service.send("POST", TASKS, Some(&padded(65_537))).refused(413, "body_too_large");
    service.send("POST", TASKS, Some(&padded(900_000))).refused(413, "body_too_large");
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let place = Place::new();
    let service = place.start();
    for (length, status) in [(65_536, 201), (65_537, 413)] {
        let mut wire = service.connect();
        wire.write(b"POST /api/alice/tasks HTTP/1.1\r\nHost: tasks\r\nX-User-Id: alice\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        let body = padded(length);
        for chunk in body.as_bytes().chunks(10_000) {
            wire.write(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.write(chunk);
            wire.write(b"\r\n");
        }
        wire.write(b"0\r\n\r\n");
        assert_eq!(wire.receive(false).status, status);
    }
}

#[test]
fn a_connection_outlives_the_refusal_of_its_body() {
    let place = Place::new();
    let service = place.start();
    let mut wire = service.connect();
    let body = vec![b'x'; 60_000];
    let json = ("Content-Type", "application/json");
    wire.send("POST", "/nowhere", &[json], Some(&body)).refused(404, "path_unknown");
    wire.send("POST", TASKS, &[json], Some(&body)).refused(400, "caller_missing");
    wire.send("DELETE", TASKS, &[json], Some(&body)).refused(405, "method_not_allowed");
    wire.send("POST", TASKS, &[("X-User-Id", "alice"), json], Some(&body)).refused(400, "body_invalid");
}
