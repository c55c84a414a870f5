//! Who a connection is from, and how many of them one client gets.

use e2e::PATIENCE;
use e2e::process::poll;
use e2e::recorder::{Received, Recorder};
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET};
use e2e::wire::{Outcome, Wire};

use crate::configured::{MAIN, OWNER, configured, route};
use crate::gate::Gate;

/// A gate whose peers on loopback speak the PROXY protocol.
fn behind_balancer(rest: &str) -> Gate {
    configured(&format!("[server]\nproxy_protocol = [\"127.0.0.0/8\"]\n{rest}{MAIN}{OWNER}"))
}

/// Sends a header and alice's request after it, in one piece.
fn introduced(gate: &Gate, header: impl AsRef<[u8]>) -> Wire {
    let mut wire = gate.proxy.connect();
    wire.send([header.as_ref(), &gate.by_alice("/api/alice/x").bytes()].concat());
    wire
}

fn line(address: &str) -> String {
    format!("PROXY TCP4 {address} 127.0.0.1 56324 80\r\n")
}

/// Version 2 over TCP and IPv4, with what follows the addresses.
fn block(address: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(12 + rest.len()).expect("a short header").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &address, &[127, 0, 0, 1, 0xDC, 4, 0, 80], rest].concat()
}

fn last(gate: &Gate) -> Received {
    gate.backend.received().pop().expect("a request reached the backend")
}

#[test]
fn the_client_is_who_the_balancer_says() {
    let gate = behind_balancer("");
    const TLS: [u8; 8] = [0x20, 0, 5, 1, 0, 0, 0, 0];
    for (header, address, proto) in [
        (line("192.0.2.7").into_bytes(), "192.0.2.7", "http"),
        (block([192, 0, 2, 8], b""), "192.0.2.8", "http"),
        (block([192, 0, 2, 9], &TLS), "192.0.2.9", "https"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "http"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1", "http"),
    ] {
        introduced(&gate, header).answer().expect(200);
        let received = last(&gate);
        for name in ["x-forwarded-for", "x-real-ip"] {
            assert_eq!(received.head.value(name).as_deref(), Some(address), "{name}");
        }
        assert_eq!(received.head.value("x-forwarded-proto").as_deref(), Some(proto), "{address}");
    }
    gate.proxy.process.wait_for_line("192.0.2.9");
}

#[test]
fn a_balancer_must_introduce_its_client_and_a_stranger_must_not() {
    let gate = behind_balancer("");
    for header in ["", "PROXY TCP4 192.0.2.7\r\n", "PROXY TCP4 192.0.2.7 127.0.0.1 1 2\n"] {
        introduced(&gate, header).answer().refused(400, "request_malformed");
    }
    gate.proxy.process.wait_for_line("a peer that server.proxy_protocol lists was refused");
    let stranger = Gate::open();
    let mut wire = introduced(&stranger, line("192.0.2.7"));
    assert_eq!(wire.outcome().status(), Some(400));
    let mut wire = introduced(&stranger, block([192, 0, 2, 7], b""));
    assert!(matches!(wire.outcome().status(), Some(400) | None));
    gate.backend.is_untouched();
    stranger.backend.is_untouched();
}

#[test]
fn an_introduction_has_the_time_of_a_head() {
    let gate = configured(&format!(
        "[server]\nproxy_protocol = [\"127.0.0.0/8\"]\n{MAIN}{OWNER}[timeouts]\nrequest_head = 0.3\n"
    ));
    let mut wire = gate.proxy.connect();
    wire.send("PROXY TCP4 192.0.");
    wire.answer().refused(408, "request_timeout");
}

#[test]
fn unix_sockets_have_balancers_too() {
    let backend = Recorder::start();
    let toml =
        format!("[server]\nproxy_protocol = \"unix\"\n{MAIN}{OWNER}[upstream.app]\nurl = \"{}\"\n", backend.url());
    let proxy = Proxy::configured(&toml).file("secret", SECRET).on_unix_socket().start();
    let gate = Gate::of(backend, proxy, e2e::key::Key::shared(SECRET));
    introduced(&gate, line("192.0.2.7")).answer().expect(200);
    assert_eq!(last(&gate).head.value("x-forwarded-for").as_deref(), Some("192.0.2.7"));
}

/// A connection that has been served: it holds a place. Those of the start may still be about to give theirs back.
fn seated(gate: &Gate, header: &str) -> Wire {
    let seated = poll(PATIENCE, || {
        let mut wire = introduced(gate, header);
        matches!(wire.outcome().status(), Some(200)).then_some(wire)
    });
    seated.expect("there is a place in the end")
}

#[test]
fn one_address_cannot_take_every_connection() {
    let gate = configured(&format!("{MAIN}{OWNER}[limits]\nconnections_per_address = 2\n"));
    let mut first = seated(&gate, "");
    let _second = seated(&gate, "");
    introduced(&gate, "").answer().refused(503, "overloaded");
    first.ask(&gate.by_alice("/api/alice/x")).expect(200);
    drop(first);
    seated(&gate, "");
}

#[test]
fn connections_are_counted_by_the_client_that_a_balancer_introduces() {
    let gate = configured(&format!(
        "[server]\nproxy_protocol = [\"127.0.0.0/8\"]\n{MAIN}{OWNER}[limits]\nconnections_per_address = 1\n"
    ));
    let six = |address: &str| format!("PROXY TCP6 {address} ::1 1 2\r\n");
    let _held = seated(&gate, &six("2001:db8::1"));
    introduced(&gate, six("2001:db8::ffff:2")).answer().refused(503, "overloaded");
    introduced(&gate, six("2001:db8:0:1::1")).answer().expect(200);
    introduced(&gate, line("192.0.2.7")).answer().expect(200);
}

#[test]
fn past_the_cap_connections_are_refused_at_once() {
    let gate = configured(&format!("{MAIN}{OWNER}[limits]\nconnections = 4\n"));
    let held: Vec<Wire> = (0..4).map(|_| seated(&gate, "")).collect();
    let started = std::time::Instant::now();
    for _ in 0..200 {
        let mut wire = gate.proxy.connect();
        match wire.outcome() {
            Outcome::Answered(answer) => answer.refused(503, "overloaded"),
            Outcome::Closed => panic!("a refusal says why"),
        }
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    drop(held);
    seated(&gate, "");
}

#[test]
fn an_address_has_its_rate_whatever_it_asks_for() {
    let limits = "[limits]\nrequests_per_address = { per_second = 1, burst = 5 }\n";
    let gate = configured(&format!(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n{MAIN}{}{limits}",
        route("/api/{user}/**", "access = { owner = \"user\" }")
    ));
    let from = |address: &str| Request::get("/nothing").field("X-Forwarded-For", address);
    let answers: Vec<_> = (0..20).map(|_| gate.proxy.ask(&from("192.0.2.7"))).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!((10..=15).contains(&refused.len()), "{} of 20 were refused", refused.len());
    for answer in refused {
        answer.refused(429, "rate_limited");
        assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    }
    gate.proxy.ask(&from("192.0.2.8")).refused(401, "token_missing");
}
