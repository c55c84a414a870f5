//! The judges themselves can fail: what the kit must not overlook.

use std::panic::{AssertUnwindSafe, catch_unwind};

use e2e::message::Broken;
use e2e::recorder::{Recorder, Reply};
use e2e::request::Request;
use e2e::wire::{Outcome, Wire};

fn direct(recorder: &Recorder) -> Wire {
    Wire::to(recorder.address())
}

fn fails(check: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(check)).is_err()
}

#[test]
fn the_backend_keeps_exact_bytes() {
    let recorder = Recorder::start();
    let request = Request::new("POST", "/a%2Fb?c")
        .field("X-Mixed", "One")
        .field("TRANSFER-ENCODING", "chunked")
        .raw_body("3\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n");
    assert_eq!(direct(&recorder).ask(&request).expect(200).text(), "ok");
    let received = recorder.only();
    assert_eq!(received.head.raw, request.bytes()[..received.head.raw.len()]);
    assert_eq!((received.target(), received.body.content.as_slice()), ("/a%2Fb?c", b"abc".as_slice()));
    assert_eq!(received.body.trailers, [("X-Trailer".to_owned(), b"t".to_vec())]);
}

#[test]
fn the_backend_tells_malformed_requests_and_cut_bodies() {
    for malformed in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost a\r\n\r\n",
        "GET / HTTP/1.1\r\nBad Name: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
    ] {
        let recorder = Recorder::start();
        let mut wire = direct(&recorder);
        wire.send(malformed);
        assert!(wire.is_closed(), "{malformed:?}");
        assert!(fails(|| drop(recorder.received())), "{malformed:?} was overlooked");
    }
    let recorder = Recorder::start();
    let wire = &mut direct(&recorder);
    wire.send("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf");
    wire.finish_sending();
    assert!(!recorder.wait_for(1)[0].complete);
}

#[test]
fn the_backend_tells_a_second_spelling_of_the_identity() {
    let recorder = Recorder::start();
    for name in ["X_User_Id", "x.user.id", "X-USER-ID"] {
        let request = Request::get("/").field("X-User-Id", "alice").field(name, "bob");
        direct(&recorder).ask(&request).expect(200);
        let received = recorder.received().pop().expect("a request");
        assert!(fails(|| drop(received.user())), "{name} was overlooked");
    }
}

#[test]
fn the_client_tells_malformed_and_cut_answers() {
    for malformed in
        ["HTTP/1.1 200 OK\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"]
    {
        let recorder = Recorder::answering(move |_| Reply::send_and_close(malformed));
        assert!(fails(|| drop(direct(&recorder).ask(&Request::get("/")))), "{malformed:?} was overlooked");
    }
    let recorder = Recorder::answering(|_| Reply::send_and_close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"));
    let mut wire = direct(&recorder);
    wire.send(Request::get("/").bytes());
    assert!(matches!(wire.outcome(), Outcome::Closed));
    let mut silent = direct(&recorder);
    silent.finish_sending();
    assert!(matches!(silent.conversation().take(1), Err(Broken::Cut(_))));
}

#[test]
fn a_refusal_out_of_form_is_told() {
    let body =
        r#"{"type":"about:blank","title":"t","status":401,"detail":"d","code":"token_expired","request_id":"r"}"#;
    let fields = "Content-Type: application/problem+json\r\nCache-Control: no-store\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\n";
    let answered = |fields: &str, body: &str| {
        let answer = format!("HTTP/1.1 401 Unauthorized\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len());
        let recorder = Recorder::answering(move |_| Reply::send(&answer));
        direct(&recorder).ask(&Request::get("/"))
    };
    answered(fields, body).refused(401, "token_expired");
    let faults = [
        (fields.replace("problem+json", "json"), body.to_owned()),
        (fields.replace("no-store", "private"), body.to_owned()),
        (fields.replace("WWW-Authenticate", "X-Authenticate"), body.to_owned()),
        (fields.replace("invalid_token", "other"), body.to_owned()),
        (fields.to_owned(), body.replace("request_id", "id")),
        (fields.to_owned(), body.replace("401", "403")),
        (fields.to_owned(), body.replace("\"d\"", "\"\"")),
        (fields.to_owned(), body.replace("token_expired", "token_missing")),
    ];
    for (fields, body) in faults {
        let answer = answered(&fields, &body);
        assert!(fails(|| answer.refused(401, "token_expired")), "{}", answer.describe());
    }
}
