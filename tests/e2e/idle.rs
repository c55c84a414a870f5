//! Connections that have been idle for a while are held in less memory, and nobody notices.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::recorder::{Recorder, Reply};
use e2e::request::Request;
use e2e::stack::Proxy;
use e2e::wire::Wire;

use crate::configured::{MAIN, OWNER, configured};
use crate::gate::Gate;
use crate::tls::behind_tls;
use crate::websockets::{echoing, upgrade};

/// After a second without a request, noticed within a tenth of one.
const A_WHILE: Duration = Duration::from_millis(1500);

/// For what was sent to be read before more is.
const MOMENT: Duration = Duration::from_millis(50);

/// For a stop with nothing to wait for; a drain has thirty seconds.
const SOON: Duration = Duration::from_secs(10);

/// A connection that has asked once.
fn used(gate: &Gate) -> Wire {
    let mut wire = gate.proxy.connect();
    wire.ask(&gate.by_alice("/api/alice/first")).expect(200);
    wire
}

fn send_in_pieces(wire: &mut Wire, pieces: &[&[u8]]) {
    for piece in pieces {
        wire.send(piece);
        sleep(MOMENT);
    }
}

#[test]
fn requests_after_a_while_are_served_however_they_come() {
    let gate = Gate::open();
    let get = gate.by_alice("/api/alice/x").bytes();
    let large = gate.by_alice("/api/alice/x").field("X-Padding", "x".repeat(20_000)).bytes();
    let post = Request::post("/api/alice/x", "all of it").bearer(&gate.token("alice")).bytes();
    let twice = [&get[..], &get].concat();
    let mixed = [&post[..], &get].concat();
    let middle = get.len() / 2;
    let ways: [(&str, &[&[u8]], usize); 8] = [
        ("whole", &[&get], 1),
        ("cut in its first line", &[&get[..2], &get[2..]], 1),
        ("cut in the middle", &[&get[..middle], &get[middle..]], 1),
        ("cut before its last byte", &[&get[..get.len() - 1], &get[get.len() - 1..]], 1),
        ("large", &[&large], 1),
        ("with a body", &[&post[..post.len() - 5], &post[post.len() - 5..]], 1),
        ("two at once", &[&twice], 2),
        ("two, of which one is cut", &[&mixed[..mixed.len() - 9], &mixed[mixed.len() - 9..]], 2),
    ];
    let mut wires = ways.map(|_| used(&gate));
    for _ in 0..2 {
        sleep(A_WHILE);
        for ((name, pieces, answers), wire) in ways.iter().zip(&mut wires) {
            send_in_pieces(wire, pieces);
            for _ in 0..*answers {
                let answer = wire.answer();
                assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{name}");
            }
        }
    }
    let received = gate.backend.received();
    assert_eq!(received.len(), wires.len() + 2 * ways.iter().map(|(_, _, answers)| answers).sum::<usize>());
    assert!(received.iter().all(|received| received.complete && received.user() == b"alice"));
}

#[test]
fn a_line_that_ends_with_lf_alone_is_refused_after_a_while_too() {
    let gate = Gate::open();
    let bare = "GET /api/alice/x HTTP/1.1\r\nHost: app.test\nX-Injected: y\r\n\r\n";
    let (before, after) = bare.split_at(bare.find('\n').expect("a line end") + 1);
    let mut wires = [(); 2].map(|()| used(&gate));
    sleep(A_WHILE);
    wires[0].send(bare);
    send_in_pieces(&mut wires[1], &[before.as_bytes(), after.as_bytes()]);
    for mut wire in wires {
        wire.answer().refused(400, "request_malformed");
    }
}

#[test]
fn what_came_of_a_request_before_the_while_counts_after_it() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let next = gate.by_alice("/api/alice/next").bytes();
    let (before, after) = next.split_at(next.len() / 2);
    let mut begun = gate.proxy.connect();
    begun.send([&Request::post("/api/alice/x", "body").bearer(&token).bytes()[..], before].concat());
    begun.answer().expect(200);
    let mut refused = gate.proxy.connect();
    refused.ask(&Request::new("POST", "/api/alice/x").field("Content-Length", "10")).refused(401, "token_missing");
    refused.send("01234");
    let mut blank = gate.proxy.connect();
    blank.send([&Request::post("/api/alice/x", "body").bearer(&token).bytes()[..], b"\r\n"].concat());
    blank.answer().expect(200);
    sleep(A_WHILE);
    begun.send(after);
    begun.answer().expect(200);
    refused.send([b"56789", &next[..]].concat());
    refused.answer().expect(200);
    sleep(A_WHILE);
    blank.send(&next);
    blank.answer().expect(200);
}

/// Answers of many sizes, so that of some the kernel takes all but the last few kilobytes. The next request comes before
/// they are taken.
#[test]
fn an_answer_that_is_not_taken_for_a_while_is_whole() {
    let backend = Recorder::answering(|received| {
        let size =
            received.target().rsplit(|byte: char| !byte.is_ascii_digit()).next().and_then(|size| size.parse().ok());
        Reply::ok(&"x".repeat(size.expect("the size stands at the end of the path")))
    });
    let gate = Gate::before(backend);
    let sizes = (1..50).map(|step| step << 15);
    let mut wires: Vec<_> = sizes.map(|size| (size, gate.proxy.connect())).collect();
    for (size, wire) in &mut wires {
        wire.send(gate.by_alice(format!("/api/alice/{size}")).bytes());
    }
    sleep(2 * A_WHILE);
    for (_, wire) in &mut wires {
        wire.send(gate.by_alice("/api/alice/1").bytes());
    }
    sleep(MOMENT);
    for (size, wire) in &mut wires {
        assert_eq!(wire.answer().expect(200).text().len(), *size);
        assert_eq!(wire.answer().expect(200).text(), "x", "after {size} bytes");
    }
}

#[test]
fn a_stop_ends_connections_that_have_been_idle_for_a_while() {
    let mut gate = Gate::open();
    let mut wire = used(&gate);
    sleep(A_WHILE);
    assert_eq!(gate.proxy.stop(SOON), 0);
    assert_eq!(wire.conversation().fill().expect("no reset"), 0);
}

#[test]
fn a_client_that_leaves_after_a_while_leaves_nothing_behind() {
    let gate = configured(&format!("{MAIN}{OWNER}[limits]\nconnections = 3\n"));
    let [mut halfway, closed, mut reset] = [(); 3].map(|()| used(&gate));
    gate.proxy.wait_for_metric("ownergate_connections 3");
    sleep(A_WHILE);
    halfway.finish_sending();
    assert_eq!(halfway.conversation().fill().expect("no reset"), 0);
    gate.proxy.wait_for_metric("ownergate_connections 2");
    drop(closed);
    gate.proxy.wait_for_metric("ownergate_connections 1");
    reset.conversation().socket().reset_on_close().expect("the connection is open");
    drop(reset);
    gate.proxy.wait_for_metric("ownergate_connections 0");
    drop([(); 3].map(|()| used(&gate)));
}

#[test]
fn an_idle_connection_ends_when_its_time_is_over() {
    let gate = configured(&format!("{MAIN}{OWNER}[timeouts]\nkeep_alive = 3\n"));
    let mut wire = used(&gate);
    let started = Instant::now();
    assert!(wire.is_closed());
    let waited = started.elapsed();
    assert!((Duration::from_millis(2800)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    // A head has its own time, whoever reads it.
    let gate = configured(&format!("{MAIN}{OWNER}[timeouts]\nrequest_head = 1\n"));
    let mut wire = used(&gate);
    sleep(A_WHILE);
    wire.send("GET /api/alice/x HTTP/1.1\r\nX-");
    wire.answer().refused(408, "request_timeout");
}

/// Its beginning came in one piece with the request before.
#[test]
fn a_head_that_has_begun_keeps_neither_its_connection_nor_a_stop() {
    let mut gate = configured(&format!("{MAIN}{OWNER}[timeouts]\nrequest_head = 2\n"));
    let begun = |gate: &Gate| {
        let mut wire = gate.proxy.connect();
        wire.send([&gate.by_alice("/api/alice/x").bytes()[..], b"GET /api/alice/y HTTP/1.1\r\n"].concat());
        wire.answer().expect(200);
        wire
    };
    begun(&gate).answer().refused(408, "request_timeout");
    let mut wire = begun(&gate);
    sleep(A_WHILE);
    assert_eq!(gate.proxy.stop(SOON), 0);
    wire.answer().refused(408, "request_timeout");
}

#[test]
fn a_tunnel_may_be_silent_for_a_while() {
    let gate = Gate::before(echoing());
    let mut wire = gate.proxy.connect();
    wire.send(upgrade(&gate.token("alice"), "/api/alice/ws").bytes());
    assert!(wire.head().start_line.starts_with("HTTP/1.1 101"));
    sleep(A_WHILE);
    wire.send("ping");
    assert_eq!(wire.conversation().take(4).expect("the echo"), b"ping");
}

#[test]
fn connections_of_tls_and_of_unix_sockets_serve_after_a_while_too() {
    let (gate, mut inner) = behind_tls(Recorder::start(), "http/1.1", "http/1.1");
    let backend = Recorder::start();
    let setup = Proxy::before(&backend).file("secret", e2e::stack::SECRET).flag("--secret-file", "secret");
    let local = Gate::of(backend, setup.on_unix_socket().start(), e2e::key::Key::shared(e2e::stack::SECRET));
    let (mut secure, mut local_wire) = (used(&gate), used(&local));
    let large = "x".repeat(20_000);
    for _ in 0..2 {
        sleep(A_WHILE);
        let post = Request::post("/api/alice/x", &large).bearer(&gate.token("alice"));
        secure.ask(&post.field("X-Padding", &large)).expect(200);
        local_wire.ask(&local.by_alice("/api/alice/x")).expect(200);
    }
    gate.proxy.wait_for_metric("ownergate_upstream_connections_total{outcome=\"connected\"} 1");
    sleep(A_WHILE);
    assert_eq!(inner.stop(SOON), 0);
}

/// Kilobytes of memory that a process has for itself.
fn anonymous_memory(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Wave after wave, so that each can have the memory that the last one gave up: the system gets it back only later.
#[test]
fn an_idle_connection_keeps_no_buffers() {
    const WAVE: usize = 100;
    let gate = Gate::open();
    let wave = || {
        let wires: Vec<_> = (0..WAVE).map(|_| used(&gate)).collect();
        sleep(A_WHILE);
        wires
    };
    let first = wave();
    let before = anonymous_memory(gate.proxy.process.id());
    let more = [(); 3].map(|()| wave());
    let grown = anonymous_memory(gate.proxy.process.id()).saturating_sub(before);
    let each = grown as f64 / (more.len() * WAVE) as f64;
    assert!(each < 4.0, "{each:.1} KiB each");
    drop((first, more));
}
