//! Browsers of listed origins can ask and read; others learn nothing.

use e2e::recorder::{Recorder, Reply};
use e2e::request::Request;
use e2e::token::Token;

use crate::configured::{MAIN, OWNER, configured, configured_before};

const CORS: &str = r#"
    [route.cors]
    origins = ["https://app.example"]
    methods = ["GET", "POST"]
    headers = ["Authorization", "Content-Type"]
    expose = ["Location"]
    max_age_seconds = 600
"#;

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/api/alice/x")
        .field("Origin", origin)
        .field("Access-Control-Request-Method", "POST")
        .field("Access-Control-Request-Headers", "authorization,content-type")
}

#[test]
fn a_preflight_is_answered_without_a_token_and_without_the_backend() {
    let gate = configured(&format!("{MAIN}{OWNER}{CORS}"));
    let answer = gate.proxy.ask(&preflight("https://app.example"));
    assert!([200, 204].contains(&answer.status), "{}", answer.describe());
    assert_eq!(answer.header("access-control-allow-origin").as_deref(), Some("https://app.example"));
    let allowed = |name: &str| answer.header(name).unwrap_or_default().to_lowercase();
    assert!(allowed("access-control-allow-methods").contains("post"));
    assert!(allowed("access-control-allow-headers").contains("authorization"));
    assert_eq!(allowed("access-control-max-age"), "600");
    assert!(allowed("vary").contains("origin"), "{}", answer.describe());
    gate.backend.is_untouched();
}

#[test]
fn other_origins_get_no_cors_headers() {
    let gate = configured(&format!("{MAIN}{OWNER}{CORS}"));
    for origin in [
        "https://evil.example",
        "https://app.example.evil.test",
        "http://app.example",
        "https://APP.example:443",
        "null",
    ] {
        let answer = gate.proxy.ask(&preflight(origin));
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let answer = gate.proxy.ask(&gate.by_alice("/api/alice/x").field("Origin", origin));
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[test]
fn a_browser_can_read_its_answers_and_its_refusals() {
    let backend = Recorder::answering(|_| {
        Reply::send("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok")
    });
    let gate = configured_before(backend, &format!("{MAIN}{OWNER}{CORS}"));
    let from = |request: Request| gate.proxy.ask(&request.field("Origin", "https://app.example"));
    let expired = Token::of("alice").claim("exp", 1).signed_by(&gate.key);
    for (answer, status) in [
        (from(gate.by_alice("/api/alice/x")), 200),
        (from(Request::get("/api/alice/x")), 401),
        (from(Request::get("/api/alice/x").bearer(&expired)), 401),
        (from(gate.by_alice("/api/bob/x")), 403),
    ] {
        assert_eq!(answer.status, status);
        assert_eq!(answer.head.values("access-control-allow-origin"), ["https://app.example"], "{}", answer.describe());
    }
    let plain = Request::new("OPTIONS", "/api/alice/x").field("Origin", "https://app.example");
    from(plain).refused(401, "token_missing");
}
