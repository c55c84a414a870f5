//! The backend gets exactly one `X-User-Id`, the verified one, whatever the client sends beside its token.

use e2e::recorder::{Recorder, Reply};
use e2e::request::Request;

use crate::gate::Gate;

/// Every spelling of `X-User-Id` with `-`, `_` or `.` at either place, in several cases.
fn spellings() -> Vec<String> {
    let mut spellings = Vec::new();
    for first in ['-', '_', '.'] {
        for second in ['-', '_', '.'] {
            for words in [["X", "User", "Id"], ["x", "user", "id"], ["X", "USER", "ID"], ["x", "uSeR", "iD"]] {
                spellings.push(format!("{}{first}{}{second}{}", words[0], words[1], words[2]));
            }
        }
    }
    spellings
}

#[test]
fn no_spelling_of_the_identity_header_gets_past() {
    let gate = Gate::open();
    for name in spellings() {
        for value in ["bob", "", "alice", "alice, bob"] {
            let received = gate.forwards(&gate.by_alice("/api/alice/x").field(&name, value));
            assert_eq!(received.user(), b"alice", "{name}: {value}");
        }
    }
}

#[test]
fn all_spellings_at_once_and_repeated_are_removed() {
    let gate = Gate::open();
    let mut request = Request::new("POST", "/api/alice/x");
    for name in spellings() {
        request = request.field(&name, "bob").field(&name, "carol");
    }
    let received = gate.forwards(&request.bearer(&gate.token("alice")).body("x"));
    assert_eq!(received.user(), b"alice");
}

#[test]
fn naming_the_identity_header_as_hop_by_hop_does_not_remove_it() {
    let gate = Gate::open();
    for value in ["X-User-Id", "close, X-User-Id", "x-user-id, authorization, host", "x_user_id"] {
        let request = gate.by_alice("/api/alice/x").field("Connection", value).field("X-User-Id", "bob");
        assert_eq!(gate.forwards(&request).user(), b"alice", "Connection: {value}");
    }
    let twice = gate.by_alice("/api/alice/x").field("Connection", "keep-alive").field("Connection", "X-User-Id");
    assert_eq!(gate.forwards(&twice).user(), b"alice");
}

#[test]
fn an_identity_in_the_trailers_never_arrives() {
    let gate = Gate::open();
    for name in spellings() {
        let request = Request::new("POST", "/api/alice/x")
            .bearer(&gate.token("alice"))
            .field("TE", "trailers")
            .field("Trailer", &name)
            .field("Transfer-Encoding", "chunked")
            .raw_body(format!("3\r\nabc\r\n0\r\n{name}: bob\r\n\r\n"));
        let received = gate.forwards(&request);
        assert_eq!((received.user(), received.body.content), (b"alice".to_vec(), b"abc".to_vec()));
    }
}

#[test]
fn names_by_which_backends_know_a_caller_are_removed() {
    let gate = Gate::open();
    for name in [
        "Remote-User",
        "REMOTE_USER",
        "X-Remote-User",
        "X_Remote_User",
        "X.Remote.User",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Groups",
        "X-Auth-Request-Preferred-Username",
        "X_Auth_Request_User",
    ] {
        let received = gate.forwards(&gate.by_alice("/api/alice/x").field(name, "bob"));
        assert!(received.head.aliases(name).is_empty(), "{name} got through: {:?}", received.head);
    }
}

#[test]
fn override_headers_neither_decide_nor_arrive() {
    let gate = Gate::open();
    for (name, value) in [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("X_HTTP_Method_Override", "DELETE"),
        ("X-Original-URL", "/api/bob/x"),
        ("X-Original-Url", "/api/bob/x"),
        ("X_Original_URL", "/api/bob/x"),
        ("X-Rewrite-URL", "/api/bob/x"),
        ("X-Forwarded-Uri", "/api/bob/x"),
        ("X-Original-URI", "/api/bob/x"),
        ("X-Envoy-Original-Path", "/api/bob/x"),
    ] {
        let received = gate.forwards(&gate.by_alice("/api/alice/x").field(name, value));
        assert!(received.head.aliases(name).is_empty(), "{name} got through");
        let other = gate.by_alice("/api/bob/x").field(name, "/api/alice/x");
        assert_eq!(gate.verdict(&other), "403 not_owner", "{name} decided");
    }
}

#[test]
fn credentials_stop_at_the_proxy() {
    let gate = Gate::open();
    let request = gate
        .by_alice("/api/alice/x")
        .field("Cookie", "theme=dark; better-auth.session_token=s3cret.sig%3D; lang=de")
        .field("Cookie", "__Secure-better-auth.session_data.0=s3cret; better-auth.dont_remember=s3cret; last=1");
    let received = gate.forwards(&request);
    assert!(received.head.aliases("authorization").is_empty(), "{:?}", received.head);
    let text = String::from_utf8_lossy(&received.head.raw).into_owned();
    assert!(!text.contains("s3cret") && !text.contains("better-auth"), "{text}");
    let cookies = received.head.values("cookie").join("; ");
    let mut cookies: Vec<_> = cookies.split("; ").collect();
    cookies.sort_unstable();
    assert_eq!(cookies, ["lang=de", "last=1", "theme=dark"]);
}

#[test]
fn a_cookie_line_of_credentials_alone_does_not_arrive_empty() {
    let gate = Gate::open();
    let request = gate.by_alice("/api/alice/x").field("Cookie", "better-auth.session_token=s3cret");
    assert_eq!(gate.forwards(&request).head.values("cookie"), Vec::<String>::new());
}

#[test]
fn other_cookies_arrive_as_they_were() {
    let gate = Gate::open();
    let cookies = "a=1; b=\"x y\"; c=better-auth.x; my-better-auth.session=2; d==";
    let received = gate.forwards(&gate.by_alice("/api/alice/x").field("Cookie", cookies));
    assert_eq!(received.head.value("cookie").as_deref(), Some(cookies));
}

#[test]
fn the_backend_learns_the_client_from_the_connection_alone() {
    let gate = Gate::open();
    let received = gate.forwards(
        &gate
            .by_alice("/api/alice/x")
            .field("Host", "app.test:8443")
            .field("X-Forwarded-For", "6.6.6.6")
            .field("X_Forwarded_For", "6.6.6.6")
            .field("X-Forwarded-Proto", "https")
            .field("X-Forwarded-Host", "evil.test")
            .field("X-Forwarded-Port", "6666")
            .field("X-Forwarded-Prefix", "/evil")
            .field("X-Forwarded-Server", "evil.test")
            .field("X-Real-IP", "6.6.6.6")
            .field("X_Real_IP", "6.6.6.6")
            .field("True-Client-IP", "6.6.6.6")
            .field("True_Client_IP", "6.6.6.6")
            .field("Forwarded", "for=6.6.6.6;proto=https;host=evil.test"),
    );
    let one = |name: &str| {
        let aliases = received.head.aliases(name);
        assert_eq!(aliases.len(), 1, "{name}: {aliases:?}");
        String::from_utf8_lossy(&aliases[0].1).into_owned()
    };
    assert_eq!(one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(one("x-forwarded-proto"), "http");
    assert_eq!(one("x-forwarded-host"), "app.test:8443");
    assert_eq!(one("x-real-ip"), "127.0.0.1");
    let text = String::from_utf8_lossy(&received.head.raw).into_owned();
    assert!(!text.contains("6.6.6.6") && !text.contains("evil") && !text.contains("6666"), "{text}");
}

#[test]
fn hop_by_hop_headers_and_what_connection_names_end_here() {
    let gate = Gate::open();
    let received = gate.forwards(
        &gate
            .by_alice("/api/alice/x")
            .field("Connection", "keep-alive, X-First")
            .field("Connection", "X-Second")
            .field("X-First", "1")
            .field("X-Second", "2")
            .field("X-Third", "3")
            .field("Keep-Alive", "timeout=5")
            .field("Proxy-Connection", "keep-alive")
            .field("Proxy-Authorization", "Basic eA==")
            .field("TE", "gzip")
            .field("Upgrade", "h2c")
            .field("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    );
    for name in ["x-first", "x-second", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"] {
        assert!(received.head.aliases(name).is_empty(), "{name} arrived: {:?}", received.head);
    }
    assert_eq!(received.head.values("x-third"), ["3"]);
    assert!(!received.head.values("te").join(",").contains("gzip"));
}

#[test]
fn ordinary_headers_arrive_unchanged_and_in_order() {
    let gate = Gate::open();
    let received = gate.forwards(
        &gate
            .by_alice("/api/alice/x")
            .field("User-Agent", "curl/8 (\u{e4}\u{f6}\u{fc})")
            .field("Accept", "text/html, */*;q=0.8")
            .field("X-Twice", "one")
            .field("X-Twice", "two")
            .field("X-Latin", b"caf\xe9")
            .field("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .field("If-None-Match", "\"x\", W/\"y\"")
            .field("Idempotency-Key", "7")
            .field("Content-Type", "application/json; charset=utf-8"),
    );
    assert_eq!(received.head.values("user-agent"), ["curl/8 (\u{e4}\u{f6}\u{fc})"]);
    assert_eq!(received.head.values("accept"), ["text/html, */*;q=0.8"]);
    assert_eq!(received.head.values("x-twice"), ["one", "two"]);
    assert_eq!(received.head.aliases("x-latin")[0].1, b"caf\xe9");
    assert_eq!(received.head.values("if-none-match"), ["\"x\", W/\"y\""]);
    assert_eq!(received.head.values("idempotency-key"), ["7"]);
    assert_eq!(received.head.values("content-type"), ["application/json; charset=utf-8"]);
}

#[test]
fn the_backends_headers_reach_the_client_except_hop_by_hop() {
    let backend = Recorder::answering(|_| {
        Reply::send(
            "HTTP/1.1 201 Created\r\nLocation: /api/alice/tasks/7\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
             Connection: X-Internal\r\nX-Internal: 10.0.0.1\r\nKeep-Alive: timeout=1\r\nX-App: \r\nContent-Length: 2\r\n\r\n{}",
        )
    });
    let gate = Gate::before(backend);
    let answer = gate.proxy.ask(&gate.by_alice("/api/alice/tasks")).expect(201);
    assert_eq!(answer.header("location").as_deref(), Some("/api/alice/tasks/7"));
    assert_eq!(answer.head.values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.header("x-app").as_deref(), Some(""));
    assert_eq!(answer.header("x-internal"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.text(), "{}");
}
