//! What a hostile client sends over HTTP/2: every fault of framing ends its stream or its connection, floods end theirs,
//! and nobody else notices.

use std::time::Duration;

use e2e::http2::{Frame, Frames, block, flag, kind, reason};
use e2e::message::Broken;
use e2e::recorder::{Recorder, Reply};

use crate::gate::{Gate, Judged};
use crate::http2::{Fields, pseudo, request};

const NO_ERROR: u32 = 0;

/// What becomes of stream 1, or else of the connection: a status, or what the proxy ends. With which code is between it
/// and its client; a fault of a stream may end the connection (RFC 9113 §5.4.2).
fn verdict(frames: &mut Frames) -> String {
    loop {
        let first = frames.so_far(1);
        if frames.go_away.is_some_and(|(_, code)| code != NO_ERROR) {
            return "connection".into();
        }
        if first.reset.is_some() {
            return "stream".into();
        }
        if first.ended {
            return first.values(":status").concat();
        }
        match frames.frame() {
            Ok(Some(_)) => {}
            Err(Broken::Cut(fault)) if fault.kind() == std::io::ErrorKind::WouldBlock => return "nothing".into(),
            Ok(None) | Err(Broken::Cut(_)) => return "connection".into(),
            Err(Broken::Grammar(fault)) => panic!("{fault}"),
        }
    }
}

/// Sends each row's frames on a connection of its own.
fn judge(gate: &Gate, table: &[(&str, Vec<Frame>, &str)]) {
    let mut judged = Judged::default();
    for (name, sent, wanted) in table {
        let mut frames = gate.speak();
        frames.set_patience(Duration::from_secs(5));
        for frame in sent {
            frames.send(frame);
        }
        judged.compare(name, &verdict(&mut frames), wanted);
    }
    judged.all_right();
}

/// A backend that never answers, so that streams stay open.
fn silent() -> Gate {
    Gate::before(Recorder::by_hand(|mut conversation, _| while conversation.fill().is_ok_and(|count| count > 0) {}))
}

#[test]
fn frames_that_break_the_rules_end_what_they_break() {
    let gate = silent();
    let authorization = gate.authorization();
    let get = request("GET", "/api/alice/x", &authorization);
    let post = request("POST", "/api/alice/x", &authorization);
    let open = || Frame::headers(1, &post, false);
    let whole = || Frame::headers(1, &get, true);
    let raw = |kind, flags, stream, payload: &[u8]| vec![Frame::new(kind, flags, stream, payload)];
    let after =
        |first: Frame, kind, flags, stream, payload: &[u8]| vec![first, Frame::new(kind, flags, stream, payload)];
    let unfinished = || Frame::new(kind::HEADERS, flag::END_STREAM, 1, block(&get));
    let setting = |name, value| vec![Frame::settings(&[(name, value)])];
    let either = "stream | connection";
    let most = i32::MAX as u32;
    judge(
        &gate,
        &[
            ("4.2 DATA over the largest frame", after(open(), kind::DATA, 0, 1, &[0; 16_385]), "connection"),
            ("4.2 HEADERS over the largest frame", raw(kind::HEADERS, 5, 1, &[0; 16_385]), "connection"),
            ("4.3 a header block that is none", raw(kind::HEADERS, 5, 1, &[0x80]), "connection"),
            (
                "4.3 PRIORITY in a header block",
                after(unfinished(), kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 0]),
                "connection",
            ),
            ("4.3 HEADERS in a header block", vec![unfinished(), Frame::headers(3, &get, true)], "connection"),
            ("4.3 another stream's CONTINUATION", after(unfinished(), kind::CONTINUATION, 4, 3, &[]), "connection"),
            ("5.1 DATA on an idle stream", raw(kind::DATA, 1, 1, b"x"), "connection"),
            ("5.1 RST_STREAM on an idle stream", raw(kind::RST_STREAM, 0, 1, &[0; 4]), "connection"),
            ("5.1 WINDOW_UPDATE on an idle stream", raw(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), "connection"),
            ("5.1 CONTINUATION on an idle stream", raw(kind::CONTINUATION, 4, 1, &[]), "connection"),
            ("5.1 DATA after the end", after(whole(), kind::DATA, 1, 1, b"x"), either),
            ("5.1 HEADERS after the end", vec![whole(), Frame::headers(1, &get, true)], either),
            ("5.1 CONTINUATION after the end", after(whole(), kind::CONTINUATION, 4, 1, &[]), "connection"),
            ("5.1.1 an even stream", vec![Frame::headers(2, &get, true)], "connection"),
            ("5.1.1 a lower stream", vec![Frame::headers(5, &get, true), Frame::headers(3, &get, true)], "connection"),
            ("6.1 DATA on no stream", raw(kind::DATA, 1, 0, b"x"), "connection"),
            ("6.1 padding over the frame", after(open(), kind::DATA, flag::PADDED, 1, &[9, 0]), "connection"),
            ("6.2 HEADERS on no stream", vec![Frame::headers(0, &get, true)], "connection"),
            ("6.2 padding over the block", raw(kind::HEADERS, 5 | flag::PADDED, 1, &[9, 0]), "connection"),
            (
                "6.2 a stream that depends on itself",
                {
                    let payload = [&[0, 0, 0, 1, 9][..], &block(&get)].concat();
                    raw(kind::HEADERS, 5 | flag::PRIORITY, 1, &payload)
                },
                either,
            ),
            ("6.3 PRIORITY on no stream", raw(kind::PRIORITY, 0, 0, &[0, 0, 0, 3, 0]), "connection"),
            ("6.3 a short PRIORITY", after(open(), kind::PRIORITY, 0, 1, &[0; 4]), either),
            ("6.3 a PRIORITY on itself", after(open(), kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), either),
            ("6.4 RST_STREAM on no stream", raw(kind::RST_STREAM, 0, 0, &[0; 4]), "connection"),
            ("6.4 a short RST_STREAM", after(open(), kind::RST_STREAM, 0, 1, &[0; 3]), "connection"),
            ("6.5 an acknowledgement with settings", raw(kind::SETTINGS, flag::ACK, 0, &[0; 6]), "connection"),
            ("6.5 SETTINGS on a stream", raw(kind::SETTINGS, 0, 1, &[]), "connection"),
            ("6.5 half a setting", raw(kind::SETTINGS, 0, 0, &[0; 3]), "connection"),
            ("6.5 ENABLE_PUSH of 2", setting(2, 2), "connection"),
            ("6.5 INITIAL_WINDOW_SIZE over the largest", setting(4, most + 1), "connection"),
            ("6.5 MAX_FRAME_SIZE under the least", setting(5, 16_383), "connection"),
            ("6.5 MAX_FRAME_SIZE over the largest", setting(5, 1 << 24), "connection"),
            ("6.6 a promise of a client's", after(open(), kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]), "connection"),
            ("6.7 PING on a stream", raw(kind::PING, 0, 1, &[0; 8]), "connection"),
            ("6.7 a short PING", raw(kind::PING, 0, 0, &[0; 6]), "connection"),
            ("6.8 GOAWAY on a stream", raw(kind::GOAWAY, 0, 1, &[0; 8]), "connection"),
            ("6.9 no more window", vec![Frame::window(0, 0)], "connection"),
            ("6.9 no more window of a stream", vec![open(), Frame::window(1, 0)], either),
            ("6.9 a short WINDOW_UPDATE", raw(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), "connection"),
            ("6.9.1 too large a window", vec![Frame::window(0, most), Frame::window(0, most)], "connection"),
            ("6.9.1 too large a window of a stream", vec![open(), Frame::window(1, most)], either),
            (
                "6.9.2 a setting that makes it too large",
                { vec![open(), Frame::window(1, most - 65_535), Frame::settings(&[(4, 65_536)])] },
                either,
            ),
            ("6.10 CONTINUATION after the block", after(open(), kind::CONTINUATION, 4, 1, &[]), "connection"),
            ("8.1 trailers that do not end", vec![open(), Frame::headers(1, &[("x", "1")], false)], either),
            (
                "7541 5.2 a string with a padding that is none",
                { raw(kind::HEADERS, 5, 1, &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x84, 0x49, 0x50, 0x9f, 0xff]) },
                "connection",
            ),
            ("7541 6.1 an index of nothing", raw(kind::HEADERS, 5, 1, &[0xff, 0x7f]), "connection"),
            ("7541 6.3 a table over its limit", raw(kind::HEADERS, 5, 1, &[0x3f, 0xe1, 0xff, 0x03]), "connection"),
        ],
    );
    assert_eq!(gate.proxy.ask_admin("/livez").status, 200);
}

#[test]
fn what_the_rules_leave_open_is_passed_over() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let get = || Frame::headers(1, &request("GET", "/api/alice/x", &authorization), true);
    judge(
        &gate,
        &[
            ("4.1 an unknown frame", vec![Frame::new(99, 255, 0, [0; 8]), get()], "200"),
            ("4.1 unknown flags", vec![Frame::new(kind::PING, 0xfe, 0, [0; 8]), get()], "200"),
            ("4.1 the reserved bit", vec![Frame { stream: 1 | 1 << 31, ..get() }], "200"),
            ("5.1 PRIORITY of an idle stream", vec![Frame::new(kind::PRIORITY, 0, 3, [0, 0, 0, 1, 0]), get()], "200"),
            ("6.5.2 an unknown setting", vec![Frame::settings(&[(0xff, 1)]), get()], "200"),
            ("6.8 GOAWAY of a client that goes on", vec![get(), Frame::go_away(0, 0)], "200"),
        ],
    );
}

#[test]
fn malformed_requests_reach_nobody() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let fields = request("GET", "/api/alice/x", &authorization);
    let with = |name, value| [&fields[..], &[(name, value)]].concat();
    let without = |name: &str| -> Fields<'_> { fields.iter().copied().filter(|(known, _)| *known != name).collect() };
    let replaced = |name: &'static str, value: &'static str| -> Fields<'_> {
        fields.iter().map(|(known, old)| if *known == name { (name, value) } else { (*known, *old) }).collect()
    };
    let mut judged = Judged::default();
    let malformed = "stream | connection | 400";
    for (name, fields, wanted) in [
        ("an upper-case name", with("X-Upper", "1"), malformed),
        ("an unknown pseudo-field", with(":unknown", "1"), malformed),
        ("a response's pseudo-field", with(":status", "200"), malformed),
        ("a pseudo-field after others", with(":path", "/api/bob/x"), malformed),
        ("two methods", [&[(":method", "GET")], &fields[..]].concat(), malformed),
        ("two paths", [&[(":path", "/api/bob/x")], &fields[..]].concat(), malformed),
        ("two authorities", [&[(":authority", "evil.test")], &fields[..]].concat(), malformed),
        ("no method", without(":method"), malformed),
        ("no scheme", without(":scheme"), malformed),
        ("no path", without(":path"), malformed),
        ("Connection", with("connection", "x-user-id"), malformed),
        ("Keep-Alive", with("keep-alive", "1"), malformed),
        ("Proxy-Connection", with("proxy-connection", "1"), malformed),
        ("Transfer-Encoding", with("transfer-encoding", "chunked"), malformed),
        ("Upgrade", with("upgrade", "websocket"), malformed),
        ("TE of anything but trailers", with("te", "gzip"), malformed),
        ("a length without a body", with("content-length", "3"), malformed),
        ("two lengths", [&fields[..], &[("content-length", "0"), ("content-length", "1")]].concat(), malformed),
        ("one length twice", [&fields[..], &[("content-length", "0"), ("content-length", "0")]].concat(), malformed),
        ("a length that is none", with("content-length", "+0"), malformed),
        ("an empty length", with("content-length", ""), malformed),
        ("white space before a value", with("x-a", " 1"), malformed),
        ("white space behind a value", with("x-a", "1\t"), malformed),
        ("white space alone", with("x-a", " "), malformed),
        ("a line end in a value", with("x-a", "1\r\nx-user-id: bob"), malformed),
        ("NUL in a value", with("x-a", "1\0"), malformed),
        ("a space in a name", with("x a", "1"), malformed),
        ("a colon in a name", with("x:a", "1"), malformed),
        ("an empty name", with("", "1"), malformed),
        (
            "a request line as the method",
            [&[(":method", "GET /api/bob/x HTTP/1.1\r\nx:")], &fields[1..]].concat(),
            malformed,
        ),
        ("a request line as the path", replaced(":path", "/api/alice/x HTTP/1.1\r\nx-user-id: bob"), malformed),
        ("a space in the query", replaced(":path", "/api/alice/x?a b"), malformed),
        ("a line end in the authority", replaced(":authority", "app.test\r\nx-user-id: bob"), malformed),
        ("a path in the authority", replaced(":authority", "app.test/api/bob"), malformed),
        ("CONNECT to a protocol", [&[(":method", "CONNECT"), (":protocol", "websocket")], &fields[1..]].concat(), {
            "405 | stream | connection"
        }),
    ] {
        let mut frames = gate.speak();
        frames.ask(&fields, true);
        judged.compare(name, &verdict(&mut frames), wanted);
    }
    judged.all_right();
    gate.backend.is_untouched();
}

#[test]
fn a_body_of_another_length_than_declared_never_arrives_whole() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    for (length, pieces) in [("3", vec!["ab"]), ("3", vec!["abcd"]), ("3", vec!["ab", "cd"]), ("0", vec!["a"])] {
        let mut frames = gate.speak();
        let fields = [request("POST", "/api/alice/x", &authorization), vec![("content-length", length)]].concat();
        frames.ask(&fields, false);
        for (number, piece) in pieces.iter().enumerate() {
            frames.send(&Frame::data(1, piece, number + 1 == pieces.len()));
        }
        let verdict = verdict(&mut frames);
        assert!(["stream", "400"].contains(&&*verdict), "{length} {pieces:?}: {verdict}");
    }
    assert!(gate.backend.received().iter().all(|received| !received.complete));
}

#[test]
fn pseudo_fields_in_trailers_change_nothing() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    frames.ask(&request("POST", "/api/alice/x", &authorization), false);
    frames.send(&Frame::headers(1, &[(":path", "/api/bob/x"), (":authority", "evil.test")], true));
    verdict(&mut frames);
    for received in gate.backend.received() {
        assert_eq!((received.target(), received.head.values("host").concat()), ("/api/alice/x", "app.test".into()));
        assert!(received.body.trailers.is_empty(), "{:?}", received.body.trailers);
    }
}

#[test]
fn a_preface_that_is_none_is_no_http2() {
    let gate = Gate::open();
    for preface in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "PRI * HTTP/2.0\r\n\r\n\r\n\r\n\r\n\r\n"] {
        let mut frames = Frames::silent(&gate.proxy.address);
        frames.send_bytes(preface);
        frames.conversation().fill().expect("an answer, or the end");
        let answer = frames.conversation().take_buffered();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", answer.escape_ascii());
    }
}

/// Kibibytes of memory that the proxy has.
fn memory(gate: &Gate) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.proxy.process.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Sends `bytes` so often, whatever comes back, or until the connection takes no more. Somebody else is served
/// meanwhile, and memory stays where it was.
fn flood(gate: &Gate, frames: &mut Frames, most: usize, mut bytes: impl FnMut() -> Vec<u8>) {
    let before = memory(gate);
    frames.set_patience(Duration::from_secs(2));
    (0..most).take_while(|_| frames.send_bytes(bytes())).for_each(drop);
    gate.proxy.ask(&gate.by_alice("/api/alice/honest")).expect(200);
    let grown = memory(gate).saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB more");
}

/// A flood that ends its connection.
#[track_caller]
fn is_cut_off(gate: &Gate, frames: &mut Frames, most: usize, bytes: impl FnMut() -> Vec<u8>) {
    flood(gate, frames, most, bytes);
    assert!(frames.is_ended(), "the connection goes on");
}

#[test]
fn row_101_rapid_resets_end_their_connection() {
    let gate = Gate::before(Recorder::answering(|_| Reply::ok("ok")));
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let fields = request("GET", "/api/alice/flood", &authorization);
    let mut stream = 1;
    is_cut_off(&gate, &mut frames, 1_000, || {
        let pairs = (0..100).map(|_| {
            stream += 2;
            [Frame::headers(stream, &fields, true).bytes(), Frame::reset(stream, 8).bytes()].concat()
        });
        pairs.collect::<Vec<_>>().concat()
    });
    assert_eq!(frames.go_away.map_or("ENHANCE_YOUR_CALM", |(_, code)| reason(code)), "ENHANCE_YOUR_CALM");
}

#[test]
fn row_101_resets_that_come_a_little_later_end_their_connection_too() {
    let gate = silent();
    let authorization = gate.authorization();
    let fields = request("GET", "/api/alice/flood", &authorization);
    let mut frames = gate.speak();
    let ping = Frame::new(kind::PING, 0, 0, [0; 8]);
    let served = (0..1_000).take_while(|_| {
        let stream = frames.ask(&fields, true);
        // Its answer says that the request has been seen.
        frames.send(&ping);
        let seen = loop {
            match frames.frame() {
                Ok(Some(frame)) if frame.kind == kind::PING => break true,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break false,
            }
        };
        seen && frames.send(&Frame::reset(stream, 8))
    });
    let served = served.count();
    assert!((100..500).contains(&served), "{served} requests were left unanswered");
    assert_eq!(gate.proxy.ask_admin("/livez").status, 200);
}

#[test]
fn row_102_a_header_block_without_end_ends_its_connection() {
    for piece in [vec![], block(&[("x-a", &"a".repeat(16_000))]), block(&[("x", "")])] {
        let gate = Gate::open();
        let mut frames = gate.speak();
        frames.send(&Frame::new(kind::HEADERS, flag::END_STREAM, 1, block(&pseudo("GET", "/api/alice/x"))));
        let piece = Frame::new(kind::CONTINUATION, 0, 1, piece).bytes();
        is_cut_off(&gate, &mut frames, 5_000, || piece.repeat(10));
    }
}

#[test]
fn row_103_resets_that_the_proxy_is_made_to_send_end_their_connection() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let fields = request("POST", "/api/alice/flood", &authorization);
    let faults: [fn(u32) -> Frame; 3] = [
        |stream| Frame::window(stream, 0),
        |stream| Frame::window(stream, i32::MAX as u32),
        |stream| Frame::headers(stream, &[("x", "1")], false),
    ];
    for fault in faults {
        let mut frames = gate.speak();
        let mut stream = 1;
        is_cut_off(&gate, &mut frames, 2_000, || {
            stream += 2;
            [Frame::headers(stream, &fields, false).bytes(), fault(stream).bytes()].concat()
        });
    }
}

#[test]
fn row_104_empty_data_without_end_ends_its_connection() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    frames.ask(&request("POST", "/api/alice/x", &authorization), false);
    let empty = Frame::data(1, "", false).bytes();
    is_cut_off(&gate, &mut frames, 2_000, || empty.repeat(1_000));
}

#[test]
fn floods_of_frames_that_want_an_answer_cost_no_memory() {
    let gate = Gate::open();
    for frame in [
        Frame::settings(&[(4, 65_535)]),
        Frame::settings(&[]),
        Frame::new(kind::PING, 0, 0, [0; 8]),
        Frame::new(kind::PRIORITY, 0, 3, [0, 0, 0, 1, 0]),
        Frame::new(99, 0, 0, [0; 8]),
    ] {
        let bytes = frame.bytes().repeat(1_000);
        flood(&gate, &mut gate.speak(), 200, || bytes.clone());
    }
}

#[test]
fn header_lists_that_unfold_are_too_large() {
    let gate = Gate::open();
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let large = "x".repeat(3_900);
    // Literal with incremental indexing: then one byte stands for all of it.
    let mut bomb = vec![0x40, 3];
    bomb.extend_from_slice(b"x-a");
    bomb.extend_from_slice(&block(&[("", &large)])[2..]);
    let known = block(&request("GET", "/api/alice/x", &authorization));
    let payload = [known, bomb, vec![0xbe; 10_000]].concat();
    frames.send(&Frame::new(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, payload));
    let verdict = verdict(&mut frames);
    assert!(["431", "stream", "connection"].contains(&&*verdict), "{verdict}");
    gate.backend.is_untouched();
}
