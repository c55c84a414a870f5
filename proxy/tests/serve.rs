//! The data plane between a raw client and a raw upstream.

#[cfg(test)]
mod plane;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ownergate::serve::Drained;

use crate::plane::{Backend, Client, Message, alice, config, config_with, start, state, token};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn the_upstream_learns_who_calls_and_the_client_learns_the_answer() {
    let backend =
        Backend::answering("HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nok");
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    let answer =
        client.ask("POST /api/alice/tasks?a=b", &format!("{}X_User_Id: bob\r\nContent-Length: 3\r\n", alice()), "abc");
    assert_eq!((answer.status(), &*answer.body), (201, "ok"));
    assert!(answer.values("x-hop").is_empty() && answer.values("connection").is_empty());
    let request = backend.received();
    assert!(request.head.starts_with("POST /api/alice/tasks?a=b HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!((request.values("x-user-id"), &*request.body), (vec!["alice"], "abc"));
    assert_eq!(request.values("x-request-id"), answer.values("x-request-id"));
    assert!(request.values("authorization").is_empty() && request.values("x_user_id").is_empty());
}

#[test]
fn a_refusal_says_why_and_nothing_reaches_the_upstream() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    let table = [
        ("GET /api/alice", String::new(), 401, "token_missing"),
        ("GET /api/bob", alice(), 403, "not_owner"),
        ("GET /api/../bob", alice(), 400, "path_ambiguous"),
        ("GET /nothing", alice(), 404, "route_unknown"),
        ("TRACE /api/alice", alice(), 405, "method_not_allowed"),
    ];
    for (line, lines, status, code) in table {
        let answer = client.ask(line, &lines, "");
        assert_eq!((answer.status(), &*answer.code()), (status, code), "{line}");
        assert_eq!(answer.values("content-type"), ["application/problem+json"]);
        assert_eq!(answer.values("cache-control"), ["no-store"]);
        assert_eq!(answer.values("www-authenticate").len(), usize::from(status == 401));
    }
    assert_eq!(client.ask("HEAD /api/alice", "", "").status(), 401);
    assert_eq!(client.ask("GET /public/x", "", "").status(), 200, "the connection is in step after a HEAD");
    assert!(backend.received().head.starts_with("GET /public/x "));
    assert!(backend.heard().is_none());
}

#[test]
fn a_chunked_get_goes_on_with_its_body_and_without_bad_trailers() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let lines = format!("{}Transfer-Encoding: chunked\r\nTrailer: X-User-Id, X-Sum\r\n", alice());
    let body = "3\r\nabc\r\n0\r\nX-User-Id: bob\r\nX-Sum: 7\r\n\r\n";
    assert_eq!(proxy.connect().ask("GET /api/alice/x", &lines, body).status(), 200);
    let request = backend.received();
    assert!(request.whole && request.body.starts_with("abc"), "{request:?}");
    assert!(!request.body.to_lowercase().contains("x-user-id"), "{request:?}");
    assert_eq!(request.values("x-user-id"), ["alice"]);
}

#[test]
fn a_request_with_two_lengths_has_one_reading_and_its_connection_ends() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let lines = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    client.request("POST /public/x", lines, &format!("0\r\n\r\n{smuggled}"));
    assert!(client.answer(true).whole && client.is_closed());
    let request = backend.received();
    assert!(request.whole && request.values("content-length").is_empty(), "{request:?}");
    assert!(backend.heard().is_none());
}

/// Answers once on its first connection, and then ends it without a word to the second request.
fn forgetful() -> Backend {
    Backend::scripted(|number, mut connection, heard| {
        while let Some(request) = connection.message(true) {
            let first = request.head.contains("/first");
            let _ = heard.send(request);
            if number == 0 && !first {
                return;
            }
            connection.send(OK);
        }
    })
}

#[test]
fn a_safe_request_whose_kept_connection_died_is_sent_once_more() {
    let backend = forgetful();
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    assert_eq!(client.ask("GET /public/first", "", "").status(), 200);
    assert_eq!(client.ask("GET /public/second", "", "").status(), 200);
    let lines: Vec<String> = (0..3).map(|_| backend.received().head.lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["GET /public/first HTTP/1.1", "GET /public/second HTTP/1.1", "GET /public/second HTTP/1.1"]);
}

#[test]
fn what_may_have_had_an_effect_is_not_sent_again() {
    for (line, lines, body) in [("POST /public/second", "", ""), ("PUT /public/second", "Content-Length: 1\r\n", "x")] {
        let backend = forgetful();
        let proxy = start(config(backend.address));
        let mut client = proxy.connect();
        assert_eq!(client.ask("GET /public/first", "", "").status(), 200);
        let answer = client.ask(line, lines, body);
        assert_eq!((answer.status(), &*answer.code()), (502, "upstream_broken"), "{line}");
        drop((backend.received(), backend.received()));
        assert!(backend.heard().is_none(), "{line} was sent twice");
    }
}

#[test]
fn a_broken_answer_is_502_and_its_connection_is_not_used_again() {
    for answer in [
        "HTTP/1.1 2xx What\r\n\r\n",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "",
    ] {
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let backend = Backend::scripted(move |_, mut connection, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            while connection.message(true).is_some() {
                if answer.is_empty() {
                    return;
                }
                connection.send(answer);
            }
        });
        let proxy = start(config(backend.address));
        let mut client = proxy.connect();
        for _ in 0..2 {
            let refusal = client.ask("GET /public/x", "", "");
            assert_eq!((refusal.status(), &*refusal.code()), (502, "upstream_broken"), "{answer:?}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{answer:?}");
    }
}

#[test]
fn half_an_answer_never_looks_whole() {
    let backend = Backend::scripted(|number, mut connection, _| {
        let _ = connection.message(true);
        let framing = if number == 0 {
            "Content-Length: 10\r\n\r\nhalf"
        } else {
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
        };
        connection.send(&format!("HTTP/1.1 200 OK\r\n{framing}"));
    });
    let proxy = start(config(backend.address));
    for _ in 0..2 {
        let answer = proxy.connect().ask("GET /public/x", "", "");
        assert!(!answer.whole && answer.status() == 200, "{answer:?}");
    }
}

#[test]
fn an_upstream_that_is_not_there_or_too_slow_has_a_code_each() {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answer = start(config(refusing)).connect().ask("GET /public/x", "", "");
    assert_eq!((answer.status(), &*answer.code()), (502, "upstream_unreachable"));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut impatient = config(silent.local_addr().unwrap());
    impatient.timeouts.response_head = Duration::from_millis(200);
    let answer = start(impatient).connect().ask("GET /public/x", "", "");
    assert_eq!((answer.status(), &*answer.code()), (504, "upstream_timeout"));
}

#[test]
fn a_body_over_the_limit_is_refused_declared_or_not() {
    let backend = Backend::answering(OK);
    let mut small = config(backend.address);
    small.limits.body_bytes = 10;
    let proxy = start(small);
    let answer = proxy.connect().ask("POST /public/x", "Content-Length: 11\r\n", "12345678901");
    assert_eq!((answer.status(), &*answer.code()), (413, "body_too_large"));
    assert!(backend.heard().is_none());
    let body = "6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n";
    let answer = proxy.connect().ask("POST /public/x", "Transfer-Encoding: chunked\r\n", body);
    assert_eq!((answer.status(), &*answer.code()), (413, "body_too_large"));
    assert!(backend.heard().is_none_or(|request| !request.whole));
    assert_eq!(proxy.connect().ask("POST /public/x", "Content-Length: 10\r\n", "1234567890").status(), 200);
}

#[test]
fn a_body_that_was_cut_off_never_arrives_whole() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    for (lines, part) in [("Content-Length: 10\r\n", "half"), ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n")] {
        let mut client = proxy.connect();
        client.request("POST /public/x", lines, part);
        client.stream().shutdown(Shutdown::Write).unwrap();
        let request = backend.received();
        assert!(!request.whole, "{request:?}");
    }
}

#[test]
fn the_rest_of_a_refused_request_is_never_read_as_another() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    let smuggled = format!("GET /api/alice/smuggled HTTP/1.1\r\nHost: a\r\n{}\r\n", alice());
    let lines = format!("{}Content-Length: {}\r\n", alice(), smuggled.len());
    assert_eq!(client.ask("POST /api/bob/x", &lines, &smuggled).status(), 403);
    assert_eq!(client.ask("GET /public/next", "", "").status(), 200, "the connection is kept");
    assert!(backend.received().head.starts_with("GET /public/next "));
    assert!(backend.heard().is_none());
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let backend = Backend::scripted(|_, mut connection, heard| {
        while let Some(head) = connection.head() {
            let _ = heard.send(Message { head, ..Message::default() });
            connection.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
        }
    });
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    client.request("POST /public/x", "Content-Length: 100000\r\n", "begun");
    let answer = client.answer(true);
    assert_eq!((answer.status(), &*answer.body), (413, "big"));
    client.send(&"x".repeat(99_995));
    assert_eq!(client.ask("GET /public/y", "", "").status(), 413, "the connection is kept and in step");
    assert!(backend.received().head.starts_with("POST /public/x "));
    assert!(backend.received().head.starts_with("GET /public/y "));
}

#[test]
fn a_client_that_waits_is_asked_for_its_body_when_the_upstream_asks() {
    let backend = Backend::scripted(|_, mut connection, heard| {
        while let Some(head) = connection.head() {
            if head.contains("/refused") {
                connection.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
                continue;
            }
            connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            let mut body = [0; 3];
            connection.reader.read_exact(&mut body).unwrap();
            let _ = heard.send(Message { head, body: String::from_utf8_lossy(&body).into_owned(), whole: true });
            connection.send(OK);
        }
    });
    let proxy = start(config(backend.address));
    let lines = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    let mut client = proxy.connect();
    client.request("POST /public/taken", lines, "");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 100 "));
    client.send("abc");
    assert_eq!(client.answer(true).status(), 200);
    assert_eq!(backend.received().body, "abc");
    let mut client = proxy.connect();
    client.request("POST /public/refused", lines, "");
    assert_eq!(client.answer(true).status(), 417, "without a 100 before it");
}

#[test]
fn a_body_is_asked_for_only_once_it_may_go_on() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let expecting = |user: &str| format!("{user}Expect: 100-continue\r\nContent-Length: 3\r\n");
    let mut client = proxy.connect();
    client.request("POST /api/alice/x", &expecting(&alice()), "");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 100 "));
    client.send("abc");
    assert_eq!(client.answer(true).status(), 200);
    assert_eq!(backend.received().body, "abc");
    let mut client = proxy.connect();
    client.request("POST /api/bob/x", &expecting(&alice()), "");
    assert_eq!(client.answer(true).status(), 403);
}

#[test]
fn answers_without_a_body_keep_the_connection_in_step() {
    let backend = Backend::scripted(|_, mut connection, _| {
        while let Some(request) = connection.message(true) {
            connection.send(match request.head.split(' ').nth(1).unwrap() {
                "/public/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/public/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                "/public/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                _ => OK,
            });
        }
    });
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    assert_eq!(client.ask("GET /public/204", "", "").status(), 204);
    assert_eq!(client.ask("GET /public/304", "", "").status(), 304);
    let head = client.ask("HEAD /public/head", "", "");
    assert_eq!((head.status(), head.values("content-length")), (200, vec!["1000"]));
    assert_eq!(client.ask("GET /public/x", "", "").body, "ok");
}

#[test]
fn a_head_that_does_not_end_is_408_and_an_idle_connection_is_closed() {
    let backend = Backend::answering(OK);
    let mut hasty = config(backend.address);
    hasty.timeouts.request_head = Duration::from_millis(300);
    hasty.timeouts.keep_alive = Duration::from_millis(300);
    let proxy = start(hasty);
    let mut client = proxy.connect();
    client.send("GET /public/x HTTP/1.1\r\nHo");
    let answer = client.answer(true);
    assert_eq!((answer.status(), &*answer.code()), (408, "request_timeout"));
    let mut client = proxy.connect();
    assert_eq!(client.ask("GET /public/x", "", "").status(), 200);
    let idle = Instant::now();
    assert!(client.is_closed() && idle.elapsed() > Duration::from_millis(150));
}

#[test]
fn a_client_that_stops_sending_its_body_is_408() {
    let backend = Backend::answering(OK);
    let mut hasty = config(backend.address);
    hasty.timeouts.body_idle = Duration::from_millis(200);
    let answer = start(hasty).connect().ask("POST /public/x", "Content-Length: 10\r\n", "half");
    assert_eq!((answer.status(), &*answer.code()), (408, "request_timeout"));
    assert!(!backend.received().whole);
}

#[test]
fn a_large_head_is_431_and_says_why() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let line = format!("X-Large: {}\r\n", "a".repeat(33_000));
    let answer = proxy.connect().ask("GET /public/x", &line, "");
    assert_eq!((answer.status(), &*answer.code()), (431, "head_too_large"));
    let huge = format!("X-Large: {}\r\n", "a".repeat(200_000));
    assert_eq!(proxy.connect().ask("GET /public/x", &huge, "").status(), 431);
    assert!(backend.heard().is_none());
}

#[test]
fn a_connection_too_many_is_503_at_once() {
    let backend = Backend::answering(OK);
    let mut small = config(backend.address);
    small.limits.connections = 1;
    let proxy = start(small);
    let mut first = proxy.connect();
    assert_eq!(first.ask("GET /public/x", "", "").status(), 200);
    let answer = proxy.connect().answer(true);
    assert_eq!((answer.status(), &*answer.code()), (503, "overloaded"));
    assert_eq!(answer.values("retry-after").len(), 1);
    assert_eq!(first.ask("GET /public/x", "", "").status(), 200);
}

/// Agrees to an upgrade, and says back what it hears.
fn echoing() -> Backend {
    Backend::scripted(|_, mut connection, heard| {
        let Some(request) = connection.message(true) else { return };
        let upgrade = !request.values("upgrade").is_empty();
        let _ = heard.send(request);
        if !upgrade {
            return connection.send(OK);
        }
        connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n");
        let mut bytes = [0; 64];
        while let Ok(read @ 1..) = connection.reader.read(&mut bytes) {
            let _ = connection.stream().write_all(bytes.get(..read).unwrap_or_default());
        }
    })
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: echo\r\n";

#[test]
fn an_upgrade_is_tunnelled_and_ends_with_the_callers_token() {
    let backend = echoing();
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    let lines = format!("{}{UPGRADE}", token("alice", Duration::from_secs(2)));
    let answer = client.ask("GET /api/alice/socket", &lines, "");
    assert_eq!((answer.status(), answer.values("upgrade")), (101, vec!["echo"]));
    assert_eq!(backend.received().values("x-user-id"), ["alice"]);
    client.send("hello");
    let mut echo = [0; 5];
    client.reader.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
    assert_eq!(proxy.control.connections(), 1, "a tunnel counts as a connection");
    assert!(client.is_closed());
}

#[test]
fn row_44_nothing_is_tunnelled_before_the_upstream_agrees() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    let early = "GET /api/bob/x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(client.ask("GET /public/socket", UPGRADE, early).status(), 200);
    assert_eq!(client.answer(true).status(), 401, "what came early was read as a request");
    assert!(backend.received().head.starts_with("GET /public/socket "));
    assert!(backend.heard().is_none());
}

#[test]
fn h2c_is_dropped() {
    let backend = echoing();
    let proxy = start(config(backend.address));
    let lines = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    assert_eq!(proxy.connect().ask("GET /public/x", lines, "").status(), 200);
    let request = backend.received();
    assert!(request.values("upgrade").is_empty() && request.values("http2-settings").is_empty());
}

#[test]
fn draining_finishes_what_is_in_flight_and_refuses_the_rest() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = Backend::scripted(move |_, mut connection, heard| {
        let _ = heard.send(connection.message(true).unwrap());
        held.lock().unwrap().recv().unwrap();
        connection.send(OK);
    });
    let mut proxy = start(config(backend.address));
    let (mut idle, mut busy) = (proxy.connect(), proxy.connect());
    busy.request("GET /public/x", "", "");
    drop(backend.received());
    proxy.stop();
    assert!(idle.is_closed());
    let refused = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(10));
        Client::connect(proxy.address()).is_err()
    });
    assert!(refused);
    release.send(()).unwrap();
    let answer = busy.answer(true);
    assert_eq!((answer.status(), answer.values("connection")), (200, vec!["close"]));
    assert_eq!(proxy.join(), Drained::Whole);
}

#[test]
fn a_drain_ends_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(silent.local_addr().unwrap());
    config.timeouts.drain = Duration::from_millis(200);
    let mut proxy = start(config);
    let mut client = proxy.connect();
    client.request("GET /public/x", "", "");
    drop(silent.accept().unwrap());
    let mut other = proxy.connect();
    other.request("GET /public/x", "", "");
    let held = silent.accept().unwrap();
    assert_eq!(proxy.join(), Drained::Cut(1));
    drop(held);
}

#[test]
fn a_slow_reader_holds_up_the_upstream_and_not_the_memory() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let backend = Backend::scripted(move |_, mut connection, _| {
        let _ = connection.message(true);
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let chunk = [b'x'; 10_000];
        while connection.stream().write_all(&chunk).is_ok() {
            counter.fetch_add(chunk.len(), Ordering::SeqCst);
        }
    });
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    client.request("GET /public/x", "", "");
    assert!(client.head().is_some());
    let mut before = usize::MAX;
    while before != written.load(Ordering::SeqCst) {
        before = written.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(300));
    }
    // Socket buffers on the way take most of this.
    assert!(before < 20_000_000, "{before} bytes were taken from the upstream");
}

#[test]
fn a_reload_changes_the_rules_and_keeps_connections() {
    let backend = Backend::answering(OK);
    let proxy = start(config(backend.address));
    let mut client = proxy.connect();
    assert_eq!(client.ask("GET /public/x", "", "").status(), 200);
    assert_eq!(client.ask("GET /api/alice/x", &alice(), "").status(), 200);
    let other = config_with(backend.address, "[[route]]\npath = \"/other/**\"\naccess = \"public\"");
    proxy.control.replace(state(other));
    assert_eq!(client.ask("GET /public/x", "", "").status(), 401);
    assert_eq!(client.ask("GET /api/alice/x", &alice(), "").status(), 404);
    assert_eq!(client.ask("GET /other/x", "", "").status(), 200);
}
