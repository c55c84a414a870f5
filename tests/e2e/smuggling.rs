//! Request smuggling: what a client sends has one strict reading, or it is refused. A backend sees no request, or
//! exactly the one that was read; what stands behind it on the connection is judged by itself, or never.
//!
//! The classes go by the field's names: the first length is the one that a front believes, the second the backend's.
//! Tests named after a row are of the list of failures that [`crate::regressions`] goes by.

use std::time::Duration;

use e2e::recorder::Received;
use e2e::request::Request;
use e2e::wire::{Outcome, Wire};

use crate::configured::{MAIN, OWNER, configured};
use crate::gate::{Gate, Judged};

const POST: &str = "POST /api/alice/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n";
const CHUNKED: &str =
    "POST /api/alice/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nTransfer-Encoding: chunked\r\n\r\n";
const SMUGGLED: &str = "GET /api/alice/smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n";

/// A client of alice's that sends bytes in which `TOKEN` stands for her token.
struct Smuggler {
    gate: Gate,
    token: String,
}

impl Smuggler {
    fn start() -> Self {
        let gate = Gate::open();
        let token = gate.token("alice");
        Self { gate, token }
    }

    fn sends(&self, bytes: &str) -> Wire {
        let mut wire = self.gate.proxy.connect();
        wire.send(bytes.replace("TOKEN", &self.token));
        wire
    }

    /// The requests that arrived whole, once one more has.
    #[track_caller]
    fn arrived(&self) -> Vec<Received> {
        self.gate.proxy.ask(&self.gate.by_alice("/api/alice/last")).expect(200);
        let whole = |received: &Received| received.complete && received.target() != "/api/alice/last";
        self.gate.backend.received().into_iter().filter(whole).collect()
    }
}

/// Heads that are refused with 400: not a byte reaches the backend, and nothing more is read from the connection.
#[track_caller]
fn heads_are_refused<T: AsRef<str>>(heads: &[T]) {
    let smuggler = Smuggler::start();
    let mut judged = Judged::default();
    for head in heads {
        let mut wire = smuggler.sends(&[head.as_ref(), SMUGGLED, SMUGGLED].concat());
        let verdict = match wire.outcome() {
            Outcome::Closed => "closed".to_owned(),
            Outcome::Answered(answer) => answer.status.to_string(),
        };
        let goes_on = if wire.is_closed() { "" } else { ", and the connection goes on" };
        judged.compare(&format!("{:?}", head.as_ref()), &format!("{verdict}{goes_on}"), "400");
    }
    judged.all_right();
    smuggler.gate.backend.is_untouched();
}

/// Chunked bodies that never arrive whole, nor anything that stands behind them.
#[track_caller]
fn chunks_are_refused<T: AsRef<str>>(bodies: &[T]) {
    let smuggler = Smuggler::start();
    for body in bodies {
        let mut wire = smuggler.sends(&[CHUNKED, body.as_ref(), SMUGGLED].concat());
        let status = wire.outcome().status();
        assert!(!matches!(status, Some(200..=299)), "{:?}: {status:?}", body.as_ref());
    }
    let arrived = smuggler.arrived();
    assert!(arrived.is_empty(), "{arrived:?}");
}

/// Requests that are read as this body and no other, and the one behind as itself.
#[track_caller]
fn have_one_reading<T: AsRef<str>>(body: &str, requests: &[T]) {
    for request in requests {
        let smuggler = Smuggler::start();
        let mut wire = smuggler.sends(&[request.as_ref(), SMUGGLED].concat());
        wire.answer().expect(200);
        wire.answer().expect(200);
        let arrived: Vec<_> = smuggler
            .arrived()
            .into_iter()
            .map(|received| {
                (received.target().to_owned(), String::from_utf8_lossy(&received.body.content).into_owned())
            })
            .collect();
        let wanted = [("/api/alice/x", body), ("/api/alice/smuggled", "")];
        assert_eq!(
            arrived,
            wanted.map(|(target, body)| (target.to_owned(), body.to_owned())),
            "{:?}",
            request.as_ref()
        );
    }
}

fn posts(lines: &[&str], body: &str) -> Vec<String> {
    lines.iter().map(|lines| format!("{POST}{lines}\r\n\r\n{body}")).collect()
}

#[test]
fn cl_te_and_te_cl_have_one_reading_and_end_the_connection() {
    // RFC 9112 §6.3: the coding alone is read, the length goes, and nothing more is read from the connection.
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "content-length: 13\r\nX: y\r\nTRANSFER-ENCODING: Chunked\r\n",
    ] {
        let smuggler = Smuggler::start();
        let mut wire = smuggler.sends(&format!("{POST}{lines}\r\n3\r\nabc\r\n0\r\n\r\n{SMUGGLED}"));
        assert!(matches!(wire.outcome().status(), Some(200 | 400)), "{lines:?}");
        assert!(wire.is_closed(), "{lines:?}");
        for received in smuggler.arrived() {
            assert_eq!((received.target(), received.body.content.as_slice()), ("/api/alice/x", b"abc".as_slice()));
        }
    }
}

#[test]
fn cl_cl_is_refused_where_the_two_differ_and_one_length_where_not() {
    heads_are_refused(&posts(
        &["Content-Length: 3\r\nContent-Length: 4", "Content-Length: 3\r\ncontent-length: 03, 3"],
        "abc",
    ));
    have_one_reading("abc", &posts(&["Content-Length: 3\r\nContent-Length: 3"], "abc"));
}

#[test]
fn te_te_obfuscated_codings_are_refused() {
    let lines = [
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: , chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: \x00chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "Transfer-Encoding: chun\r\n ked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: identity",
        "Transfer-Encoding\x00: chunked",
        "Transfer\u{2010}Encoding: chunked",
        "Transfer-Encoding chunked",
    ];
    heads_are_refused(&posts(&lines, "0\r\n\r\n"));
}

#[test]
fn te_te_other_names_are_no_framing_and_plain_spellings_are() {
    // An alias that some backend might read as the real one must not arrive beside the framing that was believed.
    for lines in ["Transfer_Encoding: chunked", "X-Transfer-Encoding: chunked", "Transfer.Encoding: chunked"] {
        let gate = Gate::open();
        let (name, value) = lines.split_once(": ").expect("a field");
        let received =
            gate.forwards(&Request::post("/api/alice/x", "abc").bearer(&gate.token("alice")).field(name, value));
        assert_eq!(received.body.content, b"abc", "{lines}");
        assert!(received.head.aliases("transfer-encoding").is_empty(), "{:?}", received.head.fields);
    }
    let lines = ["Transfer-Encoding: chunked", "transfer-encoding:chunked", "Transfer-Encoding: \t CHUNKED \t"];
    have_one_reading("abc", &posts(&lines, "3\r\nabc\r\n0\r\n\r\n"));
}

#[test]
fn lengths_that_are_no_number_are_refused() {
    let lengths = [
        "+5",
        "-5",
        "-0",
        "5, 6",
        "5, 5",
        "0x5",
        "5 5",
        "5abc",
        "5.0",
        "5;",
        "\u{ff15}",
        "",
        " ",
        "1e1",
        "5\t5",
        "18446744073709551616",
        "99999999999999999999",
    ];
    let lines = lengths.map(|length| format!("Content-Length: {length}"));
    heads_are_refused(&posts(&lines.each_ref().map(String::as_str), "abcde"));
    heads_are_refused(&posts(
        &["Content-Length : 5", "Content-Length\t: 5", "Content-Length\x00: 5", "Content-Length:\r\n 5"],
        "abcde",
    ));
    have_one_reading("abcde", &posts(&["Content-Length: 5", "content-length:\t5\t", "Content-Length: 005"], "abcde"));
}

#[test]
fn heads_with_stray_bytes_are_refused() {
    let lines = [
        "X: y\rContent-Length: 5",
        "X: y\r",
        "X\rY: z",
        "\rX: y",
        " Content-Length: 5",
        "\tContent-Length: 5",
        "Bad Name: x",
        "Bad\x00Name: x",
        "Bad\u{e9}Name: x",
        "X: \x00",
        "X: a\x00Content-Length: 5",
        "X: \x7f",
        "NoColon",
        ": x",
        "(X): y",
    ];
    heads_are_refused(&posts(&lines, ""));
    let request_lines = [
        "GET /api/alice/x\r\n",
        "GET /api/alice/x HTTP/0.9\r\n",
        "GET /api/alice/x HTTP/1.2\r\n",
        "GET /api/alice/x HTTP/2.0\r\n",
        "GET /api/alice/x HTTP/1.1 \r\n",
        "GET /api/alice/x HTTP/1.1 GET /api/alice/y HTTP/1.1\r\n",
        "GET /api/alice/x http/1.1\r\n",
        "GET  /api/alice/x HTTP/1.1\r\n",
        "GET /api/alice/x  HTTP/1.1\r\n",
        "GET\t/api/alice/x\tHTTP/1.1\r\n",
        " GET /api/alice/x HTTP/1.1\r\n",
        "GET /api/alice/x HTTP/1.1\r",
        "G\x00T /api/alice/x HTTP/1.1\r\n",
        "GET /api/alice/x\x00 HTTP/1.1\r\n",
    ];
    let heads = request_lines.map(|line| format!("{line}Host: a\r\nAuthorization: Bearer TOKEN\r\n\r\n"));
    heads_are_refused(&heads);
}

#[test]
fn http_1_0_has_no_transfer_coding() {
    let old = POST.replace("HTTP/1.1", "HTTP/1.0");
    heads_are_refused(&[
        format!("{old}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{old}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{old}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ]);
}

#[test]
fn empty_lines_before_a_request_are_skipped_and_no_request() {
    // RFC 9112 §2.2.
    have_one_reading(
        "abc",
        &posts(&["Content-Length: 3"], "abc").iter().map(|post| format!("\r\n{post}")).collect::<Vec<_>>(),
    );
}

#[test]
fn chunk_sizes_that_are_no_number_are_refused() {
    chunks_are_refused(&[
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3_0\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
        "\u{ff13}\r\nabc\r\n0\r\n\r\n",
        "3,\r\nabc\r\n0\r\n\r\n",
        "\"3\"\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        ";x\r\nabc\r\n0\r\n\r\n",
        "\r\n\r\n",
        "3\x00\r\nabc\r\n0\r\n\r\n",
    ]);
}

#[test]
fn row_97_a_chunk_size_that_overflows() {
    chunks_are_refused(&[
        "f0000000000000003\r\nabc\r\n0\r\n\r\n",
        "10000000000000000\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    ]);
    // Leading zeros change nothing about a number, up to what the parser cares to read.
    let smuggler = Smuggler::start();
    drop(smuggler.sends(&[CHUNKED, "00000000000000000000000000000003\r\nabc\r\n0\r\n\r\n"].concat()).outcome());
    assert!(smuggler.arrived().iter().all(|received| received.body.content == b"abc"));
}

#[test]
fn chunk_lines_end_with_crlf_alone() {
    chunks_are_refused(&[
        "3\nabc\n0\n\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\rabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 \nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\n",
    ]);
    // Behind the last chunk it is part of the trailers, which end with CRLF alone: what follows is theirs, no request.
    let smuggler = Smuggler::start();
    smuggler.sends(&[CHUNKED, "3\r\nabc\r\n0\r\n\n", SMUGGLED].concat()).outcome();
    for received in smuggler.arrived() {
        assert_eq!((received.target(), received.body.content.as_slice()), ("/api/alice/x", b"abc".as_slice()));
    }
}

#[test]
fn chunk_extensions_are_dropped_or_refused_and_never_hide_a_line_end() {
    chunks_are_refused(&[
        "3;x\ny\r\nabc\r\n0\r\n\r\n",
        "3;x\n\r\nabc\r\n0\r\n\r\n",
        "3;\"x\n\"\r\nabc\r\n0\r\n\r\n",
        "3;x\ry\r\nabc\r\n0\r\n\r\n",
        &format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(1 << 20)),
        &"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n".repeat(1_000),
    ]);
    let extensions = [";x", ";x=y", ";x=\"y\"", ";x=\";\"", " ;x", ";", ";x=\"0\\\"\""];
    have_one_reading(
        "abc",
        &extensions.map(|extension| format!("{CHUNKED}3{extension}\r\nabc\r\n0{extension}\r\n\r\n")),
    );
}

#[test]
fn what_stands_behind_the_last_chunk_is_trailers_or_refused() {
    chunks_are_refused(&[
        "3\r\nabc\r\n0\r\nno trailer\r\n\r\n",
        "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        "3\r\nabc\r\n0\r\n\rX: y\r\n\r\n",
    ]);
    // Trailers of whatever name change neither framing nor caller.
    let trailers = "X-User-Id: bob\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\n";
    have_one_reading("abc", &[format!("{CHUNKED}3\r\nabc\r\n0\r\n{trailers}\r\n")]);
}

#[test]
fn a_body_without_its_last_line_end_is_not_whole() {
    let smuggler = Smuggler::start();
    for body in ["3\r\nabc\r\n0\r\n", "3\r\nabc\r\n0", "3\r\nabc\r\n", "3\r\nabc"] {
        let mut wire = smuggler.sends(&[CHUNKED, body].concat()).patient(Duration::from_millis(500));
        wire.finish_sending();
        assert_ne!(wire.outcome().status(), Some(200), "{body:?}");
    }
    let arrived = smuggler.arrived();
    assert!(arrived.is_empty(), "{arrived:?}");
}

#[test]
fn a_pipelined_request_is_judged_by_itself() {
    let smuggler = Smuggler::start();
    let bobs = "GET /api/bob/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n";
    let nobodys = "GET /api/alice/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let absolute = "GET http://a/api/alice/absolute HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n";
    let with_body =
        "GET /api/alice/get HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 3\r\n\r\nabc";
    let post = format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n");
    let mut wire = smuggler.sends(&[with_body, bobs, nobodys, &post, absolute, SMUGGLED].concat());
    let statuses: Vec<_> = (0..6).map(|_| wire.answer().status).collect();
    assert_eq!(statuses, [200, 403, 401, 200, 200, 200]);
    let targets: Vec<_> = smuggler.arrived().iter().map(|received| received.target().to_owned()).collect();
    assert_eq!(targets, ["/api/alice/get", "/api/alice/x", "/api/alice/absolute", "/api/alice/smuggled"]);
}

#[test]
fn a_malformed_request_behind_a_good_one_reaches_nobody() {
    let smuggler = Smuggler::start();
    let bad = format!("{POST}Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc");
    let mut wire = smuggler.sends(&[SMUGGLED, &bad, SMUGGLED].concat());
    assert_eq!((wire.answer().status, wire.answer().status), (200, 400));
    assert!(wire.is_closed());
    assert_eq!(smuggler.arrived().len(), 1);
}

#[test]
fn row_91_a_length_hidden_behind_a_long_name() {
    let long = "x".repeat(256);
    let request = format!(
        "POST /api/alice/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 4\r\n{long}: 1\r\nContent-Length: 5\r\n\r\nabcde"
    );
    heads_are_refused(&[request]);
}

#[test]
fn row_92_an_empty_header_name() {
    heads_are_refused(&["GET /api/alice/x HTTP/1.1\r\nHost: a\r\n: x\r\nAuthorization: Bearer TOKEN\r\n\r\n"]);
}

#[test]
fn row_94_a_body_on_get_is_a_body() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let inner = Request::get("/api/alice/smuggled").bearer(&token).bytes();
    let request = Request::get("/api/alice/x").bearer(&token).body(&inner);
    let received = gate.forwards(&request);
    assert_eq!((received.target(), &received.body.content), ("/api/alice/x", &inner));
}

#[test]
fn row_98_a_head_whose_lines_end_with_line_feeds_alone_is_refused() {
    let lines =
        ["Content-Length: 3\nX: y", "X: y\nContent-Length: 3", "X: y\n\nGET /api/alice/smuggled HTTP/1.1", "X:\ny"];
    let mut heads = posts(&lines, "abc");
    heads.push(POST.replace("\r\n", "\n") + "\n");
    heads.push(format!("{POST}\n"));
    heads.push(format!("\n{POST}\r\n"));
    heads_are_refused(&heads);
    // Nor on a connection that has served others: after a body, after a refusal, in two pieces.
    let smuggler = Smuggler::start();
    let refused = POST.replace("alice", "bob") + "Content-Length: 3\r\n\r\na\nb";
    let served = format!("{POST}Content-Length: 3\r\n\r\na\nb");
    for before in [refused, served, format!("{CHUNKED}3\r\na\nb\r\n0\r\n\r\n"), SMUGGLED.to_owned()] {
        let mut wire = smuggler.sends(&before);
        wire.answer();
        let again = wire.ask(&smuggler.gate.by_alice("/api/alice/last"));
        assert_eq!(again.expect(200).text(), "ok", "{before:?}");
        for piece in [POST, "X: y\nContent-Length: 3\r\n\r\nabc"] {
            wire.send(piece.replace("TOKEN", &smuggler.token));
        }
        wire.answer().refused(400, "request_malformed");
        assert!(wire.is_closed(), "{before:?}");
    }
}

#[test]
fn row_98_a_head_is_one_behind_a_body_that_came_after_its_refusal_too() {
    let gate = configured(&format!("[server]\nworkers = 1\n{MAIN}{OWNER}"));
    let mut wire = gate.proxy.connect();
    wire.ask(&Request::new("POST", "/api/alice/x").field("Content-Length", "3")).refused(401, "token_missing");
    wire.send("abc");
    // The worker has read it before it answers somebody else.
    gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200);
    wire.send("GET /api/alice/x HTTP/1.1\nHost: a\r\n\r\n");
    wire.answer().refused(400, "request_malformed");
}

#[test]
fn line_feeds_in_bodies_are_nobodys_concern() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let body = "{\n  \"title\": \"milk\"\n}\n".repeat(1_000);
    let mut wire = gate.proxy.connect();
    for round in 0..20 {
        let user = if round % 3 == 0 { "bob" } else { "alice" };
        let request = Request::post(format!("/api/{user}/x"), &body).bearer(&token).bytes();
        // With the head, behind it, and across the two.
        let head = request.len() - body.len();
        let cut = [request.len(), head, head - 2, head + 10, 20][round % 5];
        wire.send(&request[..cut]);
        wire.send(&request[cut..]);
        assert_eq!(wire.answer().status, if user == "bob" { 403 } else { 200 }, "round {round}");
    }
}

#[test]
fn row_99_an_unread_body_is_not_the_next_request() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let smuggled = Request::get("/api/alice/smuggled").bearer(&token).bytes();
    let mut wire = gate.proxy.connect();
    wire.send(Request::post("/api/bob/x", smuggled).bearer(&token).bytes());
    wire.answer().refused(403, "not_owner");
    wire.send(Request::get("/api/alice/next").bearer(&token).bytes());
    wire.outcome();
    assert!(gate.backend.received().iter().all(|received| received.target() == "/api/alice/next"));
}
