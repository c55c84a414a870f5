//! Bounds on what one user may keep.

use std::thread;

use crate::kit::{Place, Service};

const TASKS: &str = "/api/alice/tasks";

#[test]
fn a_user_keeps_no_more_than_the_quota_and_others_do_not_notice() {
    let place = Place::new();
    let mut command = place.command("127.0.0.1:0");
    command.args(["--max-tasks-per-user", "2", "--max-bytes-per-user", "10"]);
    let service = Service::start(command);
    service.create("one");
    service.create("two");
    service.send("POST", TASKS, Some(r#"{"title":"3"}"#)).refused(403, "quota_exceeded");
    service
        .send("PUT", "/api/alice/tasks/1", Some(r#"{"title":"one","description":"\u00e9\u00e9\u00e9"}"#))
        .refused(403, "quota_exceeded");
    assert_eq!(
        service.send("PUT", "/api/alice/tasks/1", Some(r#"{"title":"one","description":"\u00e9\u00e9"}"#)).status,
        200
    );
    assert_eq!(service.send("PATCH", "/api/alice/tasks/1/complete", Some(r#"{"completed":true}"#)).status, 200);
    assert_eq!(service.send_as("bob", "POST", TASKS, Some(r#"{"title":"his"}"#)).status, 201);
    service.send("DELETE", "/api/alice/tasks/1", None);
    service.create("1");
}

#[test]
fn what_is_over_a_lowered_quota_can_still_be_shrunk() {
    let place = Place::new();
    let service = place.start();
    service.create("a long title");
    service.create("another long title");
    service.stop();
    let mut command = place.command("127.0.0.1:0");
    command.args(["--max-tasks-per-user", "1", "--max-bytes-per-user", "5"]);
    let service = Service::start(command);
    assert_eq!(service.send("PATCH", "/api/alice/tasks/1", Some(r#"{"title":"a title"}"#)).status, 200);
    service.send("PATCH", "/api/alice/tasks/1", Some(r#"{"title":"a title again"}"#)).refused(403, "quota_exceeded");
    assert_eq!(service.send("DELETE", "/api/alice/tasks/2", None).status, 204);
}

#[test]
fn of_writes_that_arrive_together_those_over_the_quota_are_refused_and_no_others() {
    let place = Place::new();
    let mut command = place.command("127.0.0.1:0");
    command.args(["--max-tasks-per-user", "5"]);
    let service = Service::start(command);
    let made = |user: &str| {
        let statuses = (0..5).map(|number| {
            let body = format!(r#"{{"title":"{number}"}}"#);
            service.send_as(user, "POST", "/api/x/tasks", Some(&body)).status
        });
        statuses
            .inspect(|status| assert!(matches!(status, 201 | 403), "{status}"))
            .filter(|status| *status == 201)
            .count()
    };
    let users: Vec<_> = (0..8).map(|number| format!("user {number}")).collect();
    thread::scope(|scope| {
        // Two at once for each user: together they want twice what there is.
        let starts: Vec<_> =
            users.iter().map(|user| [scope.spawn(|| made(user)), scope.spawn(|| made(user))]).collect();
        for (user, [first, second]) in users.iter().zip(starts) {
            assert_eq!(first.join().unwrap() + second.join().unwrap(), 5, "{user}");
            let kept = service.send_as(user, "GET", "/api/x/tasks", None).json();
            assert_eq!(kept.as_array().unwrap().len(), 5, "{user}");
        }
    });
}
