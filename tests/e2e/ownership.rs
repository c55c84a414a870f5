//! The owner of a path is the user of the token, byte for byte.

use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::Proxy;

use crate::gate::Gate;

/// What RFC 3986 allows unescaped in a segment, all else escaped.
fn escaped(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[test]
fn a_user_reaches_every_path_of_their_own_as_spelt() {
    let gate = Gate::open();
    for target in [
        "/api/alice",
        "/api/alice/",
        "/api/alice/tasks",
        "/api/alice/tasks/",
        "/api/alice/tasks/7/complete",
        "/api/%61lice/tasks",
        "/api/al%69ce/tasks",
        "/api/alice/a%20b/c%C3%A9",
        "/api/alice/~user/a-b_c.d/e!f$g&h'i(j)k*l+m,n=o:p@q",
        "/api/alice/tasks?limit=10&next=/api/bob/tasks",
        "/api/alice/bob",
        "/api/alice/...",
        "/api/alice/.hidden",
        "/api/alice/100%25",
    ] {
        let received = gate.forwards(&gate.by_alice(target));
        assert_eq!(received.target(), target);
        assert_eq!(received.user(), b"alice");
    }
}

#[test]
fn every_method_is_forwarded_as_it_came() {
    let gate = Gate::open();
    let token = gate.token("alice");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT", "get"] {
        let request = Request::new(method, "/api/alice/x").bearer(&token);
        assert_eq!(gate.forwards(&request).method(), method);
    }
}

#[test]
fn nobody_reaches_a_path_of_another() {
    let gate = Gate::open();
    let rows = [
        ("alice", "/api/bob/tasks"),
        ("alice", "/api/bob"),
        ("alice", "/api/Alice/tasks"),
        ("alice", "/api/ALICE/tasks"),
        ("alice", "/api/alic/tasks"),
        ("alice", "/api/alicea/tasks"),
        ("alice", "/api/alice%20/tasks"),
        ("alice", "/api/%20alice/tasks"),
        ("alice", "/api/alice./tasks"),
        ("alice", "/api/alice%C2%AD/tasks"),
        ("alice", "/api/%EF%BD%81lice/tasks"),
        ("alice", "/api/bob/alice"),
        ("alice", "/api/alice,bob/tasks"),
        ("k", "/api/%E2%84%AA/tasks"),
        ("i", "/api/%C4%B1/tasks"),
        ("ß", "/api/ss/tasks"),
        ("\u{e9}", "/api/e%CC%81/tasks"),
        ("e\u{301}", "/api/%C3%A9/tasks"),
        ("007", "/api/7/tasks"),
        ("7", "/api/007/tasks"),
        ("7", "/api/7.0/tasks"),
        ("7", "/api/+7/tasks"),
        ("1e3", "/api/1000/tasks"),
        ("me", "/api/bob/tasks"),
        ("*", "/api/bob/tasks"),
        ("user_id", "/api/bob/tasks"),
        ("{user_id}", "/api/bob/tasks"),
        ("bob/tasks", "/api/bob/tasks"),
    ];
    for (user, target) in rows {
        let request = Request::get(target).bearer(&gate.token(user));
        assert_eq!(gate.verdict(&request), "403 not_owner", "{user} asks for {target}");
    }
    gate.backend.is_untouched();
}

#[test]
fn ids_of_every_kind_own_their_escaped_path() {
    let gate = Gate::open();
    let long = "x".repeat(256);
    for user in [
        "XkI6KmlHHQkILfqsIViJDpiYGLjARPwj",
        "0b9cb3f4-7a2b-4b6c-9a3e-0c4a8f3f9d11",
        "42",
        "alice@example.com",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "google-oauth2|1 2",
        "zoë",
        "用户",
        "🦀",
        "a+b",
        "a%b",
        "50%",
        "a,b",
        "a\"b",
        "a'b",
        "a?b#c",
        "...",
        long.as_str(),
    ] {
        let target = format!("/api/{}/tasks", escaped(user));
        let received = gate.forwards(&Request::get(&target).bearer(&gate.token(user)));
        assert_eq!(received.user(), user.as_bytes());
        assert_eq!(received.target(), target);
    }
}

#[test]
fn an_id_that_no_path_can_spell_safely_owns_none() {
    let gate = Gate::open();
    for user in ["a/b", "a\\b", "a;b", ".", ".."] {
        let token = gate.token(user);
        for target in [format!("/api/{}/x", escaped(user)), format!("/api/{user}/x")] {
            let verdict = gate.verdict(&Request::get(&target).bearer(&token));
            assert_ne!(verdict, "forwarded", "{user:?} got through as {target}");
        }
        let other = gate.verdict(&Request::get("/api/alice/x").bearer(&token));
        assert_eq!(other, "403 not_owner", "{user:?}");
    }
    gate.backend.is_untouched();
}

#[test]
fn paths_outside_the_routes_are_refused_after_the_token() {
    let gate = Gate::open();
    for target in [
        "/",
        "/api",
        "/apix/alice/x",
        "/API/alice/x",
        "/%61pi/alice/x",
        "/health",
        "/livez",
        "/metrics",
        "/v1/api/alice/x",
    ] {
        assert_eq!(gate.verdict(&gate.by_alice(target)), "404 route_unknown", "{target}");
        assert_eq!(gate.verdict(&Request::get(target)), "401 token_missing", "{target}");
    }
    gate.backend.is_untouched();
}

#[test]
fn a_caller_without_a_token_cannot_tell_paths_apart() {
    let gate = Gate::open();
    let bodies: Vec<String> = ["/api/alice/x", "/api/bob/x", "/nowhere", "/"]
        .map(|target| {
            let answer = gate.proxy.ask(&Request::get(target));
            answer.refused(401, "token_missing");
            let mut problem = answer.json();
            problem["request_id"] = "".into();
            problem.to_string()
        })
        .into();
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:#?}");
}

#[test]
fn requests_on_one_connection_are_judged_one_by_one() {
    let gate = Gate::open();
    let (alice, bob) = (gate.token("alice"), gate.token("bob"));
    let mut wire = gate.proxy.connect();
    for round in 0..3 {
        wire.ask(&Request::get(format!("/api/alice/{round}")).bearer(&alice)).expect(200);
        wire.ask(&Request::get(format!("/api/alice/{round}")).bearer(&bob)).refused(403, "not_owner");
        wire.ask(&Request::get(format!("/api/bob/{round}")).bearer(&bob)).expect(200);
        wire.ask(&Request::get(format!("/api/bob/{round}"))).refused(401, "token_missing");
    }
    let users: Vec<_> = gate.backend.received().iter().map(|received| received.user()).collect();
    assert_eq!(users, vec![[b"alice".to_vec(), b"bob".to_vec()]; 3].concat());
}

#[test]
fn pipelined_requests_are_answered_in_order_and_judged_one_by_one() {
    let gate = Gate::open();
    let alice = gate.token("alice");
    let mut wire = gate.proxy.connect();
    let mut bytes = Request::get("/api/alice/1").bearer(&alice).bytes();
    bytes.extend(Request::get("/api/bob/2").bearer(&alice).bytes());
    bytes.extend(Request::get("/api/alice/3").bearer(&alice).bytes());
    wire.send(bytes);
    wire.answer().expect(200);
    wire.answer().refused(403, "not_owner");
    wire.answer().expect(200);
    let targets: Vec<_> = gate.backend.received().iter().map(|received| received.target().to_owned()).collect();
    assert_eq!(targets, ["/api/alice/1", "/api/alice/3"]);
}

#[test]
fn many_users_at_once_never_get_each_others_identity() {
    let gate = Gate::open();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let gate = &gate;
            scope.spawn(move || {
                let user = format!("user-{number}");
                let token = gate.token(&user);
                let mut wire = gate.proxy.connect();
                for round in 0..20 {
                    let target = format!("/api/{user}/{round}");
                    wire.ask(&Request::get(target).bearer(&token)).expect(200);
                }
            });
        }
    });
    let received = gate.backend.received();
    assert_eq!(received.len(), 16 * 20);
    for request in received {
        let user = String::from_utf8(request.user()).expect("the ids are ASCII");
        assert!(request.target().starts_with(&format!("/api/{user}/")), "{request:?}");
    }
}

#[test]
fn a_unix_socket_serves_on_either_side() {
    let backend = Recorder::on_unix_socket();
    let setup = Proxy::before(&backend).on_unix_socket();
    let proxy = setup.flag("--secret", e2e::stack::SECRET).start();
    let gate = Gate::of(backend, proxy, e2e::key::Key::shared(e2e::stack::SECRET));
    assert_eq!(gate.forwards(&gate.by_alice("/api/alice/x")).user(), b"alice");
    assert_eq!(gate.verdict(&gate.by_alice("/api/bob/x")), "403 not_owner");
}
