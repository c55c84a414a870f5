//! What streams ends with the token that it was opened with, and ordinary requests do not suffer from that.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use e2e::http2::{Frames, reason};
use e2e::message::{Broken, Conversation};
use e2e::process::poll;
use e2e::recorder::{OK, Recorder, receive};
use e2e::request::Request;
use e2e::token::{Token, now};

use crate::configured::{MAIN, OWNER, configured_before};
use crate::gate::Gate;

/// Without leeway a token ends within a second of its `exp`.
fn strict(backend: Recorder, route_keys: &str) -> Gate {
    configured_before(backend, &format!("{MAIN}leeway_seconds = 0\n{OWNER}{route_keys}\n"))
}

/// A token of alice for so many seconds.
fn token_for(gate: &Gate, seconds: i64) -> String {
    Token::of("alice").claim("exp", now() + seconds).signed_by(&gate.key)
}

/// A backend that answers with this head and then with `piece` again and again, for as long as anybody listens.
fn endless(head: &'static str, piece: &'static str) -> Recorder {
    Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else { return };
        let mut sent = conversation.send(head.as_bytes());
        while sent.is_ok() {
            std::thread::sleep(Duration::from_millis(50));
            sent = conversation.send(piece.as_bytes());
        }
    })
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &str = "9\r\ndata: x\n\n\r\n";

/// Reads chunks for so long; says whether the stream was still going on then. A last chunk is a failure.
fn goes_on(conversation: &mut Conversation, limit: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        match conversation.chunk() {
            Ok(chunk) => assert!(!chunk.is_empty(), "the stream looks whole"),
            Err(Broken::Cut(_)) => return false,
            Err(Broken::Grammar(fault)) => panic!("{fault}"),
        }
    }
    true
}

#[test]
fn a_stream_of_events_breaks_off_when_its_token_ends() {
    let gate = strict(endless(EVENTS, EVENT), "");
    let started = Instant::now();
    let mut wire = gate.proxy.connect();
    wire.send(Request::get("/api/alice/events").bearer(&token_for(&gate, 3)).bytes());
    wire.head();
    assert!(!goes_on(wire.conversation(), e2e::PATIENCE));
    let lasted = started.elapsed();
    assert!((2..6).contains(&lasted.as_secs()), "{lasted:?}");
    let told = poll(e2e::PATIENCE, || gate.proxy.process.log().contains("token_expired").then_some(()));
    assert!(told.is_some(), "the log does not say why:\n{}", gate.proxy.process.log());
}

#[test]
fn a_stream_of_http_2_is_reset_alone_when_its_token_ends() {
    let gate = strict(endless(EVENTS, EVENT), "");
    let mut frames = Frames::to(&gate.proxy.address);
    let ask = |frames: &mut Frames, token: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/api/alice/events"),
            (":authority", "a"),
            ("authorization", &bearer),
        ];
        frames.ask(&fields, true)
    };
    let (short, long) = (ask(&mut frames, &token_for(&gate, 2)), ask(&mut frames, &token_for(&gate, 600)));
    let message = frames.message(short);
    assert_eq!((message.reset.map(reason), message.ended), (Some("CANCEL"), false), "{message:?}");
    let before = frames.so_far(long).content.len();
    frames.until(long, |message| message.content.len() > before);
}

#[test]
fn a_download_breaks_off_short_of_its_length_when_its_token_ends() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let gate = strict(endless(head, "piece of it"), "");
    let mut wire = gate.proxy.connect();
    wire.send(Request::get("/api/alice/download").bearer(&token_for(&gate, 2)).bytes());
    wire.head();
    assert!(matches!(wire.conversation().take(1_000_000), Err(Broken::Cut(_))));
}

#[test]
fn a_stream_outlives_its_token_where_the_route_says_so_and_where_there_is_none() {
    let public = crate::configured::route("/public/**", "access = \"public\"");
    let gate = strict(endless(EVENTS, EVENT), &format!("end_at_expiry = false\n{public}"));
    let token = token_for(&gate, 1);
    let requests = [Request::get("/api/alice/events").bearer(&token), Request::get("/public/events").bearer(&token)];
    for request in requests {
        let mut wire = gate.proxy.connect();
        wire.send(request.bytes());
        wire.head();
        assert!(goes_on(wire.conversation(), Duration::from_secs(4)));
    }
}

#[test]
fn what_became_of_a_whole_request_is_told_although_its_token_has_ended() {
    let backend = Recorder::by_hand(|mut conversation, _| {
        while let Ok(Some(_)) = receive(&mut conversation, 0) {
            std::thread::sleep(Duration::from_secs(3));
            if conversation.send(OK).is_err() {
                return;
            }
        }
    });
    let gate = strict(backend, "");
    let answer = gate.proxy.ask(&Request::post("/api/alice/x", "all of it").bearer(&token_for(&gate, 1)));
    assert_eq!(answer.expect(200).text(), "ok");
}

#[test]
fn an_upload_whose_token_ends_is_refused_and_never_arrives_whole() {
    let (report, reported) = channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let received = receive(&mut conversation, 0);
        report.send(matches!(received, Ok(Some(received)) if received.complete)).expect("the test waits");
    });
    let gate = strict(backend, "");
    let mut wire = gate.proxy.connect();
    let request = Request::new("POST", "/api/alice/x").bearer(&token_for(&gate, 2));
    wire.send(request.field("Transfer-Encoding", "chunked").bytes());
    let mut reader = wire.second();
    let sending = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until && wire.try_send("400\r\n".to_owned() + &"x".repeat(1024) + "\r\n") {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    reader.answer().refused(401, "token_expired");
    reader.conversation().close();
    sending.join().expect("the sender ends");
    assert!(!reported.recv_timeout(e2e::PATIENCE).expect("the backend has read"));
}
