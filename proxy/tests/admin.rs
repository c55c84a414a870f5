//! The admin listener over its socket: what probes and scrapers see.

use std::{cell::Cell, path::Path, rc::Rc};

use ownergate::{
    config::{Address, LogLevel, Sockets},
    serve::{
        Threshold,
        admin::{self, Admin, Phase, Readiness},
        jwks::IssuerReport,
        metrics::Metrics,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::LocalSet,
};

/// The answer to one request, as text.
async fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

async fn get(socket: &Path, path: &str) -> String {
    ask(socket, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await
}

async fn put(socket: &Path, fields: &str, body: &str) -> String {
    let length = body.len();
    let head =
        format!("PUT /log-level HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n");
    ask(socket, &format!("{head}{fields}\r\n{body}")).await
}

fn issuer(standing: &'static str, fault: Option<&str>) -> IssuerReport {
    IssuerReport { issuer: "id".into(), keys: 0, standing, fault: fault.map(str::to_owned) }
}

#[tokio::test]
async fn probes_and_scrapers_are_answered_and_strangers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let phase = Rc::new(Cell::new(Phase::Starting));
    let fetched = Rc::new(Cell::new(false));
    let readiness = {
        let (phase, fetched) = (Rc::clone(&phase), Rc::clone(&fetched));
        move || {
            let issuer =
                if fetched.get() { issuer("current", None) } else { issuer("unfetched", Some("no connection")) };
            Readiness::new(phase.get(), vec![issuer], Some("line 1: no TOML".into()))
        }
    };
    let threshold = Threshold::new(LogLevel::Info);
    let listener = admin::bind(&Address::Unix(socket.clone()), Sockets::default()).unwrap();
    let metrics = Metrics::start().unwrap();
    let admin = Admin { readiness, metrics, threshold: threshold.clone(), jwks: || None };
    let local = LocalSet::new();
    local.spawn_local(admin.serve(listener));
    local
        .run_until(async {
            assert!(get(&socket, "/livez").await.starts_with("HTTP/1.1 200 "));
            phase.set(Phase::Serving);
            let keyless = get(&socket, "/readyz").await;
            assert!(keyless.starts_with("HTTP/1.1 503 "), "{keyless}");
            let told = r#""issuers":[{"issuer":"id","keys":0,"standing":"unfetched","fault":"no connection"}]"#;
            assert!(keyless.contains(told), "{keyless}");
            fetched.set(true);
            let ready = get(&socket, "/readyz").await;
            assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
            assert!(ready.contains(r#""configuration_fault":"line 1: no TOML""#), "{ready}");
            for (unready, told) in [(Phase::Starting, "starting"), (Phase::Draining, "draining")] {
                phase.set(unready);
                let answer = get(&socket, "/readyz").await;
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(answer.contains(&format!(r#""phase":"{told}""#)), "{answer}");
            }
            assert!(get(&socket, "/livez").await.starts_with("HTTP/1.1 200 "));
            assert!(get(&socket, "/metrics").await.contains("text/plain; version=0.0.4"));
            assert!(get(&socket, "/other").await.starts_with("HTTP/1.1 404 "));
            let post = "POST /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            assert!(ask(&socket, post).await.starts_with("HTTP/1.1 405 "));
            let rebound = "GET /metrics HTTP/1.1\r\nhost: evil.com\r\nconnection: close\r\n\r\n";
            assert!(ask(&socket, rebound).await.starts_with("HTTP/1.1 421 "));
            assert!(ask(&socket, "GET /livez HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));

            assert!(get(&socket, "/log-level").await.ends_with("\r\n\r\ninfo"));
            for (fields, body, status) in [
                ("origin: http://localhost\r\n", "debug", 403),
                ("", "verbose", 400),
                ("", "", 400),
                ("", &*"d".repeat(65), 400),
            ] {
                assert!(put(&socket, fields, body).await.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}{body}");
                assert_eq!(threshold.level(), LogLevel::Info, "{fields}{body}");
            }
            assert!(put(&socket, "", "debug\n").await.starts_with("HTTP/1.1 200 "));
            assert_eq!(threshold.level(), LogLevel::Debug);
        })
        .await;
}
