//! An upstream has as many requests at once as its cap says; one more is refused at once, and whatever ends an exchange
//! makes room.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use e2e::PATIENCE;
use e2e::http2::{Frame, Frames};
use e2e::key::Key;
use e2e::message::Conversation;
use e2e::process::poll;
use e2e::recorder::{OK, Recorder, receive};
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET};
use e2e::wire::{Outcome, Wire};

use crate::configured::{MAIN, OWNER};
use crate::gate::Gate;
use crate::http2::request;

/// What the backend answers at once.
const QUICK: &str = "/api/alice/quick";

/// What it hands to the test.
const SLOW: &str = "/api/alice/slow";

const CLOSING: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nha";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// A gate before a slow backend, whose conversations the test continues.
struct Slow {
    gate: Gate,
    held: Receiver<Conversation>,
}

impl Slow {
    /// `requests` at once, and more of the route and what follows it.
    fn capped(requests: usize, toml: &str) -> Self {
        let (hold, held) = channel();
        let backend = Recorder::by_hand(move |mut conversation, number| {
            while let Ok(Some(received)) = receive(&mut conversation, number) {
                if received.target() != QUICK {
                    return hold.send(conversation).expect("the test waits");
                }
                if conversation.send(OK).is_err() {
                    return;
                }
            }
        });
        Self { gate: gate(backend, &format!("requests = {requests}"), toml), held }
    }

    /// Sends a request of which the backend has got hold when this returns.
    #[track_caller]
    fn begin(&self) -> (Wire, Conversation) {
        self.begin_with(&self.gate.by_alice(SLOW))
    }

    #[track_caller]
    fn begin_with(&self, request: &Request) -> (Wire, Conversation) {
        let mut wire = self.gate.proxy.connect();
        wire.send(request.bytes());
        (wire, self.arrived())
    }

    #[track_caller]
    fn arrived(&self) -> Conversation {
        self.held.recv_timeout(PATIENCE).expect("the request reaches the backend")
    }

    #[track_caller]
    fn is_full(&self) {
        assert_eq!(self.gate.verdict(&self.gate.by_alice(QUICK)), "503 overloaded");
    }
}

/// A proxy with these keys in the upstream's table.
fn gate(backend: Recorder, keys: &str, toml: &str) -> Gate {
    let proxy = Proxy::configured(&text(&backend, keys, toml)).file("secret", SECRET).start();
    Gate::of(backend, proxy, Key::shared(SECRET))
}

/// Two workers: the cap is one for both.
fn text(backend: &Recorder, keys: &str, toml: &str) -> String {
    let upstream = format!("[upstream.app]\nurl = \"{}\"\n{keys}\n", backend.url());
    format!("[server]\nworkers = 2\n{upstream}{MAIN}{OWNER}{toml}")
}

impl Gate {
    /// Waits until a request finds room.
    #[track_caller]
    fn has_room(&self, after: &str) {
        let room = poll(PATIENCE, || (self.verdict(&self.by_alice(QUICK)) == "forwarded").then_some(()));
        assert!(room.is_some(), "never any room after {after}:\n{}", self.proxy.process.log());
    }
}

#[test]
fn one_more_than_the_cap_is_refused_at_once_while_the_others_wait() {
    let slow = Slow::capped(4, "");
    let mut begun: Vec<_> = (0..4).map(|_| slow.begin()).collect();
    let started = Instant::now();
    for _ in 0..10 {
        let refused = slow.gate.proxy.ask(&slow.gate.by_alice(SLOW));
        refused.refused(503, "overloaded");
        assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(slow.held.try_recv().is_err(), "one too many reached the backend");
    slow.gate.proxy.wait_for_metric("ownergate_upstream_requests{upstream=\"app\"} 4");
    let counted = r#"ownergate_requests_total{route="/api/{user_id}/**",code="overloaded",status="5xx"} 10"#;
    slow.gate.proxy.wait_for_metric(counted);

    let (mut wire, mut conversation) = begun.remove(0);
    conversation.send(CLOSING).expect("the proxy waits");
    assert_eq!(wire.answer().expect(200).text(), "ok");
    begun.push(slow.begin());
    slow.is_full();
    for (mut wire, mut conversation) in begun {
        conversation.send(CLOSING).expect("the proxy waits");
        wire.answer().expect(200);
    }
    slow.gate.proxy.wait_for_metric("ownergate_upstream_requests{upstream=\"app\"} 0");
}

#[test]
fn who_asks_again_after_the_end_of_an_answer_finds_room() {
    let slow = Slow::capped(1, "");
    let mut wire = slow.gate.proxy.connect();
    for _ in 0..100 {
        wire.ask(&slow.gate.by_alice(QUICK)).expect(200);
        slow.gate.proxy.ask(&slow.gate.by_alice(QUICK)).expect(200);
    }
    let (mut wire, mut conversation) = slow.begin();
    conversation.send(HALF).expect("the proxy waits");
    wire.head();
    slow.is_full();
    conversation.send(b"lf").expect("the proxy waits");
    assert_eq!(wire.conversation().take(4).expect("a whole answer"), b"half");
    assert_eq!(slow.gate.verdict(&slow.gate.by_alice(QUICK)), "forwarded");
}

/// One way for an exchange to end.
type End = fn(Wire, Conversation);

#[test]
fn whatever_ends_an_exchange_makes_room() {
    let slow = Slow::capped(1, "");
    let ends: [(&str, End); 4] = [
        ("the client leaves before an answer", |wire, mut conversation| {
            drop(wire);
            assert!(conversation.at_end());
        }),
        ("the client leaves in the middle of one", |mut wire, mut conversation| {
            conversation.send(HALF).expect("the proxy waits");
            wire.head();
            drop(wire);
            assert!(conversation.at_end());
        }),
        ("the upstream leaves before its answer", |mut wire, conversation| {
            drop(conversation);
            wire.answer().refused(502, "upstream_broken");
        }),
        ("the upstream leaves in the middle of it", |mut wire, mut conversation| {
            conversation.send(HALF).expect("the proxy waits");
            wire.head();
            drop(conversation);
            assert!(matches!(wire.outcome(), Outcome::Closed));
        }),
    ];
    // Nothing that may be sent once more.
    let request = Request::post(SLOW, "").bearer(&slow.gate.token("alice"));
    for (name, end) in ends {
        let (wire, conversation) = slow.begin_with(&request);
        slow.is_full();
        end(wire, conversation);
        slow.gate.has_room(name);
    }
}

#[test]
fn an_upstream_that_is_too_slow_has_room_again_when_its_time_is_up() {
    let slow = Slow::capped(1, "response_head_seconds = 0.5\n");
    let (mut wire, _held) = slow.begin();
    wire.answer().refused(504, "upstream_timeout");
    slow.gate.has_room("its time was up");
}

#[test]
fn a_tunnel_is_in_flight_for_as_long_as_it_lives() {
    let slow = Slow::capped(1, "");
    let upgrade = slow.gate.by_alice(SLOW).field("Connection", "Upgrade").field("Upgrade", "echo");
    let (mut wire, mut conversation) = slow.begin_with(&upgrade);
    conversation.send(SWITCHING).expect("the proxy waits");
    assert!(wire.head().start_line.starts_with("HTTP/1.1 101"));
    wire.send("ping");
    assert_eq!(conversation.take(4).expect("the tunnel is open"), b"ping");
    slow.is_full();
    drop(wire);
    assert!(conversation.at_end());
    drop(conversation);
    slow.gate.has_room("the tunnel ended");
}

#[test]
fn the_decision_comes_first_and_its_refusals_take_no_room() {
    let slow = Slow::capped(1, "");
    let (gate, bob) = (&slow.gate, slow.gate.token("bob"));
    let refused = || {
        gate.proxy.ask(&Request::get(SLOW)).refused(401, "token_missing");
        gate.proxy.ask(&Request::get(SLOW).bearer(&bob)).refused(403, "not_owner");
    };
    refused();
    let (_wire, _conversation) = slow.begin();
    slow.is_full();
    refused();
}

#[test]
fn streams_of_http_2_count_one_by_one() {
    let slow = Slow::capped(3, "");
    let authorization = slow.gate.authorization();
    let mut frames = slow.gate.speak();
    let ask = |frames: &mut Frames| frames.ask(&request("GET", SLOW, &authorization), true);
    // Each alone, so that the test knows whose conversation it holds.
    let mut begin = || (ask(&mut frames), slow.arrived());
    let [(answered, mut first), (cancelled, mut second), (_, third)] = [begin(), begin(), begin()];
    let refused = ask(&mut frames);
    frames.message(refused).answer().refused(503, "overloaded");
    slow.is_full();
    first.send(CLOSING).expect("the proxy waits");
    frames.message(answered).answer().expect(200);
    slow.gate.has_room("an answer");
    let _again = (ask(&mut frames), slow.arrived());
    slow.is_full();
    frames.send(&Frame::reset(cancelled, CANCEL));
    assert!(second.at_end());
    slow.gate.has_room("a reset");
    drop((frames, third));
    slow.gate.proxy.wait_for_metric("ownergate_upstream_requests{upstream=\"app\"} 0");
}

/// RFC 9113 §7.
const CANCEL: u32 = 8;

#[test]
fn requests_that_share_an_upstreams_connection_count_one_by_one() {
    let (hold, held) = channel();
    let backend = Recorder::by_hand(move |conversation, _| {
        let Some(mut frames) = Frames::serving(conversation, &[]) else { return };
        while let Some(stream) = frames.accept() {
            if frames.so_far(stream).values(":path") == [QUICK] {
                frames.send(&Frame::headers(stream, &[(":status", "200")], true));
            } else {
                hold.send(stream).expect("the test waits");
            }
        }
    });
    let gate = gate(backend, "requests = 2\nprotocol = \"http/2\"", "");
    let mut begun = Vec::new();
    for _ in 0..2 {
        let mut wire = gate.proxy.connect();
        wire.send(gate.by_alice(SLOW).bytes());
        held.recv_timeout(PATIENCE).expect("the request reaches the backend");
        begun.push(wire);
    }
    gate.proxy.ask(&gate.by_alice(QUICK)).refused(503, "overloaded");
    begun.pop();
    gate.has_room("a client left");
}

#[test]
fn a_request_that_is_sent_twice_counts_once() {
    let backend = Recorder::by_hand(|mut conversation, number| {
        while let Ok(Some(received)) = receive(&mut conversation, number) {
            // The first connection dies of its second request.
            if number == 0 && received.head.values("x-first").is_empty() || conversation.send(OK).is_err() {
                return;
            }
        }
    });
    let gate = gate(backend, "requests = 1", "");
    let mut wire = gate.proxy.connect();
    wire.ask(&gate.by_alice(QUICK).field("X-First", "1")).expect(200);
    wire.ask(&gate.by_alice(QUICK)).expect(200);
    assert_eq!(gate.backend.connections(), 2, "it was sent once");
    gate.proxy.wait_for_metric("ownergate_upstream_requests{upstream=\"app\"} 0");
}

#[test]
fn a_reload_changes_the_cap_and_goes_on_counting() {
    let slow = Slow::capped(3, "");
    let reload = |requests: usize, path: &str| {
        // The new route tells when it has come into force.
        let route =
            format!("[[route]]\npath = \"{path}\"\naccess = \"public\"\nmethods = [\"PUT\"]\nupstream = \"app\"\n");
        let toml = text(&slow.gate.backend, &format!("requests = {requests}"), &route);
        std::fs::write(slow.gate.proxy.folder().join("ownergate.toml"), toml).expect("the folder can be written");
        slow.gate.proxy.process.signal("HUP");
        let in_force = || slow.gate.verdict(&slow.gate.by_alice(path)) == "405 method_not_allowed";
        assert!(poll(PATIENCE, || in_force().then_some(())).is_some(), "{path} never came into force");
    };
    let mut begun: Vec<_> = (0..3).map(|_| slow.begin()).collect();
    slow.is_full();
    reload(2, "/two");
    slow.is_full();
    begun.truncate(2);
    slow.gate.proxy.wait_for_metric("ownergate_upstream_requests{upstream=\"app\"} 2");
    slow.is_full();
    reload(3, "/three");
    begun.push(slow.begin());
    slow.is_full();
    reload(0, "/none");
    slow.gate.has_room("the cap went");
}
