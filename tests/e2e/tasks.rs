//! The task service behind the proxy, on each of its stores: two people, one database, and a crash.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use e2e::key::Key;
use e2e::postgres;
use e2e::process::poll;
use e2e::request::Request;
use e2e::socket::Address;
use e2e::stack::{Proxy, SECRET, TaskService};
use e2e::token::Token;
use e2e::wire::{Outcome, Wire};
use serde_json::json;

struct Stack {
    proxy: Proxy,
    service: TaskService,
    /// The file or the URL.
    database: String,
    _folder: tempfile::TempDir,
}

impl Stack {
    /// One on SQLite, then one on PostgreSQL.
    fn on_each_store() -> impl Iterator<Item = Self> {
        let databases: [fn(&Path) -> String; 2] = [
            |folder| folder.join("tasks.db").display().to_string(),
            |folder| postgres::database(&folder.file_name().expect("a folder has a name").to_string_lossy()),
        ];
        databases.into_iter().map(|database| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let database = database(folder.path());
            let service = TaskService::on(&database);
            let proxy = Proxy::before_url(&service.url()).flag("--secret", SECRET).start();
            Self { proxy, service, database, _folder: folder }
        })
    }

    fn request(&self, user: &str, method: &str, rest: &str) -> Request {
        let token = Token::of(user).signed_by(&Key::shared(SECRET));
        Request::new(method, format!("/api/{user}/tasks{rest}")).bearer(&token)
    }

    fn create(&self, user: &str, title: &str) -> Request {
        self.request(user, "POST", "").json(json!({"title": title}).to_string())
    }
}

#[test]
fn a_user_makes_reads_changes_and_deletes_a_task() {
    for stack in Stack::on_each_store() {
        let created = stack.proxy.ask(&stack.create("alice", " buy milk ")).expect(201);
        let task = created.json();
        assert_eq!(
            (&task["title"], &task["completed"], &task["description"]),
            (&json!("buy milk"), &json!(false), &json!(null))
        );
        let location = created.header("location").expect("a new task has a location");
        let id = task["id"].as_i64().expect("an id is a number");
        assert_eq!(location, format!("/api/alice/tasks/{id}"));
        let path = format!("/{id}");
        assert_eq!(stack.proxy.ask(&stack.request("alice", "GET", &path)).expect(200).json(), task);
        let replaced = stack.request("alice", "PUT", &path).json(r#"{"title":"buy oat milk","description":"two"}"#);
        assert_eq!(stack.proxy.ask(&replaced).expect(200).json()["description"], "two");
        let done = stack.request("alice", "PATCH", &format!("{path}/complete")).json(r#"{"completed":true}"#);
        assert_eq!(stack.proxy.ask(&done).expect(200).json()["completed"], true);
        stack.proxy.ask(&stack.request("alice", "DELETE", &path)).expect(204);
        stack.proxy.ask(&stack.request("alice", "GET", &path)).expect(404);
        assert_eq!(stack.proxy.ask(&stack.request("alice", "GET", "")).expect(200).json(), json!([]));
    }
}

#[test]
fn proxy_and_service_meet_on_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = Address::Unix(folder.path().join("tasks.sock"));
    let database = folder.path().join("tasks.db").display().to_string();
    let service = TaskService::at(socket, &database);
    let proxy = Proxy::before_url(&service.url()).flag("--secret", SECRET).start();
    let stack = Stack { proxy, service, database, _folder: folder };
    stack.proxy.ask(&stack.create("alice", "over a socket")).expect(201);
    assert_eq!(stack.proxy.ask(&stack.request("alice", "GET", "")).expect(200).json()[0]["title"], "over a socket");
}

#[test]
fn nobody_sees_or_touches_the_tasks_of_another() {
    for stack in Stack::on_each_store() {
        let task = stack.proxy.ask(&stack.create("alice", "hers")).expect(201).json();
        let path = format!("/{}", task["id"]);
        let none = stack.proxy.ask(&stack.request("bob", "GET", "/999999")).expect(404).json();
        let theirs = stack.proxy.ask(&stack.request("bob", "GET", &path)).expect(404).json();
        assert_eq!(theirs, none, "the answers differ between another's task and none");
        stack.proxy.ask(&stack.request("bob", "PUT", &path).json(r#"{"title":"his"}"#)).expect(404);
        stack
            .proxy
            .ask(&stack.request("bob", "PATCH", &format!("{path}/complete")).json(r#"{"completed":true}"#))
            .expect(404);
        stack.proxy.ask(&stack.request("bob", "DELETE", &path)).expect(404);
        assert_eq!(stack.proxy.ask(&stack.request("bob", "GET", "")).expect(200).json(), json!([]));
        assert_eq!(stack.proxy.ask(&stack.request("alice", "GET", &path)).expect(200).json(), task);
    }
}

#[test]
fn without_the_proxy_there_is_no_caller() {
    for stack in Stack::on_each_store() {
        let ask = |request: Request| Wire::to(&stack.service.address).ask(&request);
        let bare = ask(Request::get("/api/alice/tasks"));
        assert_eq!((bare.status, bare.code().as_str()), (400, "caller_missing"));
        let twice = ask(Request::get("/api/alice/tasks").field("X-User-Id", "alice").field("X-User-Id", "bob"));
        assert_eq!((twice.status, twice.code().as_str()), (400, "caller_missing"));
        let empty = ask(Request::get("/api/alice/tasks").field("X-User-Id", ""));
        assert_eq!((empty.status, empty.code().as_str()), (400, "caller_missing"));
    }
}

#[test]
fn refusals_of_the_service_reach_the_client_as_they_are() {
    for stack in Stack::on_each_store() {
        let wrong =
            stack.proxy.ask(&stack.request("alice", "POST", "").json(r#"{"title":"","color":"red"}"#)).expect(400);
        assert_eq!(wrong.header("content-type").as_deref(), Some("application/problem+json"));
        let problem = wrong.json();
        assert_eq!(problem["code"], "body_invalid");
        let fields: BTreeSet<_> =
            problem["errors"].as_array().expect("errors").iter().map(|error| error["field"].to_string()).collect();
        assert_eq!(fields, BTreeSet::from(["\"color\"".to_owned(), "\"title\"".to_owned()]));
        stack.proxy.ask(&stack.request("alice", "POST", "").body("{}")).expect(415);
        let wrong_method = stack.proxy.ask(&stack.request("alice", "DELETE", "")).expect(405);
        assert!(wrong_method.header("allow").is_some_and(|methods| methods.contains("POST")));
        let large = stack.request("alice", "POST", "").json(format!(r#"{{"title":"{}"}}"#, "x".repeat(70_000)));
        stack.proxy.ask(&large).expect(413);
    }
}

#[test]
fn a_killed_service_has_lost_no_acknowledged_task() {
    for mut stack in Stack::on_each_store() {
        let acknowledged = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let proxy = &stack.proxy;
        let create = |user: &str, title: &str| {
            let token = Token::of(user).signed_by(&Key::shared(SECRET));
            let body = json!({"title": title}).to_string();
            Request::new("POST", format!("/api/{user}/tasks")).bearer(&token).json(body)
        };
        let service = &mut stack.service;
        let mine = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|number| {
                    let (acknowledged, stop, create) = (&acknowledged, &stop, &create);
                    scope.spawn(move || {
                        let user = format!("writer-{number}");
                        let mut titles = Vec::new();
                        let mut wire = proxy.connect();
                        while !stop.load(Ordering::Relaxed) {
                            let title = format!("task {}", titles.len());
                            wire.send(create(&user, &title).bytes());
                            match wire.outcome() {
                                Outcome::Answered(answer) if answer.status == 201 => {
                                    titles.push(answer.json()["id"].as_i64().expect("an id"));
                                    acknowledged.fetch_add(1, Ordering::Relaxed);
                                }
                                // The service is gone; what was under way may be stored or not.
                                _ => break,
                            }
                        }
                        (user, titles)
                    })
                })
                .collect();
            let written = poll(e2e::PATIENCE, || (acknowledged.load(Ordering::Relaxed) >= 200).then_some(()));
            service.process.kill();
            stop.store(true, Ordering::Relaxed);
            assert!(written.is_some(), "only {} tasks were written", acknowledged.load(Ordering::Relaxed));
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect::<Vec<_>>()
        });
        stack.service = TaskService::at(stack.service.address.clone(), &stack.database);
        for (user, acknowledged) in mine {
            let stored = ids_of(&stack, &user);
            let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
            assert!(lost.is_empty(), "{user} lost {lost:?}");
            assert!(stored.len() <= acknowledged.len() + 1, "{user} has tasks that nobody asked for");
        }
    }
}

#[test]
fn what_guards_and_narrows_a_request_passes_the_proxy() {
    for stack in Stack::on_each_store() {
        let create = stack.create("alice", "buy milk").field("Idempotency-Key", "k");
        let task = stack.proxy.ask(&create).expect(201);
        assert_eq!(stack.proxy.ask(&create).expect(201).json(), task.json(), "made once");
        stack.proxy.ask(&stack.create("bob", "milk of bob").field("Idempotency-Key", "k")).expect(201);
        let tag = task.header("etag").expect("a task has a tag");
        let path = format!("/{}", task.json()["id"]);
        stack.proxy.ask(&stack.request("alice", "GET", &path).field("If-None-Match", &tag)).expect(304);
        let merge = stack.request("alice", "PATCH", &path).json(r#"{"description":"now"}"#).field("If-Match", &tag);
        assert_eq!(stack.proxy.ask(&merge).expect(200).json()["description"], "now");
        stack.proxy.ask(&merge).expect(412);
        for title in ["tea", "bread"] {
            stack.proxy.ask(&stack.create("alice", title)).expect(201);
        }
        let found = |query: &str| stack.proxy.ask(&stack.request("alice", "GET", query)).expect(200).json();
        assert_eq!(found("?q=MILK+now"), json!([found(&path)]));
        assert_eq!(found("?sort=-title&limit=1")[0]["title"], "tea");
        assert_eq!(found("?completed=true"), json!([]));
        assert_eq!(ids_from(&stack, "alice", "?limit=1").len(), 3);
    }
}

/// The ids of every task of this user, through all pages.
fn ids_of(stack: &Stack, user: &str) -> BTreeSet<i64> {
    ids_from(stack, user, "")
}

/// The ids of this user's tasks from a page on.
fn ids_from(stack: &Stack, user: &str, first: &str) -> BTreeSet<i64> {
    let mut ids = BTreeSet::new();
    let mut next = Some(first.to_owned());
    while let Some(query) = next {
        let page = stack.proxy.ask(&stack.request(user, "GET", &query)).expect(200);
        let tasks = page.json();
        ids.extend(tasks.as_array().expect("an array").iter().map(|task| task["id"].as_i64().expect("an id")));
        next = page.header("link").and_then(|link| {
            let (target, relation) = link.split_once('>')?;
            relation.contains("rel=\"next\"").then(|| target[target.find('?').expect("a query")..].to_owned())
        });
    }
    ids
}
