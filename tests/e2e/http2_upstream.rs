//! HTTP/2 towards backends: gRPC end to end, few connections for many requests, and nothing done twice.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use e2e::http2::{Frame, Frames, Message, kind, reason};
use e2e::key::Key;
use e2e::message::Broken;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET};

use crate::configured::{MAIN, OWNER};
use crate::gate::Gate;
use crate::http2::{pseudo, request};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// A gate before a backend that hands every stream, with the number of its connection, to `script`.
fn gate(script: impl Fn(&mut Frames, u32, usize) + Send + Sync + 'static) -> Gate {
    gate_with(&[], "", script)
}

fn gate_with(
    settings: &'static [(u16, u32)],
    toml: &str,
    script: impl Fn(&mut Frames, u32, usize) + Send + Sync + 'static,
) -> Gate {
    before(
        Recorder::by_hand(move |conversation, connection| {
            let Some(mut frames) = Frames::serving(conversation, settings) else { return };
            while let Some(stream) = frames.accept() {
                script(&mut frames, stream, connection);
            }
        }),
        toml,
    )
}

fn before(backend: Recorder, toml: &str) -> Gate {
    let upstream = format!("[upstream.app]\nprotocol = \"http/2\"\nurl = \"{}\"\n", backend.url());
    // Every worker has connections of its own.
    let toml = format!("[server]\nworkers = 1\n{MAIN}{OWNER}{toml}{upstream}");
    let proxy = Proxy::configured(&toml).file("secret", SECRET).start();
    Gate::of(backend, proxy, Key::shared(SECRET))
}

fn answer(frames: &mut Frames, stream: u32, content: &str) {
    frames.send(&Frame::headers(stream, &[(":status", "200")], false));
    frames.send(&Frame::data(stream, content, true));
}

fn field(message: &Message, name: &str) -> String {
    message.values(name).concat()
}

/// Keeps the requests that arrive, for a look at them later.
fn keep(kept: &Sender<Message>) -> impl Fn(&mut Frames, u32, usize) + Send + Sync + 'static {
    let kept = Mutex::new(kept.clone());
    move |frames, stream, _| {
        let message = frames.message(stream);
        kept.lock().expect("no script failed").send(message).expect("the test waits");
        answer(frames, stream, "ok");
    }
}

#[test]
fn a_request_of_either_protocol_arrives_as_http2_has_it() {
    let (kept, arrived) = channel();
    let gate = gate(keep(&kept));
    gate.proxy.ask(&gate.by_alice("/api/alice/x?a=1").field("Connection", "x-hop").field("X-Hop", "1")).expect(200);
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let stream = frames.ask(&request("GET", "/api/alice/x?a=1", &authorization), true);
    assert_eq!(frames.message(stream).answer().expect(200).text(), "ok");
    for _ in 0..2 {
        let message = arrived.recv_timeout(e2e::PATIENCE).expect("it arrived");
        let pseudo = [":method", ":scheme", ":path", ":authority"].map(|name| field(&message, name));
        assert_eq!(pseudo, ["GET", "http", "/api/alice/x?a=1", "app.test"]);
        assert_eq!(message.values("x-user-id"), ["alice"]);
        for gone in ["host", "connection", "x-hop", "te", "transfer-encoding", "authorization"] {
            assert!(message.values(gone).is_empty(), "{gone}: {message:?}");
        }
    }
    assert_eq!(gate.backend.connections(), 1);
}

#[test]
fn grpc_streams_both_ways_and_ends_with_trailers() {
    let (told, arrived) = channel();
    let told = Mutex::new(told);
    let gate = gate(move |frames, stream, _| {
        frames.send(&Frame::headers(stream, &[(":status", "200"), ("content-type", "application/grpc")], false));
        let first = frames.until(stream, |message| message.content.len() >= 5).clone();
        told.lock().expect("one stream").send(first).expect("the test waits");
        frames.send(&Frame::data(stream, "reply", false));
        let whole = frames.message(stream);
        told.lock().expect("one stream").send(whole).expect("the test waits");
        frames.send(&Frame::headers(stream, &[("grpc-status", "0"), ("grpc-message", "fine")], true));
    });
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let call = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1S")];
    let stream = frames.ask(&[&request("POST", "/api/alice/Call", &authorization)[..], &call].concat(), false);
    frames.send(&Frame::data(stream, "first", false));
    let first = arrived.recv_timeout(e2e::PATIENCE).expect("it arrives before the last");
    assert_eq!((field(&first, "te"), field(&first, "grpc-timeout")), ("trailers".into(), "1S".into()));
    assert_eq!(frames.until(stream, |message| !message.content.is_empty()).content, b"reply");
    frames.send(&Frame::data(stream, "second", false));
    let forbidden = [("x-user-id", "bob"), ("x_user_id", "bob"), ("authorization", "Bearer x"), ("x-padded", " 1")];
    let trailers = [&[("x-sum", "1")][..], &forbidden].concat();
    frames.send(&Frame::headers(stream, &trailers, true));
    let whole = arrived.recv_timeout(e2e::PATIENCE).expect("the rest arrives");
    assert_eq!((&whole.content[..], whole.values("x-user-id")), (&b"firstsecond"[..], vec!["alice".to_owned()]));
    assert_eq!(whole.trailers, [("x-sum".to_owned(), b"1".to_vec())]);
    let message = frames.message(stream);
    assert_eq!(message.trailer("grpc-status").as_deref(), Some("0"), "{message:?}");
    assert_eq!(message.trailer("grpc-message").as_deref(), Some("fine"));
    assert_eq!(message.answer().header("content-type").as_deref(), Some("application/grpc"));
}

#[test]
fn grpc_may_answer_with_trailers_alone_and_before_the_request_has_ended() {
    let gate = gate(|frames, stream, _| {
        frames.send(&Frame::headers(stream, &[(":status", "200"), ("grpc-status", "16")], true));
        frames.send(&Frame::reset(stream, NO_ERROR));
    });
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let stream = frames.ask(&request("POST", "/api/alice/Call", &authorization), false);
    frames.send(&Frame::data(stream, "first", false));
    let message = frames.until(stream, |message| message.ended);
    assert_eq!(message.values("grpc-status"), ["16"]);
    let refused = frames.ask(&pseudo("POST", "/api/alice/Call"), true);
    frames.message(refused).answer().refused(401, "token_missing");
}

#[test]
fn trailers_reach_a_client_of_http_1_that_asks_for_them() {
    let gate = gate(|frames, stream, _| {
        frames.send(&Frame::headers(stream, &[(":status", "200"), ("trailer", "x-sum")], false));
        frames.send(&Frame::data(stream, "abc", false));
        frames.send(&Frame::headers(stream, &[("x-sum", "6")], true));
    });
    let answer = gate.proxy.ask(&gate.by_alice("/api/alice/x").field("TE", "trailers")).expect(200);
    assert_eq!(answer.text(), "abc");
    assert_eq!(answer.body.trailers, [("x-sum".to_owned(), b"6".to_vec())]);
}

#[test]
fn many_requests_share_a_connection_as_far_as_the_backend_allows() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let (told, batches) = channel();
    let told = Mutex::new(told);
    let backend = Recorder::by_hand(move |conversation, _| {
        let settings = [(MAX_CONCURRENT_STREAMS, 4)];
        let Some(mut frames) = Frames::serving(conversation, &settings) else { return };
        frames.set_patience(Duration::from_millis(100));
        // Whatever has come is answered once no more does.
        let mut ended = false;
        while !ended {
            let mut open = Vec::new();
            ended = loop {
                match frames.frame() {
                    Ok(Some(frame)) if frame.kind == kind::HEADERS => open.push(frame.stream),
                    Ok(Some(_)) => {}
                    Err(Broken::Cut(fault)) if fault.kind() == std::io::ErrorKind::WouldBlock => break false,
                    Ok(None) | Err(_) => break true,
                }
            };
            for stream in open.iter().take(4) {
                answer(&mut frames, *stream, "ok");
            }
            for stream in open.iter().skip(4) {
                frames.send(&Frame::reset(*stream, REFUSED_STREAM));
            }
            let _ = told.lock().expect("no script failed").send(open.len());
        }
    });
    let gate = before(backend, "");
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let mut ask = |count: usize| {
        let ask = |_| frames.ask(&request("GET", "/api/alice/x", &authorization), true);
        let streams: Vec<u32> = (0..count).map(ask).collect();
        for stream in streams {
            frames.message(stream).answer().expect(200);
        }
    };
    // What came before the backend's settings did is refused, and sent once more.
    ask(30);
    while batches.try_recv().is_ok() {}
    ask(30);
    let batches: Vec<usize> = batches.try_iter().filter(|batch| *batch > 0).collect();
    assert!(batches.iter().all(|batch| *batch <= 4) && batches.contains(&4), "{batches:?}");
}

#[test]
fn requests_that_come_at_once_share_one_new_connection_or_its_failure() {
    let open = gate(|frames, stream, _| answer(frames, stream, "ok"));
    let nobody = e2e::port::free();
    let upstream = format!("[upstream.app]\nprotocol = \"http/2\"\nurl = \"http://{nobody}\"\n");
    let proxy = Proxy::configured(&format!("{MAIN}{OWNER}{upstream}")).file("secret", SECRET).start();
    let shut = Gate::of(Recorder::start(), proxy, Key::shared(SECRET));
    for (gate, status) in [(&open, 200), (&shut, 502)] {
        let authorization = gate.authorization();
        let mut frames = gate.speak();
        let ask = |_| frames.ask(&request("GET", "/api/alice/x", &authorization), true);
        let streams: Vec<u32> = (0..50).map(ask).collect();
        for stream in streams {
            let answer = frames.message(stream).answer().expect(status);
            assert!(status == 200 || answer.code() == "upstream_unreachable", "{}", answer.describe());
        }
    }
    assert_eq!(open.backend.connections(), 1);
}

/// A backend whose first stream of the first connection is treated by `first`; every other one is answered.
fn gate_that_fails_once(first: impl Fn(&mut Frames, u32) + Send + Sync + 'static) -> Gate {
    gate(move |frames, stream, connection| match (connection, stream) {
        // The connection is a used one by then.
        (0, 3) => first(frames, stream),
        _ => answer(frames, stream, &format!("{connection}")),
    })
}

#[test]
fn what_the_backend_has_not_looked_at_is_sent_once_more() {
    for (name, failure) in [
        (
            "a refused stream",
            (|frames, stream| _ = frames.send(&Frame::reset(stream, REFUSED_STREAM))) as fn(&mut Frames, u32),
        ),
        ("a connection that goes away", |frames, _| _ = frames.send(&Frame::go_away(1, NO_ERROR))),
    ] {
        let gate = gate_that_fails_once(failure);
        let post = Request::post("/api/alice/x", "").bearer(&gate.token("alice"));
        gate.proxy.ask(&post).expect(200);
        gate.proxy.ask(&post).expect(200);
        gate.proxy.ask(&post).expect(200);
        let connections = if name == "a refused stream" { 1 } else { 2 };
        assert_eq!(gate.backend.connections(), connections, "{name}");
    }
}

#[test]
fn a_dead_connection_is_replaced_and_only_what_may_be_repeated_is() {
    for (method, status) in [("GET", 200), ("POST", 502)] {
        let gate = gate_that_fails_once(|frames, _| frames.conversation().close());
        let request = Request::new(method, "/api/alice/x").bearer(&gate.token("alice"));
        gate.proxy.ask(&request).expect(200);
        gate.proxy.ask(&request).expect(status);
        assert_eq!(gate.proxy.ask(&request).expect(200).text(), "1", "{method}");
    }
}

#[test]
fn a_reset_is_an_answer_and_spares_the_connection() {
    let gate = gate_that_fails_once(|frames, stream| _ = frames.send(&Frame::reset(stream, INTERNAL_ERROR)));
    gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200);
    gate.proxy.ask(&gate.by_alice("/api/alice/x")).refused(502, "upstream_broken");
    assert_eq!(gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200).text(), "0");
}

#[test]
fn a_broken_answer_never_looks_whole() {
    let gate = gate(|frames, stream, _| {
        frames.send(&Frame::headers(stream, &[(":status", "200")], false));
        frames.send(&Frame::data(stream, "half", false));
        frames.send(&Frame::reset(stream, INTERNAL_ERROR));
    });
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let stream = frames.ask(&request("GET", "/api/alice/x", &authorization), true);
    let message = frames.message(stream);
    assert!(message.reset.is_some() && !message.ended, "{message:?}");
}

#[test]
fn what_nobody_waits_for_any_more_is_reset_and_the_connection_stays() {
    let (told, resets) = channel();
    let told = Mutex::new(told);
    let gate = gate_with(&[], "[timeouts]\nresponse_head = 1\n", move |frames, stream, connection| {
        if field(&frames.so_far(stream), ":path").ends_with("/slow") {
            let reset = frames.until(stream, |message| message.reset.is_some()).reset;
            told.lock().expect("no script failed").send(reset).expect("the test waits");
        } else {
            answer(frames, stream, &format!("{connection}"));
        }
    });
    gate.proxy.ask(&gate.by_alice("/api/alice/slow")).refused(504, "upstream_timeout");
    assert_eq!(resets.recv_timeout(e2e::PATIENCE).expect("it is told").map(reason), Some("CANCEL"));
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let stream = frames.ask(&request("GET", "/api/alice/slow", &authorization), true);
    frames.frame().expect("settings");
    frames.send(&Frame::reset(stream, 8));
    assert_eq!(resets.recv_timeout(e2e::PATIENCE).expect("it is told").map(reason), Some("CANCEL"));
    assert_eq!(gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200).text(), "0");
}

#[test]
fn a_client_that_takes_nothing_holds_no_other_up() {
    let gate = gate(|frames, stream, _| {
        let large = field(&frames.so_far(stream), ":path").ends_with("/large");
        frames.send(&Frame::headers(stream, &[(":status", "200")], false));
        if large {
            // As much as the proxy makes room for on this stream.
            for _ in 0..4 {
                frames.send(&Frame::data(stream, vec![b'x'; 16_000], false));
            }
        } else {
            frames.send(&Frame::data(stream, "ok", true));
        }
    });
    let authorization = gate.authorization();
    let mut stuck = Frames::with_settings(&gate.proxy.address, &[(4, 0)]);
    for _ in 0..40 {
        let stream = stuck.ask(&request("GET", "/api/alice/large", &authorization), true);
        stuck.until(stream, |message| !message.fields.is_empty());
    }
    assert_eq!(gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200).text(), "ok");
    assert_eq!(gate.backend.connections(), 1);
}

#[test]
fn an_upgrade_is_not_asked_of_http2() {
    let (kept, arrived) = channel();
    let gate = gate(keep(&kept));
    let upgrade = gate.by_alice("/api/alice/x").field("Connection", "Upgrade").field("Upgrade", "websocket");
    gate.proxy.ask(&upgrade).expect(200);
    assert!(arrived.recv_timeout(e2e::PATIENCE).expect("it arrived").values("upgrade").is_empty());
}

#[test]
fn a_backend_of_http_1_is_told_to_be_broken() {
    let gate = before(
        Recorder::by_hand(|mut conversation, _| {
            let _ = conversation.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }),
        "",
    );
    gate.proxy.ask(&gate.by_alice("/api/alice/x")).refused(502, "upstream_broken");
}

#[test]
fn a_broken_body_never_arrives_whole() {
    let (kept, arrived) = channel();
    let kept = Mutex::new(kept);
    let gate = gate(move |frames, stream, _| {
        kept.lock().expect("no script failed").send(frames.message(stream)).expect("the test waits");
    });
    let mut wire = gate.proxy.connect();
    let half = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice")).field("Content-Length", "10");
    wire.send(half.raw_body("half").bytes());
    wire.finish_sending();
    let message = arrived.recv_timeout(e2e::PATIENCE).expect("it is told");
    assert!(message.reset.is_some() && !message.ended, "{message:?}");
}

#[test]
fn a_client_that_waits_is_asked_for_its_body() {
    let gate = gate(|frames, stream, _| {
        let content = frames.message(stream).content;
        answer(frames, stream, &String::from_utf8_lossy(&content));
    });
    let mut wire = gate.proxy.connect();
    let waiting = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice")).field("Expect", "100-continue");
    wire.send(waiting.field("Content-Length", "4").bytes());
    assert_eq!(wire.head().start_line, "HTTP/1.1 100 Continue");
    wire.send("body");
    assert_eq!(wire.answer().expect(200).text(), "body");
}

#[test]
fn bodies_of_every_size_arrive_whole() {
    let gate = gate(|frames, stream, _| {
        let message = frames.message(stream);
        frames.send(&Frame::headers(stream, &[(":status", "200")], false));
        // Windows are the other side's to give, so an answer about the body will do.
        frames.send(&Frame::data(
            stream,
            format!("{} {}", message.content.len(), field(&message, "content-length")),
            true,
        ));
    });
    for size in [0, 1, 100_000, 3_000_000] {
        let body = Request::post("/api/alice/x", vec![b'x'; size]).bearer(&gate.token("alice"));
        assert_eq!(gate.proxy.ask(&body).expect(200).text(), format!("{size} {size}"));
    }
    let chunked = Request::new("POST", "/api/alice/x").bearer(&gate.token("alice")).chunked(&["abc", "de"]);
    assert_eq!(gate.proxy.ask(&chunked).expect(200).text(), "5 ");
}
