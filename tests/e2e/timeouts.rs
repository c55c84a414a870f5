//! Deadlines and paces: whoever is too slow is told or cut off, and whoever waits for another is not blamed.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use e2e::http2::{Frame, Frames};
use e2e::message::Broken;
use e2e::recorder::{OK, Recorder, receive};
use e2e::request::Request;

use crate::configured::{MAIN, OWNER, configured_before, route};

/// A backend that waits before its answer, and inside it.
fn slow(before: Duration, inside: Duration) -> Recorder {
    Recorder::by_hand(move |mut conversation, _| {
        while let Ok(Some(_)) = receive(&mut conversation, 0) {
            std::thread::sleep(before);
            if conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").is_err() {
                return;
            }
            std::thread::sleep(inside);
            if conversation.send(b"lf").is_err() {
                return;
            }
        }
    })
}

/// RFC 9113 §6.5.2.
const INITIAL_WINDOW_SIZE: u16 = 4;

const MOMENT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(3);

#[test]
fn an_exchange_that_takes_too_long_is_504_before_its_answer_and_cut_inside_it() {
    let timeouts = "[timeouts]\nexchange = 1\n";
    let gate = configured_before(slow(LONG, MOMENT), &format!("{MAIN}{OWNER}{timeouts}"));
    let mut wire = gate.proxy.connect();
    let started = Instant::now();
    wire.ask(&gate.by_alice("/api/alice/x")).refused(504, "upstream_timeout");
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    wire.ask(&gate.by_alice("/api/bob/x")).refused(403, "not_owner");

    let gate = configured_before(slow(MOMENT, LONG), &format!("{MAIN}{OWNER}{timeouts}"));
    let mut wire = gate.proxy.connect();
    wire.send(gate.by_alice("/api/alice/x").bytes());
    wire.head();
    assert!(matches!(wire.conversation().take(4), Err(Broken::Cut(_))));

    let gate = configured_before(slow(MOMENT, LONG), &format!("{MAIN}{OWNER}exchange_seconds = 0\n{timeouts}"));
    assert_eq!(gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200).text(), "half");
}

#[test]
fn a_route_may_wait_longer_for_a_response_head_than_others() {
    let patient = route("/api/{user_id}/poll", "access = { owner = \"user_id\" }\nresponse_head_seconds = 10");
    let timeouts = "[timeouts]\nresponse_head = 0.5\n";
    let gate = configured_before(slow(LONG / 2, MOMENT), &format!("{MAIN}{OWNER}{patient}{timeouts}"));
    gate.proxy.ask(&gate.by_alice("/api/alice/x")).refused(504, "upstream_timeout");
    gate.proxy.ask(&gate.by_alice("/api/alice/poll")).expect(200);
    let request = Request::post("/api/alice/poll", "with a body").bearer(&gate.token("alice"));
    gate.proxy.ask(&request).expect(200);
}

#[test]
fn a_body_that_never_begins_is_408_however_long_the_upstream_may_take() {
    let timeouts = "[timeouts]\nbody_idle = 0.5\nresponse_head = 30\n";
    let gate = configured_before(slow(MOMENT, MOMENT), &format!("{MAIN}{OWNER}{timeouts}"));
    let head = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice")).field("Content-Length", "10");
    let started = Instant::now();
    gate.proxy.ask(&head).refused(408, "request_timeout");
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let stream = frames.ask(&crate::http2::request("POST", "/api/alice/x", &authorization), false);
    frames.send(&Frame::data(stream, "", false));
    frames.message(stream).answer().refused(408, "request_timeout");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// A client may be half a second behind a thousand bytes per second.
const PACE: &str = "[limits]\nbody_rate = 1000\n[timeouts]\nbody_idle = 0.5\n";

#[test]
fn a_body_that_comes_at_a_trickle_is_408() {
    let (report, reported) = channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let received = receive(&mut conversation, 0);
        report.send(matches!(received, Ok(Some(received)) if received.complete)).expect("the test waits");
    });
    let gate = configured_before(backend, &format!("{MAIN}{OWNER}{PACE}"));
    let mut wire = gate.proxy.connect();
    let request = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice"));
    wire.send(request.field("Content-Length", "1000").bytes());
    let mut reader = wire.second();
    let sending = std::thread::spawn(move || {
        while wire.try_send("x") {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let started = Instant::now();
    reader.answer().refused(408, "request_timeout");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    reader.conversation().close();
    sending.join().expect("the sender ends");
    assert!(!reported.recv_timeout(e2e::PATIENCE).expect("the backend has read"));
}

#[test]
fn a_body_at_the_wanted_rate_and_one_that_waits_for_its_backend_are_let_through() {
    // Takes the body in small pieces, with pauses that would ruin a client who was blamed for them.
    let backend = Recorder::by_hand(|mut conversation, _| {
        let Ok(Some(_)) = conversation.head() else { return };
        for _ in 0..16 {
            conversation.take(1 << 20).expect("the body comes");
            std::thread::sleep(Duration::from_millis(150));
        }
        let _ = conversation.send(OK);
    });
    let gate = configured_before(backend, &format!("{MAIN}{OWNER}{PACE}"));
    let token = gate.token("alice");
    gate.proxy.ask(&Request::post("/api/alice/x", vec![b'x'; 16 << 20]).bearer(&token)).expect(200);

    let gate = configured_before(Recorder::start(), &format!("{MAIN}{OWNER}{PACE}"));
    let mut wire = gate.proxy.connect();
    wire.send(Request::new("POST", "/api/alice/x").bearer(&token).field("Content-Length", "6000").bytes());
    for _ in 0..20 {
        wire.send([b'x'; 300]);
        std::thread::sleep(Duration::from_millis(100));
    }
    wire.answer().expect(200);
}

#[test]
fn an_answer_that_is_taken_at_a_trickle_is_cut() {
    let backend = Recorder::by_hand(|mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else { return };
        let _ = conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while conversation.send(format!("32\r\n{}\r\n", "x".repeat(50)).as_bytes()).is_ok() {}
    });
    let gate = configured_before(backend, &format!("{MAIN}{OWNER}{PACE}"));
    // Through the windows of HTTP/2, which can be as small as the client likes: no step is late, the whole is.
    let window = 50;
    let mut frames = Frames::with_settings(&gate.proxy.address, &[(INITIAL_WINDOW_SIZE, window)]);
    let bearer = format!("Bearer {}", gate.token("alice"));
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/api/alice/x"), (":authority", "a")];
    let stream = frames.ask(&[&fields[..], &[("authorization", &bearer)]].concat(), true);
    let (started, mut taken) = (Instant::now(), window);
    while frames
        .until(stream, |message| message.content.len() >= taken as usize || message.reset.is_some())
        .reset
        .is_none()
    {
        assert!(started.elapsed() < Duration::from_secs(8), "the answer goes on for ever");
        std::thread::sleep(Duration::from_millis(200));
        frames.send(&Frame::window(stream, window));
        taken += window;
    }
    assert!(!frames.so_far(stream).ended);
}
