//! The table of requests: what each does, and to whose tasks.

use serde_json::{Value, json};

use crate::execute;
use crate::kit::Place;

#[test]
fn a_task_is_made_read_changed_and_deleted() {
    let place = Place::new();
    let service = place.start();
    let made = service.send("POST", "/api/alice/tasks", Some(r#"{"title":" milk ","description":"two"}"#));
    assert_eq!(made.status, 201);
    assert_eq!(made.header("content-type"), Some("application/json"));
    let task = made.json();
    let path = format!("/api/alice/tasks/{}", task["id"]);
    assert_eq!(made.header("location"), Some(path.as_str()));
    assert_eq!((&task["title"], &task["description"]), (&json!("milk"), &json!("two")));
    assert_eq!(task["completed"], false);
    assert_eq!(task["created_at"], task["updated_at"]);
    assert_eq!(task["created_at"].as_str().unwrap().len(), "2026-11-23T06:40:07Z".len());
    assert_eq!(task.as_object().unwrap().len(), 6);
    assert_eq!(service.send("GET", &path, None).json(), task);

    let done = service.send("PATCH", &format!("{path}/complete"), Some(r#"{"completed":true}"#));
    assert_eq!((done.status, &done.json()["completed"]), (200, &json!(true)));
    let put = service.send("PUT", &path, Some(r#"{"title":"oat milk"}"#));
    assert_eq!(put.status, 200);
    let put = put.json();
    assert_eq!((&put["title"], &put["description"]), (&json!("oat milk"), &Value::Null));
    assert_eq!(put["completed"], true, "PUT leaves completed");
    assert_eq!(service.send("GET", &path, None).json(), put);

    let gone = service.send("DELETE", &path, None);
    assert_eq!(gone.status, 204);
    assert!(gone.is_empty());
    service.send("DELETE", &path, None).refused(404, "task_not_found");
    service.send("GET", &path, None).refused(404, "task_not_found");
}

#[test]
fn another_users_task_is_no_task() {
    let place = Place::new();
    let service = place.start();
    let path = format!("/api/alice/tasks/{}", service.create("hers")["id"]);
    let none = service.send_as("bob", "GET", "/api/alice/tasks/999", None).json();
    for (method, path, body) in [
        ("GET", path.clone(), None),
        ("PUT", path.clone(), Some(r#"{"title":"his"}"#)),
        ("DELETE", path.clone(), None),
        ("PATCH", format!("{path}/complete"), Some(r#"{"completed":true}"#)),
    ] {
        let answer = service.send_as("bob", method, &path, body);
        assert_eq!(answer.refused(404, "task_not_found"), none, "{method}");
    }
    assert_eq!(service.send_as("bob", "GET", "/api/alice/tasks", None).json(), json!([]));
    let hers = service.send("GET", &path, None).json();
    assert_eq!((&hers["title"], &hers["completed"]), (&json!("hers"), &json!(false)));
}

#[test]
fn the_user_in_the_path_is_not_looked_at() {
    let place = Place::new();
    let service = place.start();
    let task = service.create("mine");
    for user in ["bob", "%FF", "%2F", "é"] {
        let tasks = format!("/api/{user}/tasks");
        assert_eq!(service.send("GET", &tasks, None).json(), json!([task]), "{user}");
        let another = service.send("POST", &tasks, Some(r#"{"title":"another"}"#));
        assert_eq!(another.status, 201, "{user}");
        let path = another.header("location").unwrap();
        assert!(path.starts_with(&tasks), "{path}");
        assert_eq!(service.send("DELETE", path, None).status, 204, "{user}");
    }
}

#[test]
fn an_id_has_one_spelling() {
    let place = Place::new();
    let service = place.start();
    service.create("first");
    assert_eq!(service.send("GET", "/api/alice/tasks/1", None).status, 200);
    for id in ["01", "+1", "%31", "1.0", "0", "-1", "1%20", "one", "9223372036854775808"] {
        let path = format!("/api/alice/tasks/{id}");
        service.send("GET", &path, None).refused(404, "task_not_found");
        service.send("PUT", &path, Some(r#"{"title":"x"}"#)).refused(404, "task_not_found");
        service.send("DELETE", &path, None).refused(404, "task_not_found");
        service
            .send("PATCH", &format!("{path}/complete"), Some(r#"{"completed":true}"#))
            .refused(404, "task_not_found");
    }
}

#[test]
fn an_id_is_never_used_again_also_after_a_restart() {
    let place = Place::new();
    let service = place.start();
    service.create("first");
    let last = service.create("last")["id"].as_i64().unwrap();
    service.send("DELETE", &format!("/api/alice/tasks/{last}"), None);
    assert!(service.stop().success());
    let service = place.start();
    assert!(service.create("next")["id"].as_i64().unwrap() > last);
}

#[test]
fn changes_move_updated_at_and_nothing_else_does() {
    let place = Place::new();
    let service = place.start();
    let path = format!("/api/alice/tasks/{}", service.create("old")["id"]);
    for (method, path, body) in
        [("PUT", path.clone(), r#"{"title":"new"}"#), ("PATCH", format!("{path}/complete"), r#"{"completed":true}"#)]
    {
        execute(&place.database(), "UPDATE task SET created_at = 7, updated_at = 7");
        let task = service.send(method, &path, Some(body)).json();
        assert_eq!(task["created_at"], "1970-01-01T00:00:07Z");
        assert!(task["updated_at"].as_str() > Some("2026"), "{method}: {task}");
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let place = Place::new();
    let service = place.start();
    for (method, path, allow) in [
        ("DELETE", "/api/alice/tasks", "GET,HEAD,POST"),
        ("OPTIONS", "/api/alice/tasks", "GET,HEAD,POST"),
        ("POST", "/api/alice/tasks/1", "DELETE,GET,HEAD,PATCH,PUT"),
        ("GET", "/api/alice/tasks/1/complete", "PATCH"),
        ("BREW", "/api/alice/tasks", "GET,HEAD,POST"),
    ] {
        let answer = service.send(method, path, None);
        answer.refused(405, "method_not_allowed");
        let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
}

#[test]
fn an_unknown_path_is_refused() {
    let place = Place::new();
    let service = place.start();
    for path in ["/", "/api", "/api/alice", "/api/alice/tasks/", "/api/alice/t%61sks", "/API/alice/tasks"] {
        service.send("GET", path, None).refused(404, "path_unknown");
    }
}

#[test]
fn head_answers_like_get_without_a_body() {
    let place = Place::new();
    let service = place.start();
    service.create("one");
    let get = service.send("GET", "/api/alice/tasks", None);
    let head = service.send("HEAD", "/api/alice/tasks", None);
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

#[test]
fn a_merge_patch_changes_what_it_names() {
    let place = Place::new();
    let service = place.start();
    service.send("POST", "/api/alice/tasks", Some(r#"{"title":"milk","description":"two"}"#));
    let path = "/api/alice/tasks/1";
    for (body, title, description, completed) in [
        (r#"{"completed":true}"#, "milk", json!("two"), true),
        (r#"{"title":" tea "}"#, "tea", json!("two"), true),
        (r#"{"description":null,"completed":false}"#, "tea", Value::Null, false),
        ("{}", "tea", Value::Null, false),
    ] {
        let headers = [("X-User-Id", "alice"), ("Content-Type", "application/merge-patch+json")];
        let answer = service.connect().send("PATCH", path, &headers, Some(body.as_bytes()));
        assert_eq!(answer.status, 200, "{body}");
        let task = answer.json();
        assert_eq!(
            (&task["title"], &task["description"], &task["completed"]),
            (&json!(title), &description, &json!(completed))
        );
        assert_eq!(service.send("GET", path, None).json(), task);
    }
    service.send("PATCH", path, Some(r#"{"title":null}"#)).refused(400, "body_invalid");
    service.send("PATCH", path, Some(r#"{"id":2}"#)).refused(400, "body_invalid");
    service.send_as("bob", "PATCH", path, Some("{}")).refused(404, "task_not_found");
}
