//! A path has one reading, or is refused: no spelling of alice's path is bob's to anybody.

use std::collections::BTreeSet;

use e2e::request::Request;
use e2e::wire::{Outcome, Wire};

use crate::gate::{Gate, Judged};

const AMBIGUOUS: &str = "400 path_ambiguous";
/// For bytes that the HTTP parser may refuse before the proxy sees a path.
const AMBIGUOUS_OR_BARE: &str = "400 path_ambiguous | 400";

#[test]
fn ambiguous_spellings_are_refused() {
    let gate = Gate::open();
    let mut judged = Judged::default();
    for target in [
        "/api/alice/.",
        "/api/alice/..",
        "/api/alice/./x",
        "/api/alice/../bob/x",
        "/api/./alice/x",
        "/../api/alice/x",
        "/api/alice/%2e%2e/bob/x",
        "/api/alice/%2E%2E/bob/x",
        "/api/alice/.%2e/bob/x",
        "/api/alice/%2e./bob/x",
        "/api/alice/%2e/x",
        "//api/alice/x",
        "/api//alice/x",
        "/api/alice//x",
        "/api/alice/x//",
        "///",
        "//",
        "/api/alice/x;y=1",
        "/api/alice;x=1/y",
        "/api;/alice/x",
        "/api/alice/%3b",
        "/api/alice%3Bx/y",
        "/api/alice%2fx",
        "/api/alice%2Fx",
        "/api/alice%2f..%2fbob/x",
        "/api%2falice/x",
        "/api/alice%5cx",
        "/api/alice/..%5cbob/x",
        "/api/alice/%00",
        "/api/alice%00/x",
        "/api/alice/%0a",
        "/api/alice/%0d%0aX-User-Id:%20bob",
        "/api/alice/%1b",
        "/api/alice/%7f",
        "/api/alice/%c2%85",
        "/api/alice/%",
        "/api/alice/%2",
        "/api/alice/%zz",
        "/api/alice/%2z",
        "/api/alice/%u002e",
        "/api/%2561lice/x",
        "/api/alice/%252e%252e/bob/x",
        "/api/alice%252f..%252fbob",
        "/api/alice/%255c",
        "/api/alice/%25%32%65",
        "/api/alice/%c0%ae%c0%ae/bob",
        "/api/%c0%aebob/x",
        "/api/alice/%ff",
        "/api/alice/%e9",
        "/api/alice/%ed%a0%80",
        "/api/alice/%f5%80%80%80",
        "/api/alice/%e2%82",
    ] {
        judged.compare(target, &gate.verdict(&gate.by_alice(target)), AMBIGUOUS);
    }
    for target in [
        "/api/alice\\x",
        "/api/alice/..\\bob/x",
        "/api/alice/a|b",
        "/api/alice/a^b",
        "/api/alice/a`b",
        "/api/alice/{a}",
        "/api/alice/a\"b",
        "/api/alice/<a>",
        "/api/alice/[a]",
        "/api/alice/é",
    ] {
        judged.compare(target, &gate.verdict(&gate.by_alice(target)), AMBIGUOUS_OR_BARE);
    }
    for bytes in
        [b"/api/alice/\xe9".as_slice(), b"/api/alice/\x80", b"/api/alice/\xff", b"/api/alice/\x7f", b"/api/alice/\x01"]
    {
        let name = bytes.escape_ascii().to_string();
        judged.compare(&name, &gate.verdict(&gate.by_alice(bytes)), AMBIGUOUS_OR_BARE);
    }
    judged.all_right();
}

#[test]
fn an_ambiguous_path_is_refused_with_or_without_a_token() {
    let gate = Gate::open();
    assert_eq!(gate.verdict(&Request::get("/api/alice/../bob")), AMBIGUOUS);
    assert_eq!(gate.verdict(&Request::get("/api/alice/../bob").bearer("junk")), AMBIGUOUS);
}

#[test]
fn a_fragment_is_refused_or_cut_off() {
    let gate = Gate::open();
    let token = gate.token("alice");
    for (target, cut) in [("/api/alice/x#/health", "/api/alice/x"), ("/api/alice#/../bob/x", "/api/alice")] {
        let answer = gate.proxy.ask(&Request::get(target).bearer(&token));
        if answer.status == 200 {
            assert_eq!(gate.backend.received().last().expect("a request").target(), cut);
        } else {
            assert_eq!(answer.status, 400, "{}", answer.describe());
        }
    }
    let verdict = gate.verdict(&Request::get("/api/bob/x#/../../alice").bearer(&token));
    assert!(["403 not_owner", AMBIGUOUS, "400"].contains(&verdict.as_str()), "{verdict}");
}

#[test]
fn the_query_is_forwarded_byte_for_byte_and_decides_nothing() {
    let gate = Gate::open();
    let token = gate.token("alice");
    for query in [
        "?",
        "??",
        "?a=b",
        "?a=b&a=c&&",
        "?next=/health",
        "?x=/../../api/bob/x",
        "?x=%2e%2e%2f%00%ff%zz%",
        "?user_id=bob&X-User-Id=bob",
        "?a;b\\c//d",
        "?a=%2561",
        "?/api/bob/x?y",
        "?a=b'()*!~",
    ] {
        let target = format!("/api/alice/x{query}");
        assert_eq!(gate.forwards(&Request::get(&target).bearer(&token)).target(), target);
        let other = format!("/api/bob/x{query}");
        assert_eq!(gate.verdict(&Request::get(&other).bearer(&token)), "403 not_owner", "{other}");
    }
}

#[test]
fn the_host_is_one_authority_that_agrees_with_the_target() {
    let gate = Gate::open();
    let bearer = format!("Authorization: Bearer {}\r\n\r\n", gate.token("alice"));
    let mut judged = Judged::default();
    let malformed = "400 request_malformed | 400";
    for (head, wanted) in [
        ("GET /api/alice/x HTTP/1.1\r\nHost: app.test\r\n", "forwarded"),
        ("GET /api/alice/x HTTP/1.1\r\nHost: app.test:8080\r\n", "forwarded"),
        ("GET /api/alice/x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n", "forwarded"),
        ("GET /api/alice/x HTTP/1.1\r\nHost: [::1]:8080\r\n", "forwarded"),
        ("GET /api/alice/x HTTP/1.1\r\nHost: APP.test\r\n", "forwarded"),
        ("GET /api/alice/x HTTP/1.1\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a.test, b.test\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a.test/b\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: user@a.test\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a b\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a.test:port\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a.test?x\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: a.test#x\r\n", malformed),
        ("GET /api/alice/x HTTP/1.1\r\nHost: http://a.test\r\n", malformed),
        ("GET http://app.test/api/alice/x HTTP/1.1\r\nHost: app.test\r\n", "forwarded"),
        ("GET http://evil.test/api/alice/x HTTP/1.1\r\nHost: app.test\r\n", malformed),
        ("GET http://app.test:81/api/alice/x HTTP/1.1\r\nHost: app.test\r\n", malformed),
        ("GET http://user@app.test/api/alice/x HTTP/1.1\r\nHost: app.test\r\n", malformed),
        ("GET http://app.test/api/alice/x HTTP/1.1\r\n", malformed),
        ("GET http://app.test/api/bob/x HTTP/1.1\r\nHost: app.test\r\n", "403 not_owner"),
        ("GET http://app.test//api/alice/x HTTP/1.1\r\nHost: app.test\r\n", AMBIGUOUS),
    ] {
        judged.compare(head, &gate.verdict_of(format!("{head}{bearer}")), wanted);
    }
    judged.all_right();
    for received in gate.backend.received() {
        assert_eq!(received.target(), "/api/alice/x", "the backend gets the origin form");
        assert_eq!(received.head.values("host").len(), 1, "{:?}", received.head);
    }
}

#[test]
fn connect_and_trace_are_refused_before_anything_else() {
    let gate = Gate::open();
    let token = gate.token("alice");
    gate.judges([
        ("TRACE", Request::new("TRACE", "/api/alice/x").bearer(&token), "405 method_not_allowed"),
        ("TRACE without a token", Request::new("TRACE", "/api/alice/x"), "405 method_not_allowed"),
        (
            "CONNECT",
            Request::new("CONNECT", "app.test:443").field("Host", "app.test:443").bearer(&token),
            "405 method_not_allowed",
        ),
        (
            "CONNECT without a token",
            Request::new("CONNECT", "app.test:443").field("Host", "app.test:443"),
            "405 method_not_allowed",
        ),
    ]);
}

#[test]
fn targets_that_are_no_path_are_refused() {
    let gate = Gate::open();
    let token = gate.token("alice");
    let mut judged = Judged::default();
    for (method, target) in [
        ("OPTIONS", "*"),
        ("GET", "*"),
        ("GET", "api/alice/x"),
        ("GET", "app.test:80"),
        ("GET", "?x"),
        ("GET", "http:/api/alice/x"),
        ("GET", "javascript:/api/alice/x"),
    ] {
        let request = Request::new(method, target).bearer(&token);
        let verdict = gate.verdict(&request);
        judged.compare(target, &verdict, "400 | 400 request_malformed | 400 path_ambiguous | 404 route_unknown");
    }
    judged.all_right();
}

/// Ways in which backends, frameworks and file systems read a path more leniently than RFC 3986 asks them to.
mod lenient {
    use std::collections::BTreeSet;

    type Step = fn(&[u8]) -> Vec<u8>;

    const STEPS: [Step; 10] = [
        percent_decoded,
        backslashes_turned,
        slashes_merged,
        parameters_cut,
        fragment_cut,
        dots_resolved,
        overlong_decoded,
        lower_cased,
        nul_cut,
        trimmed,
    ];

    /// Everything that up to four steps, in any order and repeated, make of `path`.
    pub(super) fn readings(path: &[u8]) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::from([path.to_vec()]);
        let mut newest = all.clone();
        for _ in 0..4 {
            let next: BTreeSet<Vec<u8>> = newest
                .iter()
                .flat_map(|path| STEPS.iter().map(|step| step(path)))
                .filter(|path| !all.contains(path))
                .collect();
            all.extend(next.iter().cloned());
            newest = next;
        }
        all
    }

    fn percent_decoded(path: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut rest = path;
        while let Some((&first, tail)) = rest.split_first() {
            let hex = tail.get(..2).filter(|_| first == b'%');
            let byte =
                hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            decoded.push(byte.unwrap_or(first));
            rest = if byte.is_some() { &tail[2..] } else { tail };
        }
        decoded
    }

    fn backslashes_turned(path: &[u8]) -> Vec<u8> {
        path.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect()
    }

    fn slashes_merged(path: &[u8]) -> Vec<u8> {
        let mut merged = path.to_vec();
        merged.dedup_by(|second, first| *second == b'/' && *first == b'/');
        merged
    }

    fn parameters_cut(path: &[u8]) -> Vec<u8> {
        let segments = path.split(|&byte| byte == b'/');
        let bare = segments.map(|segment| segment.split(|&byte| byte == b';').next().unwrap_or_default());
        bare.collect::<Vec<_>>().join(&b'/')
    }

    fn fragment_cut(path: &[u8]) -> Vec<u8> {
        path.split(|&byte| byte == b'#').next().unwrap_or_default().to_vec()
    }

    fn dots_resolved(path: &[u8]) -> Vec<u8> {
        let mut kept: Vec<&[u8]> = Vec::new();
        for segment in path.split(|&byte| byte == b'/') {
            match segment {
                b"." => {}
                b".." if kept.len() > 1 => drop(kept.pop()),
                b".." => {}
                other => kept.push(other),
            }
        }
        kept.join(&b'/')
    }

    /// The two-byte forms of ASCII that RFC 3629 forbids.
    fn overlong_decoded(path: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut rest = path;
        while !rest.is_empty() {
            let (byte, used) = match rest {
                [first @ (0xc0 | 0xc1), second, ..] => ((first & 1) << 6 | second & 0x3f, 2),
                [first, ..] => (*first, 1),
                [] => break,
            };
            decoded.push(byte);
            rest = &rest[used..];
        }
        decoded
    }

    fn lower_cased(path: &[u8]) -> Vec<u8> {
        path.to_ascii_lowercase()
    }

    fn nul_cut(path: &[u8]) -> Vec<u8> {
        path.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
    }

    fn trimmed(path: &[u8]) -> Vec<u8> {
        let segments = path.split(|&byte| byte == b'/');
        segments.map(<[u8]>::trim_ascii).collect::<Vec<_>>().join(&b'/')
    }
}

/// Spellings of a way from alice's folder to bob's: joints of every kind between the two names.
fn spellings() -> BTreeSet<Vec<u8>> {
    const JOINTS: [&[u8]; 40] = [
        b"",
        b"/",
        b"//",
        b"\\",
        b"%2f",
        b"%2F",
        b"%5c",
        b"%252f",
        b"%255c",
        b"%c0%af",
        b"%c1%9c",
        b"%ef%bc%8f",
        b";",
        b"%3b",
        b"%253b",
        b"%00",
        b"%2500",
        b"#",
        b"%23",
        b"?",
        b"%3f",
        b"%20",
        b"%09",
        b"+",
        b"%0a",
        b"%0d",
        b".",
        b"%2e",
        b"%252e",
        b"%c0%ae",
        b"%ef%bc%8e",
        b"%",
        b"%%",
        b"%2",
        b"%u002f",
        b",",
        b"&",
        b"=",
        b":",
        b"@",
    ];
    const DOTS: [&[u8]; 12] = [
        b"..",
        b"%2e%2e",
        b".%2e",
        b"%2E.",
        b"%252e%252e",
        b"..;",
        b"..%00",
        b"..%20",
        b"%c0%ae%c0%ae",
        b"%ef%bc%8e%ef%bc%8e",
        b"...",
        b".",
    ];
    let mut spellings = BTreeSet::new();
    for before in JOINTS {
        for dots in DOTS {
            for after in JOINTS {
                spellings.insert([b"/api/alice", before, dots, after, b"bob/x"].concat());
            }
        }
        for owner in [b"bob".as_slice(), b"%62ob", b"%2562ob", b"BOB", b"bo%62"] {
            spellings.insert([b"/api/alice/..", before, owner, b"/x"].concat());
            spellings.insert([b"/api", before, owner, b"/../alice/x"].concat());
            spellings.insert([b"/api/", owner, before, b"alice/x"].concat());
            spellings.insert([b"/api/alice", before, owner, b"/x"].concat());
            spellings.insert([before, b"/api/", owner, b"/x"].concat());
            spellings.insert([b"/api/", before, owner, b"/x"].concat());
        }
    }
    spellings
}

/// Whether a backend would look up bob's things for this reading.
fn is_bobs(reading: &[u8]) -> bool {
    let path = reading.split(|&byte| byte == b'?').next().unwrap_or_default();
    let mut segments = path.split(|&byte| byte == b'/').skip(1);
    segments.next() == Some(b"api") && segments.next() == Some(b"bob")
}

#[test]
fn no_spelling_leads_a_lenient_backend_from_alice_to_bob() {
    assert!(lenient::readings(b"/api/alice/%252e%252E\\bob/x").iter().any(|reading| is_bobs(reading)));
    let gate = Gate::open();
    let token = gate.token("alice");
    let mut wire: Option<Wire> = None;
    for spelling in spellings() {
        let request = Request::get(&spelling).bearer(&token);
        let connection = wire.get_or_insert_with(|| gate.proxy.connect());
        connection.send(request.bytes());
        match connection.outcome() {
            Outcome::Closed => wire = None,
            Outcome::Answered(answer) => {
                assert!(answer.status < 500, "{}", answer.describe());
                if answer.header("connection").as_deref() == Some("close") {
                    wire = None;
                }
            }
        }
    }
    let received = gate.backend.received();
    assert!(received.len() > 100, "too few spellings were harmless: {}", received.len());
    for request in received {
        assert_eq!(request.user(), b"alice");
        let readings = lenient::readings(request.target().as_bytes());
        let bobs = readings.iter().find(|reading| is_bobs(reading));
        assert!(
            bobs.is_none(),
            "{} reads as {:?}",
            request.target(),
            bobs.map(|reading| reading.escape_ascii().to_string())
        );
    }
}
