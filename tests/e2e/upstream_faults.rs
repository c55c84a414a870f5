//! A backend that misbehaves: its client gets the right code or a broken answer, in time; the next one is served.

use std::time::{Duration, Instant};

use e2e::key::Key;
use e2e::message::Conversation;
use e2e::recorder::{OK, Recorder, Reply, receive};
use e2e::request::Request;
use e2e::socket::Full;
use e2e::stack::{Proxy, SECRET};
use e2e::token::Token;
use e2e::wire::Outcome;

use crate::configured::{MAIN, OWNER, configured_before};
use crate::gate::Gate;

const HASTY: &str = "[timeouts]\nbody_idle = 0.5\nresponse_head = 0.5\n";

/// A backend that does this to the first request of the target `/api/alice/bad`, and answers others.
fn misbehaving(script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Recorder {
    Recorder::by_hand(move |mut conversation, connection| {
        while let Ok(Some(received)) = receive(&mut conversation, connection) {
            if received.target() == "/api/alice/bad" {
                script(&mut conversation);
                return;
            }
            if conversation.send(OK).is_err() {
                return;
            }
        }
    })
}

fn hasty(script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Gate {
    configured_before(misbehaving(script), &format!("{MAIN}{OWNER}{HASTY}"))
}

/// A POST, which is never tried again.
fn bad(gate: &Gate) -> Request {
    Request::post("/api/alice/bad", "x").bearer(&gate.token("alice"))
}

#[track_caller]
fn goes_on(gate: &Gate) {
    assert_eq!(gate.proxy.ask(&gate.by_alice("/api/alice/good")).expect(200).text(), "ok");
}

#[test]
fn a_response_head_that_comes_at_a_trickle_is_too_late() {
    let gate = hasty(|conversation| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".chunks(1) {
            if conversation.send(byte).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let started = Instant::now();
    gate.proxy.ask(&bad(&gate)).refused(504, "upstream_timeout");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    goes_on(&gate);
}

#[test]
fn an_answer_that_stops_half_way_is_cut() {
    for begun in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "\r\nhalf"] {
        let gate = hasty(move |conversation| {
            let _ = conversation.send(format!("HTTP/1.1 200 OK\r\n{begun}").as_bytes());
            conversation.at_end();
        });
        let mut wire = gate.proxy.connect();
        wire.send(bad(&gate).bytes());
        assert!(matches!(wire.outcome(), Outcome::Closed), "{begun:?}");
        goes_on(&gate);
    }
}

#[test]
fn a_reset_is_502_before_the_answer_and_a_broken_answer_inside_it() {
    for (begun, status) in [
        ("", Some(502)),
        ("HTTP/1.1 200 OK\r\nConte", Some(502)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", None),
    ] {
        let gate = hasty(move |conversation| {
            let _ = conversation.send(begun.as_bytes());
            // So that the proxy has what was sent: a reset takes back what has not been read.
            std::thread::sleep(Duration::from_millis(200));
            conversation.socket().reset_on_close().expect("the connection is open");
        });
        let mut wire = gate.proxy.connect();
        wire.send(bad(&gate).bytes());
        assert_eq!(wire.outcome().status(), status, "{begun:?}");
        goes_on(&gate);
    }
}

#[test]
fn a_backend_that_leaves_in_the_middle_of_an_upload_is_broken() {
    let backend = Recorder::by_hand(|mut conversation, _| {
        if let Ok(Some(_)) = conversation.head() {
            let _ = conversation.take(1 << 16);
        }
    });
    let gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    let mut sender = wire.second();
    let request = Request::post("/api/alice/x", vec![b'x'; 32 << 20]).bearer(&gate.token("alice"));
    let sending = std::thread::spawn(move || sender.send(request.bytes()));
    wire.answer().refused(502, "upstream_broken");
    wire.conversation().close();
    sending.join().expect("the sender ends");
}

#[test]
fn interim_answers_are_not_the_answer() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
    ] {
        let gate = hasty(move |conversation| {
            let _ = conversation.send(&[interim.as_bytes(), OK].concat());
        });
        let answer = gate.proxy.ask(&bad(&gate)).expect(200);
        assert_eq!(answer.text(), "ok", "{interim:?}");
        goes_on(&gate);
    }
}

#[test]
fn interim_answers_without_end_do_not_hold_the_exchange_open() {
    let gate = hasty(|conversation| {
        while conversation.send(b"HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    gate.proxy.ask(&bad(&gate)).refused(504, "upstream_timeout");
    goes_on(&gate);
}

#[test]
fn framing_of_an_answer_that_has_two_readings_is_broken() {
    for framing in [
        "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\nok",
        "Transfer-Encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Content-Length: 2, 2\r\n\r\nok",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "Content-Length: +2\r\n\r\nok",
        "Content-Length: 2\r\nContent-Length: 1\r\n\r\nok",
        "X: y\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        "X: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let gate = hasty(move |conversation| {
            let _ = conversation.send(format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes());
        });
        let mut wire = gate.proxy.connect();
        wire.send(bad(&gate).bytes());
        match wire.outcome() {
            Outcome::Closed => panic!("{framing:?} closed the connection"),
            Outcome::Answered(answer) => answer.refused(502, "upstream_broken"),
        }
        goes_on(&gate);
    }
}

#[test]
fn a_length_beside_a_coding_is_not_passed_on() {
    // RFC 9112 §6.3: the coding is read and the length removed.
    let gate = hasty(|conversation| {
        let _ = conversation
            .send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    });
    assert_eq!(gate.proxy.ask(&bad(&gate)).expect(200).text(), "ok");
}

#[test]
fn a_response_head_without_end_is_broken() {
    let gate = hasty(|conversation| {
        let _ = conversation.send(b"HTTP/1.1 200 OK\r\n");
        while conversation.send(format!("X-Flood: {}\r\n", "x".repeat(1_000)).as_bytes()).is_ok() {}
    });
    gate.proxy.ask(&bad(&gate)).refused(502, "upstream_broken");
    goes_on(&gate);
}

#[test]
fn a_body_where_there_is_none_is_not_read_as_the_next_answer() {
    let secret = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
    ] {
        let backend = Recorder::answering(move |received| match received.target() {
            "/api/alice/bodiless" => Reply::send([head, secret].concat()),
            _ => Reply::send(OK),
        });
        let gate = Gate::before(backend);
        for _ in 0..3 {
            let request = Request::new(method, "/api/alice/bodiless").bearer(&gate.token("alice"));
            gate.proxy.connect().ask(&request);
            goes_on(&gate);
        }
    }
}

#[test]
fn a_body_that_is_broken_from_its_first_byte_is_502() {
    for body in ["zz\r\n", "fffffffffffffffff\r\n", "2;\nok\r\n"] {
        let gate = hasty(move |conversation| {
            let answer = format!("HTTP/1.1 200 OK\r\nX-Half: 1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            let _ = conversation.send(answer.as_bytes());
        });
        let answer = gate.proxy.ask(&bad(&gate));
        assert_eq!(answer.header("x-half"), None, "{body:?}");
        answer.refused(502, "upstream_broken");
        goes_on(&gate);
    }
}

#[test]
fn a_first_chunk_that_comes_with_the_head_goes_on_and_so_does_an_end() {
    for (chunks, text) in
        [("0\r\n\r\n", ""), ("2\r\nok\r\n0\r\n\r\n", "ok"), ("2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n", "okay!")]
    {
        let gate = hasty(move |conversation| {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            let _ = conversation.send(answer.as_bytes());
            conversation.at_end();
        });
        assert_eq!(gate.proxy.ask(&bad(&gate)).expect(200).text(), text);
        goes_on(&gate);
    }
}

#[test]
fn a_backend_that_accepts_nobody_is_unreachable_in_time() {
    let full = Full::start().expect("a full queue");
    let url = format!("http://{}", full.address());
    let toml = format!("{MAIN}{OWNER}[timeouts]\nconnect = 0.5\n[upstream.app]\nurl = \"{url}\"\n");
    let proxy = Proxy::configured(&toml).file("secret", SECRET).start();
    let request = Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(&Key::shared(SECRET)));
    let started = Instant::now();
    proxy.ask(&request).refused(502, "upstream_unreachable");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn a_backend_that_loses_its_connections_is_served_on_by_itself() {
    let backend = Recorder::by_hand(|mut conversation, connection| {
        // Two exchanges, and then as after a restart: a connection that was kept is gone.
        for _ in 0..2 {
            let Ok(Some(_)) = receive(&mut conversation, connection) else { return };
            let _ = conversation.send(OK);
        }
        let _ = conversation.socket().reset_on_close();
    });
    let gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    for round in 0..20 {
        let answer = wire.ask(&gate.by_alice(format!("/api/alice/{round}")));
        assert_eq!(answer.expect(200).text(), "ok", "{round}");
    }
}
