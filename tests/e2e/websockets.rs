//! A WebSocket goes through untouched, and ends with a close frame of the proxy's when its token or the proxy does.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use e2e::message::Conversation;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::token::{Token, now};
use e2e::wire::{Outcome, Wire};

use crate::configured::{MAIN, OWNER, configured_before};
use crate::gate::Gate;

/// A request to upgrade to a WebSocket.
pub(crate) fn upgrade(token: &str, target: &str) -> Request {
    Request::get(target)
        .bearer(token)
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .field("Sec-WebSocket-Version", "13")
}

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A backend that agrees to the upgrade, says `first`, and reports every byte that it gets, until the end.
fn listener(first: &'static [u8]) -> (Recorder, Receiver<Vec<u8>>) {
    let (report, reported): (Sender<Vec<u8>>, _) = channel();
    let report = Mutex::new(report);
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = conversation.head() else { return };
        let _ = conversation.send(SWITCHING).and_then(|()| conversation.send(first));
        let everything = read_to_end(&mut conversation);
        report.lock().expect("one conversation at a time").send(everything).expect("the test waits");
    });
    (backend, reported)
}

fn read_to_end(conversation: &mut Conversation) -> Vec<u8> {
    while conversation.fill().is_ok_and(|count| count > 0) {}
    conversation.take_buffered()
}

fn gate(backend: Recorder) -> Gate {
    configured_before(backend, &format!("{MAIN}leeway_seconds = 0\n{OWNER}"))
}

/// An open WebSocket of alice's for so many seconds.
fn open(gate: &Gate, seconds: i64) -> Wire {
    let token = Token::of("alice").claim("exp", now() + seconds).signed_by(&gate.key);
    let mut wire = gate.proxy.connect();
    wire.send(upgrade(&token, "/api/alice/socket").bytes());
    assert!(wire.head().start_line.starts_with("HTTP/1.1 101"));
    wire
}

/// A backend that switches protocols and then echoes.
pub(crate) fn echoing() -> Recorder {
    Recorder::by_hand(|mut conversation: Conversation, _| {
        let Ok(Some(_)) = conversation.head() else {
            return;
        };
        let _ = conversation.send(SWITCHING);
        let mut held = conversation.take_buffered();
        loop {
            if conversation.send(&held).is_err() || conversation.fill().map_or(true, |count| count == 0) {
                return;
            }
            held = conversation.take_buffered();
        }
    })
}

#[test]
fn an_upgrade_is_judged_like_any_request_and_passed_through_or_refused_cleanly() {
    let gate = Gate::before(echoing());
    assert_eq!(gate.verdict(&upgrade(&gate.token("bob"), "/api/alice/ws")), "403 not_owner");
    let mut wire = gate.proxy.connect();
    wire.send(upgrade(&gate.token("alice"), "/api/alice/ws").bytes());
    let head = wire.head();
    if head.start_line.starts_with("HTTP/1.1 101") {
        wire.send("ping");
        assert_eq!(wire.conversation().take(4).expect("the echo"), b"ping");
    } else {
        assert!(!head.start_line.starts_with("HTTP/1.1 2"), "{}", head.start_line);
    }
}

#[test]
fn bytes_behind_an_upgrade_that_was_not_granted_are_requests() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let mut wire = gate.proxy.connect();
    let mut bytes = upgrade(&token, "/api/alice/ws").bytes();
    bytes.extend(Request::get("/api/bob/x").bearer(&token).bytes());
    wire.send(bytes);
    let first = wire.answer();
    if let Outcome::Answered(second) = wire.outcome() {
        second.refused(403, "not_owner");
    } else {
        assert_ne!(first.status, 101);
    }
    for received in gate.backend.received() {
        assert_eq!(received.target(), "/api/alice/ws");
    }
}

/// The close frame that a server sends.
const EXPIRED: &[u8] = b"\x88\x0f\x03\xf0token expired";
const GOING_AWAY: &[u8] = b"\x88\x0c\x03\xe9going away";

/// A masked frame without its mask.
fn unmasked(frame: &[u8]) -> Vec<u8> {
    assert!(frame.len() >= 6 && frame[1] & 0x80 != 0, "no masked frame: {frame:?}");
    let payload = frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, key)| byte ^ key);
    [frame[0], frame[1] & 0x7f].into_iter().chain(payload).collect()
}

/// A whole text frame of a client's, `hello`.
const HELLO: &[u8] = b"\x81\x85\x01\x02\x03\x04igohn";

#[test]
fn both_sides_of_a_websocket_get_a_close_frame_when_its_token_ends() {
    let (backend, reported) = listener(b"\x81\x02hi");
    let gate = gate(backend);
    let mut wire = open(&gate, 2);
    wire.send(HELLO);
    assert_eq!(wire.conversation().take(4).expect("the backend's frame"), b"\x81\x02hi");
    assert_eq!(read_to_end(wire.conversation()), EXPIRED);
    wire.conversation().close();
    let heard = reported.recv_timeout(e2e::PATIENCE).expect("the backend has read");
    assert!(heard.starts_with(HELLO), "{heard:?}");
    assert_eq!(unmasked(&heard[HELLO.len()..]), EXPIRED);
}

#[test]
fn a_frame_in_flight_is_finished_before_the_close_frame() {
    let (backend, reported) = listener(b"");
    let gate = gate(backend);
    let mut wire = open(&gate, 2);
    let (begun, rest) = HELLO.split_at(7);
    wire.send(begun);
    assert_eq!(wire.conversation().take(EXPIRED.len()).expect("a close frame"), EXPIRED);
    // What follows the frame is not let through any more.
    wire.send([rest, HELLO].concat());
    let heard = reported.recv_timeout(e2e::PATIENCE).expect("the backend has read");
    assert!(heard.starts_with(HELLO), "{heard:?}");
    assert_eq!(unmasked(&heard[HELLO.len()..]), EXPIRED);
}

#[test]
fn a_frame_that_does_not_end_is_cut_and_nothing_put_into_it() {
    let (backend, reported) = listener(b"\x82\x7e\xff\xffbegun");
    let gate = gate(backend);
    let mut wire = open(&gate, 1);
    let started = Instant::now();
    wire.send(&HELLO[..7]);
    assert_eq!(read_to_end(wire.conversation()), b"\x82\x7e\xff\xffbegun");
    assert_eq!(reported.recv_timeout(e2e::PATIENCE).expect("the backend has read"), HELLO[..7]);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[test]
fn a_side_that_has_said_goodbye_is_not_made_to_say_it_again() {
    let (backend, reported) = listener(b"");
    let gate = gate(backend);
    let mut wire = open(&gate, 1);
    let goodbye = b"\x88\x82\x00\x00\x00\x00\x03\xe8";
    wire.send(goodbye);
    assert_eq!(read_to_end(wire.conversation()), EXPIRED);
    wire.conversation().close();
    assert_eq!(reported.recv_timeout(e2e::PATIENCE).expect("the backend has read"), goodbye);
}

#[test]
fn a_proxy_that_drains_says_that_it_goes_away() {
    let (backend, reported) = listener(b"");
    let mut gate = gate(backend);
    let mut wire = open(&gate, 600);
    wire.send(HELLO);
    gate.proxy.process.signal("TERM");
    assert_eq!(read_to_end(wire.conversation()), GOING_AWAY);
    wire.conversation().close();
    let heard = reported.recv_timeout(e2e::PATIENCE).expect("the backend has read");
    assert_eq!(unmasked(&heard[HELLO.len()..]), GOING_AWAY);
    assert_eq!(gate.proxy.process.exit_code(Duration::from_secs(5)), 0);
}

#[test]
fn megabytes_in_both_directions_arrive_as_they_were_sent() {
    const SIZE: usize = 8 << 20;
    fn content() -> Vec<u8> {
        (0..SIZE).map(|index| (index % 251) as u8).collect()
    }
    let (report, reported) = channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = conversation.head() else { return };
        conversation.send(SWITCHING).expect("the proxy reads");
        let mut reader = Wire::over(conversation.socket().try_clone().expect("a second handle"));
        let held = conversation.take_buffered();
        let sending = std::thread::spawn(move || conversation.send(&content()).is_ok());
        let rest = reader.conversation().take(SIZE - held.len()).expect("all of it");
        let whole = [held, rest].concat() == content();
        report.send(whole && sending.join().expect("the sender ends")).expect("the test waits");
    });
    let gate = gate(backend);
    let mut wire = open(&gate, 600);
    let mut sender = wire.second();
    let sending = std::thread::spawn(move || sender.send(content()));
    // The other side fills every buffer on the way first.
    std::thread::sleep(Duration::from_millis(300));
    assert!(wire.conversation().take(SIZE).expect("all of it") == content());
    sending.join().expect("the sender ends");
    assert!(reported.recv_timeout(e2e::PATIENCE).expect("the backend has read"));
}

#[test]
fn another_protocol_is_cut_without_a_word() {
    let (backend, reported) = listener(b"hello");
    let gate = gate(backend);
    let token = Token::of("alice").claim("exp", now() + 1).signed_by(&gate.key);
    let mut wire = gate.proxy.connect();
    let request = Request::get("/api/alice/socket").bearer(&token).field("Connection", "Upgrade");
    wire.send(request.field("Upgrade", "echo").bytes());
    wire.head();
    wire.send("hi");
    assert_eq!(read_to_end(wire.conversation()), b"hello");
    assert_eq!(reported.recv_timeout(e2e::PATIENCE).expect("the backend has read"), b"hi");
}
