//! Bodies stream both ways, and whatever the backend does, the client gets the right code and nothing is sent twice.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use e2e::key::Key;
use e2e::message::{Broken, Framing, framing};
use e2e::port;
use e2e::recorder::{OK, Recorder, Reply, receive};
use e2e::request::Request;
use e2e::socket::Address;
use e2e::stack::{Proxy, SECRET};
use e2e::token::Token;
use e2e::wire::Outcome;

use crate::gate::Gate;

/// A channel whose receiving end scripts can share.
fn signal<T>() -> (Sender<T>, Arc<Mutex<Receiver<T>>>) {
    let (sender, receiver) = channel();
    (sender, Arc::new(Mutex::new(receiver)))
}

fn await_signal<T>(receiver: &Mutex<Receiver<T>>) -> T {
    let receiver = receiver.lock().expect("one waiter");
    receiver.recv_timeout(e2e::PATIENCE).expect("the signal comes in time")
}

#[test]
fn bodies_of_every_size_and_framing_arrive_whole() {
    let backend = Recorder::answering(|received| {
        let content = &received.body.content;
        Reply::send(
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).as_bytes(), content].concat(),
        )
    });
    let gate = Gate::before(backend);
    let token = gate.token("alice");
    for size in [0, 1, 1_000, 65_536, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|index: u32| (index % 251) as u8).collect();
        let answer = gate.proxy.ask(&Request::post("/api/alice/x", &body).bearer(&token)).expect(200);
        assert!(answer.body.content == body, "{size} bytes with a length");
    }
    let chunks: Vec<String> = (1..200).map(|size| "x".repeat(size * 7)).collect();
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    let chunked = Request::new("POST", "/api/alice/x").bearer(&token).chunked(&chunks);
    assert_eq!(gate.proxy.ask(&chunked).expect(200).text(), chunks.concat());
}

#[test]
fn a_body_on_any_method_is_forwarded() {
    let gate = Gate::open();
    let token = gate.token("alice");
    for method in ["GET", "DELETE", "OPTIONS", "PATCH"] {
        let with_length = Request::new(method, "/api/alice/x").bearer(&token).body("abc");
        assert_eq!(gate.forwards(&with_length).body.content, b"abc", "{method} with a length");
        let chunked = Request::new(method, "/api/alice/x").bearer(&token).chunked(&["a", "bc"]);
        assert_eq!(gate.forwards(&chunked).body.content, b"abc", "{method} in chunks");
    }
}

#[test]
fn an_answer_streams_before_it_is_complete() {
    let (go, wait) = signal();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else {
            return;
        };
        let begin =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        conversation.send(begin.as_bytes()).expect("the proxy reads");
        await_signal(&wait);
        conversation.send(b"6\r\nsecond\r\n0\r\n\r\n").expect("the proxy reads");
    });
    let gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    wire.send(gate.by_alice("/api/alice/events").bytes());
    let head = wire.head();
    assert_eq!(framing(&head, Framing::UntilClose).expect("one framing"), Framing::Chunked);
    assert_eq!(wire.conversation().chunk().expect("a chunk"), b"first");
    go.send(()).expect("the backend waits");
    assert_eq!(wire.conversation().chunk().expect("a chunk"), b"second");
    assert_eq!(wire.conversation().chunk().expect("a chunk"), b"");
}

#[test]
fn a_request_streams_before_it_is_complete() {
    let (seen, wait) = channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = conversation.head() else {
            return;
        };
        seen.send(conversation.chunk().expect("a chunk")).expect("the test waits");
        while !conversation.chunk().expect("a chunk").is_empty() {}
        let _ = conversation.send(OK);
    });
    let gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    let request = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice"));
    wire.send(request.field("Transfer-Encoding", "chunked").bytes());
    wire.send("5\r\nfirst\r\n");
    assert_eq!(wait.recv_timeout(e2e::PATIENCE).expect("the first chunk comes before the last"), b"first");
    wire.send("0\r\n\r\n");
    wire.answer().expect(200);
}

#[test]
fn a_slow_reader_holds_the_backend_back() {
    let (report, told) = channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else {
            return;
        };
        let _ = conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        conversation.socket().set_patience(std::time::Duration::from_secs(1)).expect("a time limit");
        let mut sent = 0_u64;
        while conversation.send(&[0; 64 * 1024]).is_ok() {
            sent += 64 * 1024;
        }
        report.send(sent).expect("the test waits");
    });
    let gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    wire.send(gate.by_alice("/api/alice/large").bytes());
    wire.head();
    let sent = told.recv_timeout(e2e::PATIENCE).expect("the backend is held back");
    assert!(sent < 64 << 20, "the proxy took {sent} bytes that nobody read");
}

#[test]
fn an_expectation_is_answered_before_the_body_and_not_for_a_refusal() {
    let gate = Gate::open();
    let request = |user: &str| {
        Request::new("POST", "/api/alice/x")
            .bearer(&gate.token(user))
            .field("Expect", "100-continue")
            .field("Content-Length", "3")
    };
    let mut wire = gate.proxy.connect();
    wire.send(request("alice").bytes());
    assert!(wire.head().start_line.starts_with("HTTP/1.1 100"));
    wire.send("abc");
    wire.answer().expect(200);
    assert_eq!(gate.backend.only().body.content, b"abc");
    let mut refused = gate.proxy.connect();
    refused.send(request("bob").bytes());
    refused.answer().refused(403, "not_owner");
    // Whether its body comes after all is not known, so that nothing may come behind it.
    let mut hasty = gate.proxy.connect();
    hasty.send([&request("bob").bytes()[..], b"abc"].concat());
    let answer = hasty.answer();
    assert_eq!(answer.header("connection").as_deref(), Some("close"));
    answer.refused(403, "not_owner");
    assert!(hasty.is_closed());
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let backend = Recorder::answering(|received| match received.target() {
        "/api/alice/204" => Reply::send("HTTP/1.1 204 No Content\r\n\r\n"),
        "/api/alice/304" => Reply::send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        "/api/alice/head" => Reply::send("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"),
        _ => Reply::send(OK),
    });
    let gate = Gate::before(backend);
    let token = gate.token("alice");
    let mut wire = gate.proxy.connect();
    for _ in 0..2 {
        wire.ask(&Request::get("/api/alice/204").bearer(&token)).expect(204);
        let unchanged = wire.ask(&Request::get("/api/alice/304").bearer(&token)).expect(304);
        assert_eq!(unchanged.header("etag").as_deref(), Some("\"x\""));
        let head = wire.ask(&Request::new("HEAD", "/api/alice/head").bearer(&token)).expect(200);
        assert_eq!(head.header("content-length").as_deref(), Some("12345"));
        assert_eq!(wire.ask(&Request::get("/api/alice/x").bearer(&token)).expect(200).text(), "ok");
        let refused = wire.ask(&Request::new("HEAD", "/api/bob/x").bearer(&token)).expect(403);
        assert_eq!(refused.header("content-type").as_deref(), Some("application/problem+json"));
    }
}

#[test]
fn an_answer_until_close_arrives_whole() {
    let backend = Recorder::answering(|_| Reply::send_and_close("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
    let gate = Gate::before(backend);
    assert_eq!(gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200).text(), "until the end");
    let backend = Recorder::answering(|_| Reply::send_and_close("HTTP/1.0 200 OK\r\n\r\nold"));
    let gate = Gate::before(backend);
    assert_eq!(gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200).text(), "old");
}

#[test]
fn a_dead_backend_is_unreachable_and_served_again_when_it_lives() {
    let address = Address::Tcp(port::free());
    let proxy = Proxy::before_url(&format!("http://{address}")).flag("--secret", SECRET).start();
    let request = Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(&Key::shared(SECRET)));
    let answer = proxy.ask(&request);
    answer.refused(502, "upstream_unreachable");
    assert!(!answer.text().contains(&address.to_string()), "the address leaks: {}", answer.text());
    let _backend = Recorder::at(address);
    proxy.ask(&request).expect(200);
}

#[test]
fn a_missing_unix_socket_is_unreachable() {
    let proxy = Proxy::before_url("unix:nowhere.sock").flag("--secret", SECRET).start();
    let request = Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(&Key::shared(SECRET)));
    proxy.ask(&request).refused(502, "upstream_unreachable");
}

#[test]
fn a_broken_answer_is_told_and_its_connection_not_used_again() {
    for broken in [
        "",
        "banana\r\n\r\n",
        "HTTP/1.1 banana\r\n\r\n",
        "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Cut: ",
    ] {
        let backend = Recorder::answering(move |received| match received.target() {
            "/api/alice/broken" => Reply::send_and_close(broken),
            _ => Reply::send(OK),
        });
        let gate = Gate::before(backend);
        // A POST: a bodiless GET that got no byte of an answer may lawfully be tried again.
        let request = Request::post("/api/alice/broken", "x").bearer(&gate.token("alice"));
        let answer = gate.proxy.ask(&request);
        answer.refused(502, "upstream_broken");
        assert_eq!(gate.backend.received().len(), 1, "{broken:?} was retried");
        let next = gate.forwards(&gate.by_alice("/api/alice/next"));
        assert_eq!(next.connection, 1, "{broken:?}");
    }
}

#[test]
fn a_cut_answer_never_arrives_whole() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let gate = Gate::before(Recorder::answering(move |_| Reply::send_and_close(cut)));
        let mut wire = gate.proxy.connect();
        wire.send(Request::post("/api/alice/x", "y").bearer(&gate.token("alice")).bytes());
        match wire.outcome() {
            Outcome::Closed => {}
            Outcome::Answered(answer) => answer.refused(502, "upstream_broken"),
        }
    }
}

#[test]
fn a_cut_answer_to_http_1_0_never_looks_like_the_end() {
    // Such an answer is as long as its connection: a plain end would be the end of it.
    for (rest, is_whole) in [("", false), ("0\r\n\r\n", true)] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n{rest}");
        let gate = Gate::before(Recorder::answering(move |_| Reply::send_and_close(&answer)));
        let token = gate.token("alice");
        let mut wire = gate.proxy.connect();
        wire.send(format!("GET /api/alice/x HTTP/1.0\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"));
        let read = wire.conversation().head().and_then(|_| wire.conversation().body(Framing::UntilClose));
        match read {
            Ok(body) => assert!(is_whole && body.content == b"half", "{body:?}"),
            Err(fault) => assert!(!is_whole && matches!(fault, Broken::Cut(_)), "{fault:?}"),
        }
    }
}

#[test]
fn a_cut_request_never_arrives_whole() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let head = Request::new("POST", "/api/alice/x").bearer(&token);
    let cases = [
        head.clone().field("Content-Length", "10").raw_body("half"),
        head.clone().field("Transfer-Encoding", "chunked").raw_body("4\r\nhalf\r\n"),
        head.clone().field("Transfer-Encoding", "chunked").raw_body("8\r\nhalf"),
        head.field("Transfer-Encoding", "chunked").raw_body("4\r\nhalf\r\nzz\r\n\r\n"),
    ];
    for (number, request) in cases.into_iter().enumerate() {
        let mut wire = gate.proxy.connect();
        wire.send(request.bytes());
        wire.finish_sending();
        let outcome = wire.outcome();
        assert_ne!(outcome.status(), Some(200), "case {number}");
    }
    // One more request, so that what was under way before it has ended.
    gate.proxy.ask(&gate.by_alice("/api/alice/last")).expect(200);
    for received in gate.backend.received() {
        assert!(!received.complete || received.target() == "/api/alice/last", "{received:?}");
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let backend = Recorder::by_hand(|mut conversation, _| {
        if let Ok(Some(_)) = conversation.head() {
            let _ = conversation
                .send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge");
            // Reads on, as a careful server does: a reset would take the answer away again.
            while conversation.fill().is_ok_and(|count| count > 0) {}
        }
    });
    let gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    let request = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice"));
    wire.send(request.field("Content-Length", "100000000").bytes());
    wire.send([0; 64 * 1024]);
    let answer = wire.answer().expect(413);
    assert_eq!(answer.text(), "large");
}

#[test]
fn a_refused_body_is_not_read_as_the_next_request() {
    let gate = Gate::open();
    let smuggled = gate.by_alice("/api/alice/smuggled").bytes();
    for status in [401, 403] {
        let mut request = Request::post("/api/bob/x", &smuggled);
        if status == 403 {
            request = request.bearer(&gate.token("alice"));
        }
        let mut wire = gate.proxy.connect();
        wire.send(request.bytes());
        assert_eq!(wire.answer().status, status);
        wire.send(gate.by_alice("/api/alice/next").bytes());
        match wire.outcome() {
            Outcome::Closed => {}
            Outcome::Answered(answer) => assert_eq!(answer.status, 200, "{}", answer.describe()),
        }
    }
    for received in gate.backend.received() {
        assert_eq!(received.target(), "/api/alice/next");
    }
}

#[test]
fn a_large_refused_body_neither_blocks_nor_breaks_the_answer() {
    let gate = Gate::open();
    let request = Request::post("/api/bob/x", vec![b'x'; 8 << 20]).bearer(&gate.token("alice"));
    let mut wire = gate.proxy.connect();
    let bytes = request.bytes();
    let head = bytes.len() - (8 << 20);
    wire.send(&bytes[..head]);
    wire.answer().refused(403, "not_owner");
    let mut sent = 0;
    while sent < 8 << 20 && wire.try_send(&bytes[head..head + (64 << 10)]) {
        sent += 64 << 10;
    }
    gate.backend.is_untouched();
}

#[test]
fn a_refusal_reaches_a_client_that_sent_everything_at_once() {
    let gate = Gate::open();
    for size in [1_000, 60_000, 100_000, 1_000_000] {
        let request = Request::post("/api/bob/x", vec![b'x'; size]).bearer(&gate.token("alice"));
        let mut wire = gate.proxy.connect();
        // In the background: the proxy need not read it all.
        let mut sender = wire.second();
        let sending = std::thread::spawn(move || sender.send(request.bytes()));
        wire.answer().refused(403, "not_owner");
        wire.conversation().close();
        sending.join().expect("the sender ends");
    }
    gate.backend.is_untouched();
}

/// Answers the first request of the first connection, reads the second one and closes without a byte.
fn dies_on_second_request() -> (Recorder, Receiver<(usize, String)>) {
    let (seen, told) = channel();
    let recorder = Recorder::by_hand(move |mut conversation, connection| {
        let mut number = 0;
        while let Ok(Some(received)) = receive(&mut conversation, connection) {
            seen.send((connection, received.head.start_line.clone())).expect("the test listens");
            number += 1;
            if connection == 0 && number == 2 {
                return conversation.close();
            }
            conversation.send(OK).expect("the proxy reads");
        }
    });
    (recorder, told)
}

#[test]
fn a_bodiless_idempotent_request_is_sent_once_more_when_a_kept_connection_dies() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let (backend, seen) = dies_on_second_request();
        let gate = Gate::before(backend);
        let token = gate.token("alice");
        let mut wire = gate.proxy.connect();
        wire.ask(&Request::get("/api/alice/1").bearer(&token)).expect(200);
        wire.ask(&Request::new(method, "/api/alice/2").bearer(&token)).expect(200);
        let seen: Vec<_> = seen.try_iter().collect();
        assert_eq!(seen.iter().map(|(connection, _)| *connection).collect::<Vec<_>>(), [0, 0, 1], "{seen:?}");
    }
}

#[test]
fn nothing_else_is_sent_twice() {
    for request in [
        Request::new("POST", "/api/alice/2"),
        Request::new("PATCH", "/api/alice/2"),
        Request::new("PUT", "/api/alice/2").body("x"),
    ] {
        let (backend, seen) = dies_on_second_request();
        let gate = Gate::before(backend);
        let token = gate.token("alice");
        let mut wire = gate.proxy.connect();
        wire.ask(&Request::get("/api/alice/1").bearer(&token)).expect(200);
        wire.ask(&request.bearer(&token)).refused(502, "upstream_broken");
        assert_eq!(seen.try_iter().count(), 2);
    }
}

#[test]
fn a_connection_that_the_backend_closed_while_idle_is_replaced() {
    let backend = Recorder::answering(|_| Reply::send_and_close(OK));
    let gate = Gate::before(backend);
    let token = gate.token("alice");
    let mut wire = gate.proxy.connect();
    for round in 0..20 {
        wire.ask(&Request::get(format!("/api/alice/{round}")).bearer(&token)).expect(200);
    }
    assert_eq!(gate.backend.received().len(), 20);
}

#[test]
fn connections_to_the_backend_are_kept() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let mut wire = gate.proxy.connect();
    for round in 0..20 {
        wire.ask(&Request::get(format!("/api/alice/{round}")).bearer(&token)).expect(200);
    }
    assert_eq!(gate.backend.connections(), 1);
}

#[test]
fn an_answer_nobody_asked_for_is_not_given_to_the_next_caller() {
    let backend = Recorder::answering(|received| {
        let text = if received.user() == b"alice" { "hers" } else { "his!" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{text}");
        Reply::send(format!("{answer}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"))
    });
    let gate = Gate::before(backend);
    let (alice, bob) = (gate.token("alice"), gate.token("bob"));
    for _ in 0..5 {
        assert_eq!(gate.proxy.ask(&Request::get("/api/alice/x").bearer(&alice)).expect(200).text(), "hers");
        assert_eq!(gate.proxy.ask(&Request::get("/api/bob/x").bearer(&bob)).expect(200).text(), "his!");
    }
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let (gone, told) = channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else {
            return;
        };
        gone.send(()).expect("the test waits");
        assert!(conversation.at_end(), "the proxy keeps the request of a client that left");
        gone.send(()).expect("the test waits");
    });
    let gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    wire.send(gate.by_alice("/api/alice/slow").bytes());
    told.recv_timeout(e2e::PATIENCE).expect("the request reaches the backend");
    drop(wire);
    told.recv_timeout(e2e::PATIENCE).expect("the backend learns that the client left");
}
