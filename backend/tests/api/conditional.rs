//! `ETag`, `If-None-Match` and `If-Match`.

use crate::kit::Place;

const TASK: &str = "/api/alice/tasks/1";
const TASKS: &str = "/api/alice/tasks";

#[test]
fn what_the_client_has_is_not_sent_again() {
    let place = Place::new();
    let service = place.start();
    service.create("milk");
    for path in [TASK, TASKS, "/api/alice/tasks?q=milk"] {
        let tag = service.send("GET", path, None).header("etag").unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let answer = service.send_with(&[("If-None-Match", &known)], "GET", path, None);
            assert_eq!((answer.status, answer.header("etag")), (304, Some(tag.as_str())), "{path} {known}");
            assert!(answer.is_empty());
        }
        assert_eq!(service.send_with(&[("If-None-Match", "\"other\"")], "GET", path, None).status, 200);
        service.send("PATCH", TASK, Some(r#"{"description":"changed"}"#));
        assert_eq!(service.send_with(&[("If-None-Match", &tag)], "GET", path, None).status, 200, "{path}");
        service.send("PATCH", TASK, Some(r#"{"description":null}"#));
    }
}

#[test]
fn the_link_to_the_next_page_is_part_of_the_tag() {
    let place = Place::new();
    let service = place.start();
    service.create("one");
    let before = service.send("GET", "/api/alice/tasks?limit=1", None);
    service.create("two");
    let after = service.send("GET", "/api/alice/tasks?limit=1", None);
    assert_eq!(before.json(), after.json());
    assert_ne!(before.header("etag"), after.header("etag"));
}

#[test]
fn a_write_tells_the_tag_that_a_read_would() {
    let place = Place::new();
    let service = place.start();
    for (method, path, body) in [
        ("POST", TASKS, r#"{"title":"milk"}"#),
        ("PUT", TASK, r#"{"title":"tea"}"#),
        ("PATCH", TASK, r#"{"description":"hot"}"#),
        ("PATCH", "/api/alice/tasks/1/complete", r#"{"completed":true}"#),
    ] {
        let written = service.send(method, path, Some(body));
        assert_eq!(written.header("etag"), service.send("GET", TASK, None).header("etag"), "{method}");
    }
}

#[test]
fn a_change_of_what_has_changed_is_refused() {
    let place = Place::new();
    let service = place.start();
    service.create("milk");
    let changes = [
        ("PUT", TASK, Some(r#"{"title":"tea"}"#)),
        ("PATCH", TASK, Some(r#"{"description":"hot"}"#)),
        ("PATCH", "/api/alice/tasks/1/complete", Some(r#"{"completed":true}"#)),
        ("DELETE", TASK, None),
    ];
    for (method, path, body) in changes {
        let tag = service.send("GET", TASK, None).header("etag").unwrap().to_owned();
        for stale in ["\"other\"", &format!("W/{tag}"), "", "other"] {
            let answer = service.send_with(&[("If-Match", stale)], method, path, body);
            answer.refused(412, "precondition_failed");
        }
        for known in ["*", &tag, &format!("W/{tag}")] {
            let answer = service.send_with(&[("If-None-Match", known)], method, path, body);
            answer.refused(412, "precondition_failed");
        }
        assert_eq!(service.send("GET", TASK, None).header("etag"), Some(tag.as_str()), "{method} changed something");
        let listed = format!("\"other\", {tag}");
        let answer = service.send_with(&[("If-Match", &listed)], method, path, body);
        assert!(matches!(answer.status, 200 | 204), "{method}: {answer:?}");
    }
    service.send_with(&[("If-Match", "*")], "DELETE", TASK, None).refused(404, "task_not_found");
    service.create("another");
    let any = service.send_with(&[("If-Match", "*")], "DELETE", "/api/alice/tasks/2", None);
    assert_eq!(any.status, 204);
}
