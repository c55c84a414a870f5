//! Large and slow clients are refused early and disturb nobody.

use std::time::{Duration, Instant};

use e2e::recorder::{OK, Recorder, Reply, receive};
use e2e::request::Request;
use e2e::wire::Outcome;

use crate::configured::{MAIN, OWNER, configured, configured_before};
use crate::gate::Gate;

#[test]
fn a_head_over_32_kib_is_too_large_and_one_under_it_is_not() {
    let gate = Gate::open();
    let padded = |size: usize| gate.by_alice("/api/alice/x").field("X-Padding", "x".repeat(size));
    assert_eq!(gate.verdict(&padded(30_000)), "forwarded");
    assert_eq!(gate.verdict(&padded(33_000)), "431 head_too_large");
    let reached = gate.backend.bytes();
    // On both sides of what is read at all.
    for size in [33_000, 48_500, 49_500, 100_000, 500_000] {
        let mut wire = gate.proxy.connect();
        wire.send(padded(size).bytes());
        wire.answer().refused(431, "head_too_large");
        assert!(wire.is_closed(), "{size}");
    }
    let refused = gate.proxy.process.wait_for_lines("head_too_large", 6);
    let unread = refused.iter().filter(|line| line.contains("refused a head unread"));
    assert_eq!(unread.count(), 3, "{refused:#?}");
    assert_eq!(gate.backend.bytes(), reached);
}

#[test]
fn a_large_head_is_refused_after_the_answers_before_it() {
    let large = "x".repeat(2_000_000);
    let answer = Reply::ok(&large);
    let gate = Gate::before(Recorder::answering(move |_| answer.clone()));
    let mut wire = gate.proxy.connect();
    let mut sender = wire.second();
    let first = gate.by_alice("/api/alice/x");
    let second = first.clone().field("X-Padding", "x".repeat(100_000));
    wire.send(first.bytes());
    let head = wire.head();
    let sending = std::thread::spawn(move || sender.send(second.bytes()));
    let length = head.values("content-length");
    assert_eq!(length, ["2000000"]);
    assert_eq!(wire.conversation().take(large.len()).expect("the whole answer"), large.as_bytes());
    sending.join().expect("the sender ends");
    wire.answer().refused(431, "head_too_large");
}

#[test]
fn a_body_that_comes_with_a_large_head_is_no_part_of_it() {
    let gate = Gate::open();
    let body = "x".repeat(300_000);
    for size in [0, 15_000, 30_000, 32_000] {
        let request = Request::post("/api/alice/x", body.clone()).bearer(&gate.token("alice"));
        gate.proxy.ask(&request.field("X-Padding", "x".repeat(size))).expect(200);
        let chunked = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice"));
        let chunked = chunked.field("X-Padding", "x".repeat(size)).chunked(&[&body, "x", &body]);
        gate.proxy.ask(&chunked).expect(200);
    }
    assert!(gate.backend.received().iter().all(|received| received.complete));
}

#[test]
fn a_head_of_many_small_lines_is_counted_whole() {
    let gate = Gate::open();
    let mut request = gate.by_alice("/api/alice/x");
    for number in 0..3_000 {
        request = request.field(&format!("X-{number}"), "0123456789");
    }
    let verdict = gate.verdict(&request);
    assert!(["431 head_too_large", "431", "closed"].contains(&verdict.as_str()), "{verdict}");
    gate.backend.is_untouched();
}

#[test]
fn a_path_over_8_kib_is_refused() {
    let gate = Gate::open();
    let of = |size: usize| gate.by_alice(format!("/api/alice/{}", "x".repeat(size)));
    assert_eq!(gate.verdict(&of(8_000)), "forwarded");
    let reached = gate.backend.bytes();
    let answer = gate.proxy.ask(&of(9_000));
    assert!((400..500).contains(&answer.status), "{}", answer.describe());
    assert_eq!(gate.backend.bytes(), reached);
}

#[test]
fn a_head_that_does_not_come_ends_in_time() {
    let gate = Gate::open();
    let started = Instant::now();
    let mut silent = gate.proxy.connect();
    let mut slow = gate.proxy.connect();
    slow.send("GET /api/alice/x HTTP/1.1\r\nHost: app.test\r\nX-Slow: ");
    for wire in [&mut slow, &mut silent] {
        match wire.outcome() {
            Outcome::Closed => {}
            Outcome::Answered(answer) => assert_eq!(answer.status, 408, "{}", answer.describe()),
        }
    }
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(5), "a slow client deserves its time: {waited:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    gate.backend.is_untouched();
}

#[test]
fn slow_heads_do_not_hold_others_up() {
    let gate = Gate::open();
    let mut slow: Vec<_> = (0..200).map(|_| gate.proxy.connect()).collect();
    for wire in &mut slow {
        wire.send("GET /api/alice/x HTTP/1.1\r\nX-");
    }
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "forwarded");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn forged_tokens_do_not_hold_others_up() {
    let gate = Gate::open();
    let forger = e2e::key::Key::shared("a forger's secret, which is long enough to be one");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (gate, forger) = (&gate, &forger);
            scope.spawn(move || {
                let mut wire = gate.proxy.connect();
                for round in 0..50 {
                    let token = e2e::token::Token::of("alice").claim("jti", format!("{thread}-{round}"));
                    wire.ask(&Request::get("/api/alice/x").bearer(&token.signed_by(forger)))
                        .refused(401, "signature_invalid");
                }
            });
        }
        for _ in 0..50 {
            gate.proxy.ask(&gate.by_alice("/api/alice/honest")).expect(200);
        }
    });
    for received in gate.backend.received() {
        assert_eq!(received.target(), "/api/alice/honest");
    }
}

#[test]
fn a_body_over_the_routes_limit_is_too_large() {
    let gate = configured(&format!("{MAIN}{OWNER}body_bytes = 1000\n"));
    let token = gate.token("alice");
    let post = |size: usize| Request::post("/api/alice/x", vec![b'x'; size]).bearer(&token);
    assert_eq!(gate.verdict(&post(1_000)), "forwarded");
    assert_eq!(gate.verdict(&post(1_001)), "413 body_too_large");
    let chunk = "x".repeat(600);
    let chunked = Request::new("POST", "/api/alice/chunked").bearer(&token).chunked(&[&chunk, &chunk]);
    gate.proxy.ask(&chunked).refused(413, "body_too_large");
    gate.proxy.ask(&Request::get("/api/alice/last").bearer(&token)).expect(200);
    assert!(
        gate.backend.received().iter().all(|received| !received.complete || received.target() != "/api/alice/chunked")
    );
}

#[test]
fn slow_parties_are_told_in_the_configured_time() {
    let timeouts = "[timeouts]\nrequest_head = 0.5\nbody_idle = 0.5\nresponse_head = 0.5\nkeep_alive = 0.5\n";
    let backend = Recorder::by_hand(|mut conversation, connection| {
        while let Ok(Some(received)) = receive(&mut conversation, connection) {
            if received.target() == "/api/alice/silent" {
                conversation.at_end();
                return;
            }
            if conversation.send(OK).is_err() {
                return;
            }
        }
    });
    let gate = configured_before(backend, &format!("{MAIN}{OWNER}{timeouts}"));
    gate.proxy.ask(&gate.by_alice("/api/alice/silent")).refused(504, "upstream_timeout");
    let mut slow = gate.proxy.connect();
    slow.send("GET /api/alice/x HTTP/1.1\r\nX-");
    assert!(matches!(slow.outcome().status(), None | Some(408)));
    let mut half = gate.proxy.connect();
    let request = Request::new("POST", "/api/alice/half").bearer(&gate.token("alice")).field("Content-Length", "10");
    half.send(request.raw_body("half").bytes());
    match half.outcome() {
        Outcome::Closed => {}
        Outcome::Answered(answer) => answer.refused(408, "request_timeout"),
    }
    let mut idle = gate.proxy.connect();
    idle.ask(&gate.by_alice("/api/alice/x")).expect(200);
    assert!(idle.is_closed());
}

#[test]
fn the_rest_of_a_refused_body_is_not_the_beginning_of_a_head() {
    let gate = configured(&format!("{MAIN}{OWNER}[timeouts]\nrequest_head = 0.3\nkeep_alive = 1\n"));
    let mut wire = gate.proxy.connect();
    wire.ask(&Request::new("POST", "/api/alice/x").field("Content-Length", "10")).refused(401, "token_missing");
    wire.send("0123456789");
    assert!(matches!(wire.outcome(), Outcome::Closed), "an idle connection ends in silence");
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let (reached, at_backend) = std::sync::mpsc::channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else { return };
        reached.send(()).expect("the test waits");
        conversation.at_end();
    });
    let mut gate = configured_before(backend, &format!("{MAIN}{OWNER}[timeouts]\ndrain = 1\n"));
    let mut wire = gate.proxy.connect();
    wire.send(gate.by_alice("/api/alice/never").bytes());
    at_backend.recv_timeout(e2e::PATIENCE).expect("the request is in flight");
    gate.proxy.stop(Duration::from_secs(5));
}
