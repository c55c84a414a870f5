//! HTTP/2 from clients: the same decision, headers and deadlines as with HTTP/1.1, on the same listener.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use e2e::answer::Answer;
use e2e::http2::{Frame, Frames, PREFACE, flag, kind, reason};
use e2e::message::Conversation;
use e2e::recorder::{OK, Recorder, Reply, receive};
use e2e::socket::Socket;

use crate::configured::{MAIN, OWNER, configured, configured_before};
use crate::gate::Gate;

pub(crate) type Fields<'a> = Vec<(&'a str, &'a str)>;

/// The pseudo-fields of a request.
pub(crate) fn pseudo<'a>(method: &'a str, target: &'a str) -> Fields<'a> {
    vec![(":method", method), (":scheme", "http"), (":path", target), (":authority", "app.test")]
}

/// The fields of a request with these credentials.
pub(crate) fn request<'a>(method: &'a str, target: &'a str, authorization: &'a str) -> Fields<'a> {
    [pseudo(method, target), vec![("authorization", authorization)]].concat()
}

impl Gate {
    pub(crate) fn speak(&self) -> Frames {
        Frames::to(&self.proxy.address)
    }

    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.token("alice"))
    }

    /// Alice's request with more fields, on a connection of its own.
    #[track_caller]
    fn ask_http2(&self, method: &str, target: &str, more: &[(&str, &str)]) -> Answer {
        let authorization = self.authorization();
        let fields = [&request(method, target, &authorization)[..], more].concat();
        let mut frames = self.speak();
        let stream = frames.ask(&fields, true);
        frames.message(stream).answer()
    }
}

#[test]
fn one_listener_speaks_both_protocols() {
    let gate = Gate::open();
    assert_eq!(gate.ask_http2("GET", "/api/alice/x?a=%20", &[]).expect(200).text(), "ok");
    gate.proxy.ask(&gate.by_alice("/api/alice/x?a=%20")).expect(200);
    for received in gate.backend.received() {
        assert_eq!(received.head.start_line, "GET /api/alice/x?a=%20 HTTP/1.1");
        assert_eq!(received.head.values("host"), ["app.test"]);
        assert_eq!(received.head.values("x-forwarded-proto"), ["http"]);
        assert_eq!(received.user(), b"alice");
        assert!(received.head.values("authorization").is_empty());
    }
}

#[test]
fn a_preface_in_pieces_is_a_preface_and_what_only_begins_like_one_is_http_1() {
    let gate = Gate::open();
    let mut frames = Frames::silent(&gate.proxy.address);
    for byte in PREFACE {
        frames.send_bytes([*byte]);
        std::thread::yield_now();
    }
    frames.send(&Frame::settings(&[]));
    let authorization = gate.authorization();
    let stream = frames.ask(&request("GET", "/api/alice/x", &authorization), true);
    frames.message(stream).answer().expect(200);
    for method in ["P", "PR", "POST", "PRI"] {
        let mut wire = gate.proxy.connect();
        wire.send(&method[..1]);
        std::thread::yield_now();
        wire.send(format!(
            "{} /api/alice/x HTTP/1.1\r\nHost: app.test\r\nAuthorization: {authorization}\r\nContent-Length: 0\r\n\r\n",
            &method[1..]
        ));
        assert!(matches!(wire.answer().status, 200 | 405), "{method}");
    }
    let mut wire = gate.proxy.connect();
    wire.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(matches!(wire.outcome().status(), Some(400) | None));
}

#[test]
fn row_1_and_8_identity_comes_from_the_token_alone_in_headers_and_trailers() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let lies = [
        ("authorization", &*authorization),
        ("x-user-id", "bob"),
        ("x_user_id", "bob"),
        ("x.user.id", "bob"),
        ("x-forwarded-user", "bob"),
        ("x-forwarded-proto", "https"),
        ("cookie", "a=1"),
        ("cookie", "better-auth.session_token=secret"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("trailer", "x-sum, x-user-id"),
    ];
    let mut frames = gate.speak();
    let stream = frames.ask(&[&pseudo("POST", "/api/alice/x")[..], &lies].concat(), false);
    frames.send(&Frame::data(stream, "abc", false));
    frames.send(&Frame::headers(stream, &[("x-user-id", "bob"), ("x_user_id", "bob"), ("x-sum", "6")], true));
    frames.message(stream).answer().expect(200);
    let received = gate.backend.only();
    assert_eq!(received.user(), b"alice");
    assert_eq!(received.body.content, b"abc");
    assert_eq!(received.body.trailers, [("x-sum".to_owned(), b"6".to_vec())]);
    assert_eq!(received.head.values("cookie"), ["a=1; b=2"]);
    assert_eq!(received.head.values("x-forwarded-proto"), ["http"]);
    assert!(received.head.values("x-forwarded-user").is_empty());
}

#[test]
fn refusals_have_the_form_that_they_have_in_http_1() {
    let gate = Gate::open();
    let mut frames = gate.speak();
    let mut ask = |fields: &[(&str, &str)]| {
        let stream = frames.ask(fields, true);
        frames.message(stream).answer()
    };
    ask(&pseudo("GET", "/api/alice/x")).refused(401, "token_missing");
    let authorization = gate.authorization();
    let by_alice = |method, target| request(method, target, &authorization);
    ask(&by_alice("GET", "/api/bob/x")).refused(403, "not_owner");
    ask(&by_alice("GET", "/other")).refused(404, "route_unknown");
    ask(&by_alice("GET", "/api/alice/../bob/x")).refused(400, "path_ambiguous");
    ask(&by_alice("TRACE", "/api/alice/x")).refused(405, "method_not_allowed");
    ask(&[(":method", "CONNECT"), (":authority", "app.test:80"), ("authorization", &authorization)])
        .refused(405, "method_not_allowed");
    let mut twice = by_alice("GET", "/api/alice/x");
    twice.push(("authorization", &authorization));
    ask(&twice).refused(400, "credentials_repeated");
    let head = ask(&pseudo("HEAD", "/api/alice/x")).expect(401);
    assert!(head.body.content.is_empty() && head.header("content-length").is_some(), "{head:?}");
    assert!(ask(&by_alice("GET", "/api/alice/x")).expect(200).header("connection").is_none());
}

#[test]
fn row_35_and_36_the_target_and_the_authority_have_one_reading() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let judge = |fields: &[(&str, &str)]| {
        let mut frames = gate.speak();
        let stream = frames.ask(&[fields, &[("authorization", &authorization)]].concat(), true);
        let message = frames.message(stream);
        match message.reset {
            Some(code) if message.fields.is_empty() => reason(code).to_owned(),
            _ => message.values(":status").concat(),
        }
    };
    let scheme = (":scheme", "http");
    let get = (":method", "GET");
    let path = (":path", "/api/alice/x");
    let authority = (":authority", "app.test");
    for (name, fields, wanted) in [
        ("an authority", vec![get, scheme, path, authority], "200"),
        ("a host", vec![get, scheme, path, ("host", "app.test")], "200"),
        ("both alike", vec![get, scheme, path, authority, ("host", "app.test")], "200"),
        ("another host", vec![get, scheme, path, authority, ("host", "evil.test")], "400"),
        ("two hosts", vec![get, scheme, path, ("host", "app.test"), ("host", "app.test")], "400"),
        ("neither", vec![get, scheme, path], "400"),
        ("user information", vec![get, scheme, path, (":authority", "a@app.test")], "400 | PROTOCOL_ERROR"),
        ("another scheme", vec![get, (":scheme", "ftp"), path, authority], "400"),
        ("no slash", vec![get, scheme, (":path", "api/alice/x"), authority], "400 | PROTOCOL_ERROR"),
        ("a star", vec![get, scheme, (":path", "*"), authority], "400 | PROTOCOL_ERROR"),
        ("nothing", vec![get, scheme, (":path", ""), authority], "400 | PROTOCOL_ERROR"),
        ("a whole URL", vec![get, scheme, (":path", "http://evil/api/alice/x"), authority], "400 | PROTOCOL_ERROR"),
        ("two slashes", vec![get, scheme, (":path", "//api/alice/x"), authority], "400"),
        ("a fragment", vec![get, scheme, (":path", "/api/bob/x#/api/alice/x"), authority], "403 | PROTOCOL_ERROR"),
    ] {
        let verdict = judge(&fields);
        assert!(wanted.split(" | ").any(|wanted| wanted == verdict), "{name}: {verdict}, wanted {wanted}");
    }
    for received in gate.backend.received() {
        assert_eq!(received.head.values("host"), ["app.test"]);
        assert_eq!(received.target(), "/api/alice/x");
    }
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let all_there = Arc::new(Barrier::new(20));
    let backend = Recorder::answering(move |received| {
        if !received.target().ends_with("/free") {
            all_there.wait();
        }
        Reply::ok(received.target())
    });
    let gate = Gate::before(backend);
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let targets: Vec<String> = (0..20).map(|number| format!("/api/alice/{number}")).collect();
    let ask = |frames: &mut Frames, target: &str| frames.ask(&request("GET", target, &authorization), true);
    let mut streams: Vec<_> = targets[1..].iter().map(|target| (ask(&mut frames, target), target)).collect();
    let free = ask(&mut frames, "/api/alice/free");
    assert_eq!(frames.message(free).answer().expect(200).text(), "/api/alice/free");
    streams.push((ask(&mut frames, &targets[0]), &targets[0]));
    for (stream, target) in streams {
        assert_eq!(&frames.message(stream).answer().expect(200).text(), target);
    }
}

#[test]
fn bodies_stream_both_ways() {
    let (seen, wait) = channel();
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = conversation.head() else { return };
        seen.send(conversation.chunk().expect("a chunk")).expect("the test waits");
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n").expect("it is read");
        seen.send(conversation.chunk().expect("a chunk")).expect("the test waits");
        conversation.send(b"5\r\nright\r\n0\r\n\r\n").expect("it is read");
        conversation.at_end();
    });
    let gate = Gate::before(backend);
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let fields = request("POST", "/api/alice/x", &authorization);
    let stream = frames.ask(&fields, false);
    frames.send(&Frame::data(stream, "first", false));
    assert_eq!(wait.recv_timeout(e2e::PATIENCE).expect("it comes before the last"), b"first");
    assert_eq!(frames.until(stream, |message| !message.content.is_empty()).content, b"all");
    frames.send(&Frame::data(stream, "second", true));
    assert_eq!(wait.recv_timeout(e2e::PATIENCE).expect("the rest comes"), b"second");
    assert_eq!(frames.message(stream).answer().text(), "allright");
}

#[test]
fn a_large_answer_waits_for_the_clients_window() {
    let large = vec![b'x'; 3_000_000];
    let gate = Gate::before(Recorder::answering(move |_| {
        Reply::send([format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", large.len()).as_bytes(), &large].concat())
    }));
    assert_eq!(gate.ask_http2("GET", "/api/alice/x", &[]).expect(200).body.content.len(), 3_000_000);
}

#[test]
fn a_broken_answer_never_looks_whole() {
    let gate = Gate::before(Recorder::answering(|_| {
        Reply::send_and_close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    }));
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let fields = request("POST", "/api/alice/x", &authorization);
    let stream = frames.ask(&fields, true);
    let message = frames.message(stream);
    assert!(message.reset.is_some() && !message.ended, "{message:?}");
}

#[test]
fn trailers_of_an_answer_carry_no_framing_and_nothing_of_the_upstreams_connection() {
    let kept = ["x-sum: 6", "etag: \"a\"", "grpc-status: 0"];
    let dropped = [
        "connection: x-hop, x-sum-of-hop",
        "x-hop: 1",
        "x-sum-of-hop: 1",
        "keep-alive: timeout=5",
        "proxy-connection: keep-alive",
        "te: gzip",
        "transfer-encoding: chunked",
        "upgrade: websocket",
        "content-length: 3",
        "content-encoding: gzip",
        "content-type: text/html",
        "cache-control: public",
        "set-cookie: a=b",
        "location: /elsewhere",
        "vary: *",
        "www-authenticate: Basic",
        "trailer: x-sum",
        "host: evil.test",
    ];
    let lines = [&kept[..], &dropped].concat();
    let names: Vec<&str> = lines.iter().filter_map(|line| line.split(':').next()).collect();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: {}\r\n\r\n3\r\nabc\r\n0\r\n{}\r\n\r\n",
        names.join(", "),
        lines.join("\r\n"),
    );
    let gate = Gate::before(Recorder::answering(move |_| Reply::send(&answer)));
    let over_http2 = gate.ask_http2("GET", "/api/alice/x", &[("te", "trailers")]);
    let over_http1 = gate.proxy.ask(&gate.by_alice("/api/alice/x").field("TE", "trailers"));
    for answer in [over_http2, over_http1] {
        let answer = answer.expect(200);
        let mut told: Vec<String> = answer
            .body
            .trailers
            .iter()
            .map(|(name, value)| format!("{}: {}", name.to_ascii_lowercase(), String::from_utf8_lossy(value)))
            .collect();
        told.sort();
        assert_eq!(told, ["etag: \"a\"", "grpc-status: 0", "x-sum: 6"], "{}", answer.head.start_line);
        assert_eq!(answer.text(), "abc");
    }
}

#[test]
fn limits_hold_for_each_stream() {
    let gate = configured(&format!("{MAIN}{OWNER}body_bytes = 1000\n[limits]\nstreams = 3\n"));
    let authorization = gate.authorization();
    let by_alice = |field: Option<(&'static str, &'static str)>| {
        let mut fields = request("POST", "/api/alice/x", &authorization);
        fields.extend(field);
        fields
    };
    let padding = "x".repeat(33_000);
    let mut frames = gate.speak();
    let stream = frames.ask(&[by_alice(None), vec![("x-padding", &padding)]].concat(), true);
    frames.message(stream).answer().refused(431, "head_too_large");
    let declared = frames.ask(&by_alice(Some(("content-length", "1001"))), false);
    frames.message(declared).answer().refused(413, "body_too_large");
    let undeclared = frames.ask(&by_alice(None), false);
    frames.send(&Frame::data(undeclared, vec![b'x'; 1001], false));
    frames.message(undeclared).answer().refused(413, "body_too_large");
    let open: Vec<u32> = (0..4).map(|_| frames.ask(&by_alice(None), false)).collect();
    assert_eq!(frames.message(open[3]).reset.map(reason), Some("REFUSED_STREAM"));
    for stream in &open[..3] {
        frames.send(&Frame::data(*stream, "", true));
        frames.message(*stream).answer().expect(200);
    }
}

#[test]
fn slow_parties_are_told_in_the_configured_time_and_only_they() {
    let timeouts = "[timeouts]\nrequest_head = 1\nbody_idle = 1\nresponse_head = 1\nkeep_alive = 1\n";
    let backend = Recorder::by_hand(|mut conversation, connection| {
        while let Ok(Some(received)) = receive(&mut conversation, connection) {
            match received.target() {
                "/api/alice/silent" => drop(conversation.at_end()),
                "/api/alice/stuck" => {
                    let _ = conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                    conversation.at_end();
                }
                _ if conversation.send(OK).is_ok() => continue,
                _ => {}
            }
            return;
        }
    });
    let gate = configured_before(backend, &format!("{MAIN}{OWNER}{timeouts}"));
    let authorization = gate.authorization();
    let by_alice = |method, target| request(method, target, &authorization);
    let mut frames = gate.speak();
    let silent = frames.ask(&by_alice("GET", "/api/alice/silent"), true);
    let stuck = frames.ask(&by_alice("GET", "/api/alice/stuck"), true);
    let half = frames.ask(&by_alice("POST", "/api/alice/half"), false);
    frames.message(silent).answer().refused(504, "upstream_timeout");
    frames.message(half).answer().refused(408, "request_timeout");
    let broken = frames.message(stuck);
    assert!(broken.reset.is_some() && !broken.ended, "{broken:?}");
    let fine = frames.ask(&by_alice("GET", "/api/alice/fine"), true);
    frames.message(fine).answer().expect(200);
    let rested = Instant::now();
    assert!(frames.is_ended(), "an idle connection is closed");
    assert!(rested.elapsed() < Duration::from_secs(5), "{:?}", rested.elapsed());
    assert_eq!(frames.go_away.map(|(_, code)| reason(code)), Some("NO_ERROR"));
    assert!(gate.speak().is_ended(), "a connection without a first request is closed");
}

#[test]
fn a_client_that_takes_nothing_is_left() {
    let backend = Recorder::answering(|_| Reply::ok(&"x".repeat(1 << 20)));
    let gate = configured_before(backend, &format!("{MAIN}{OWNER}[timeouts]\nbody_idle = 1\n"));
    let authorization = gate.authorization();
    let mut frames = Frames::with_settings(&gate.proxy.address, &[(4, 0)]);
    let fields = request("GET", "/api/alice/x", &authorization);
    let stream = frames.ask(&fields, true);
    let message = frames.message(stream);
    assert!(message.content.is_empty() && message.reset.is_some(), "{message:?}");
}

#[test]
fn a_stream_in_flight_is_finished_and_no_other_begun_when_the_proxy_stops() {
    let (reached, at_backend) = channel();
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else { return };
        reached.send(()).expect("the test waits");
        wait.lock().expect("one request").recv_timeout(e2e::PATIENCE).expect("the test lets it go on");
        conversation.send(OK).expect("the proxy reads");
    });
    let mut gate = Gate::before(backend);
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let mut idle = gate.speak();
    let fields = request("GET", "/api/alice/x", &authorization);
    let stream = frames.ask(&fields, true);
    at_backend.recv_timeout(e2e::PATIENCE).expect("the request is in flight");
    gate.proxy.process.signal("TERM");
    while frames.go_away.is_none() {
        frames.frame().expect("the connection goes on").expect("the connection goes on");
    }
    assert!(idle.is_ended());
    go.send(()).expect("the backend waits");
    frames.message(stream).answer().expect(200);
    assert!(frames.is_ended());
    assert_eq!(gate.proxy.process.exit_code(Duration::from_secs(10)), 0);
}

#[test]
fn a_client_that_does_not_take_its_leave_does_not_delay_the_stop() {
    let mut gate = Gate::open();
    let mut frames = gate.speak();
    frames.frame().expect("settings").expect("settings");
    let started = Instant::now();
    assert_eq!(gate.proxy.stop(Duration::from_secs(10)), 0);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_reset_stream_leaves_its_upstream() {
    let (told, ended) = channel();
    let backend = Recorder::by_hand(move |mut conversation, connection| {
        let Ok(Some(_)) = receive(&mut conversation, connection) else { return };
        told.send("reached").expect("the test waits");
        conversation.at_end();
        told.send("left").expect("the test waits");
    });
    let gate = Gate::before(backend);
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let fields = request("GET", "/api/alice/x", &authorization);
    let stream = frames.ask(&fields, true);
    assert_eq!(ended.recv_timeout(e2e::PATIENCE), Ok("reached"));
    frames.send(&Frame::reset(stream, 8));
    assert_eq!(ended.recv_timeout(e2e::PATIENCE), Ok("left"));
}

#[test]
fn an_upgrade_to_http2_is_not_taken() {
    let gate = Gate::open();
    let socket = Socket::connect(&gate.proxy.address).expect("it listens");
    let mut conversation = Conversation::over(socket);
    let request = gate.by_alice("/api/alice/x").field("Connection", "Upgrade, HTTP2-Settings");
    let request = request.field("Upgrade", "h2c").field("HTTP2-Settings", "AAMAAABkAAQAAP__");
    conversation.send(&request.bytes()).expect("it is read");
    let head = conversation.head().expect("an answer").expect("an answer");
    assert_eq!(head.start_line, "HTTP/1.1 200 OK");
    assert!(gate.backend.only().head.values("upgrade").is_empty());
}

#[test]
fn a_ping_is_answered_with_its_own_content() {
    let gate = Gate::open();
    let mut frames = gate.speak();
    let ping = Frame::new(kind::PING, 0, 0, b"12345678");
    frames.send(&ping);
    let answered =
        std::iter::from_fn(|| frames.frame().expect("the connection goes on")).find(|frame| frame.kind == kind::PING);
    assert_eq!(answered, Some(Frame { flags: flag::ACK, ..ping }));
}
