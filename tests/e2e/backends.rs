//! The backend is another program, in another language, and nothing about authentication changes.

use std::process::Command;

use e2e::key::Key;
use e2e::process::Process;
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET, TaskService, workspace};
use e2e::token::Token;
use serde_json::json;

/// The script `tests/fixtures/echo.py`, which answers with what reached it; and where it listens.
fn echo() -> (Process, String) {
    let python = Command::new("python3").arg("--version").output();
    assert!(python.is_ok_and(|ran| ran.status.success()), "Python is missing: apt-get install python3");
    let script = workspace().join("tests/fixtures/echo.py");
    let process = Process::start("the backend in Python", Command::new("python3").arg(script));
    let line = process.wait_for_line("listening on ");
    let address = line.trim_start_matches("listening on ").to_owned();
    (process, format!("http://{address}"))
}

/// The same flags before any backend.
fn proxy_before(backend: &str) -> Proxy {
    Proxy::before_url(backend).flag("--secret", SECRET).start()
}

fn by(user: &str, method: &str, target: &str) -> Request {
    Request::new(method, target).bearer(&Token::of(user).signed_by(&Key::shared(SECRET)))
}

#[test]
fn a_backend_in_another_language_learns_the_caller_from_the_same_flags() {
    let (_backend, url) = echo();
    let proxy = proxy_before(&url);
    for (user, method, body) in [("alice", "GET", ""), ("bob", "POST", r#"{"title":"milk"}"#), ("carol", "DELETE", "")]
    {
        let target = format!("/api/{user}/tasks?page=2");
        let forged = by(user, method, &target).field("X-User-Id", "mallory").field("x_user_id", "mallory").body(body);
        let told = proxy.ask(&forged).expect(200).json();
        assert_eq!(told, json!({"method": method, "path": target, "callers": [user], "body": body}));
    }
}

#[test]
fn swapping_the_backend_changes_no_refusal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = TaskService::on(folder.path().join("tasks.db"));
    let (_backend, url) = echo();
    let proxies = [proxy_before(&service.url()), proxy_before(&url)];
    let expired = Token::of("alice").claim("exp", 1).signed_by(&Key::shared(SECRET));
    let stranger =
        Token::of("alice").signed_by(&Key::shared("a secret of somebody else, just as long as it has to be"));
    for (request, status, code) in [
        (Request::get("/api/alice/tasks"), 401, "token_missing"),
        (Request::get("/api/alice/tasks").bearer("junk"), 401, "token_malformed"),
        (Request::get("/api/alice/tasks").bearer(&expired), 401, "token_expired"),
        (Request::get("/api/alice/tasks").bearer(&stranger), 401, "signature_invalid"),
        (by("bob", "GET", "/api/alice/tasks"), 403, "not_owner"),
        (by("alice", "GET", "/elsewhere"), 404, "route_unknown"),
    ] {
        for proxy in &proxies {
            proxy.ask(&request).refused(status, code);
        }
    }
}
