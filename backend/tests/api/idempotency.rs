//! `Idempotency-Key`: a create that is sent again makes one task.

use std::thread;

use serde_json::json;

use crate::execute;
use crate::kit::{Place, Response, Service};

const TASKS: &str = "/api/alice/tasks";

fn post(service: &Service, key: &str, body: &str) -> Response {
    service.send_with(&[("Idempotency-Key", key)], "POST", TASKS, Some(body))
}

#[test]
fn a_create_sent_again_makes_one_task_also_after_it_changed_or_went() {
    let place = Place::new();
    let service = place.start();
    let body = r#"{"title":"milk","description":"two"}"#;
    let first = post(&service, "\"key 1\"", body);
    assert_eq!(first.status, 201);
    let again = |service: &Service| {
        // The same content in another spelling, and the key without its quotes.
        let again = post(service, "key 1", r#"{ "description": "two", "title": " milk " }"#);
        assert_eq!(again.status, 201);
        assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    };
    again(&service);
    service.send("PATCH", "/api/alice/tasks/1", Some(r#"{"title":"tea"}"#));
    again(&service);
    service.send("DELETE", "/api/alice/tasks/1", None);
    service.stop();
    let service = place.start();
    again(&service);
    assert_eq!(service.send("GET", TASKS, None).json(), json!([]));
}

#[test]
fn a_key_is_the_callers_own_and_stands_for_one_content() {
    let place = Place::new();
    let service = place.start();
    let body = r#"{"title":"milk"}"#;
    assert_eq!(post(&service, "k", body).status, 201);
    post(&service, "k", r#"{"title":"tea"}"#).refused(422, "idempotency_key_reused");
    post(&service, "k", r#"{"title":"milk","description":""}"#).refused(422, "idempotency_key_reused");
    let headers = [("X-User-Id", "bob"), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    let bobs = service.connect().send("POST", TASKS, &headers, Some(body.as_bytes()));
    assert_eq!((bobs.status, &bobs.json()["id"]), (201, &json!(2)));
    assert_eq!(post(&service, "K", body).json()["id"], 3);
}

#[test]
fn a_key_is_forgotten_after_a_day() {
    let place = Place::new();
    let service = place.start();
    let body = r#"{"title":"milk"}"#;
    post(&service, "k", body);
    execute(&place.database(), "UPDATE idempotency SET made_at = made_at - 86390");
    assert_eq!(post(&service, "k", body).json()["id"], 1);
    execute(&place.database(), "UPDATE idempotency SET made_at = made_at - 10");
    assert_eq!(post(&service, "k", body).json()["id"], 2);
}

#[test]
fn a_key_that_is_none_is_refused() {
    let place = Place::new();
    let service = place.start();
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", "a\"b", "\\", "caf\u{e9}", &long] {
        post(&service, key, r#"{"title":"milk"}"#).refused(400, "idempotency_key_invalid");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    service.send_with(&twice, "POST", TASKS, Some(r#"{"title":"milk"}"#)).refused(400, "idempotency_key_invalid");
    assert_eq!(post(&service, &"k".repeat(255), r#"{"title":"milk"}"#).status, 201);
}

#[test]
fn creates_sent_at_once_under_one_key_make_one_task() {
    let place = Place::new();
    let service = place.start();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(post(&service, "k", r#"{"title":"milk"}"#).json()["id"], 1));
        }
    });
    assert_eq!(service.send("GET", TASKS, None).json().as_array().unwrap().len(), 1);
}
