//! A database of an earlier version keeps what is in it.

use serde_json::json;

use crate::kit::Place;
use crate::{check, execute};

/// The schema as it was before tasks of one owner lay together.
const BEFORE_CLUSTERS: [&str; 4] = [
    include_str!("../../migrations/sqlite/001_task.sql"),
    include_str!("../../migrations/sqlite/002_search.sql"),
    include_str!("../../migrations/sqlite/003_usage.sql"),
    include_str!("../../migrations/sqlite/004_idempotency.sql"),
];

#[test]
fn an_earlier_schema_is_brought_up_to_date_with_all_that_is_in_it() {
    let place = Place::new();
    let content = "
        INSERT INTO task (owner, title, description, completed, created_at, updated_at) VALUES
            ('alice', 'Call Zo\u{eb}', 'about milk', 1, 1795416007, 1795416008),
            ('bob', 'milk', NULL, 0, 1795416007, 1795416007),
            ('alice', 'tea', NULL, 0, 1795416009, 1795416009),
            ('alice', 'the last one', NULL, 0, 1795416009, 1795416009);
        DELETE FROM task WHERE id = 4;
        PRAGMA user_version = 4;";
    execute(&place.database(), &[&BEFORE_CLUSTERS.concat(), content].concat());
    let mut command = place.command("127.0.0.1:0");
    command.args(["--max-tasks-per-user", "3"]);
    let service = crate::kit::Service::start(command);
    let first = json!({
        "id": 1, "title": "Call Zo\u{eb}", "description": "about milk", "completed": true,
        "created_at": "2026-11-23T06:40:07Z", "updated_at": "2026-11-23T06:40:08Z"
    });
    let list = |query: &str| service.send("GET", &format!("/api/alice/tasks{query}"), None).json();
    assert_eq!((&list("")[0], &list("")[1]["id"]), (&first, &json!(3)));
    assert_eq!(list("?q=zoe+mil"), json!([first]));
    assert_eq!(service.send_as("bob", "GET", "/api/bob/tasks", None).json()[0]["id"], 2);
    assert_eq!(service.create("new")["id"], 5, "an id of a task that is gone is not used again");
    service.send("POST", "/api/alice/tasks", Some(r#"{"title":"over"}"#)).refused(403, "quota_exceeded");
    service.send("DELETE", "/api/alice/tasks/1", None);
    assert_eq!(list("?q=milk"), json!([]));
    service.stop();
    check(&place.database());
}
