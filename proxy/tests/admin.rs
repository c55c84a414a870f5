//! The admin listener over its socket: what probes and scrapers see.

use std::{cell::Cell, path::Path, rc::Rc};

use ownergate::{
    config::{Address, Sockets},
    serve::{
        admin::{self, Admin, Phase, Readiness},
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

#[tokio::test]
async fn probes_and_scrapers_are_answered_and_strangers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let phase = Rc::new(Cell::new(Phase::Starting));
    let readiness = {
        let phase = Rc::clone(&phase);
        move || Readiness::new(phase.get(), Vec::new(), Some("line 1: no TOML".into()))
    };
    let listener = admin::bind(&Address::Unix(socket.clone()), Sockets::default()).unwrap();
    let admin = Admin { readiness, metrics: Metrics::start().unwrap(), jwks: || None };
    let local = LocalSet::new();
    local.spawn_local(admin.serve(listener));
    local
        .run_until(async {
            assert!(get(&socket, "/livez").await.starts_with("HTTP/1.1 200 "));
            assert!(get(&socket, "/readyz").await.starts_with("HTTP/1.1 503 "));
            phase.set(Phase::Serving);
            let ready = get(&socket, "/readyz").await;
            assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
            assert!(ready.contains(r#""configuration_fault":"line 1: no TOML""#), "{ready}");
            phase.set(Phase::Draining);
            assert!(get(&socket, "/readyz").await.starts_with("HTTP/1.1 503 "));
            assert!(get(&socket, "/livez").await.starts_with("HTTP/1.1 200 "));
            assert!(get(&socket, "/metrics").await.contains("text/plain; version=0.0.4"));
            assert!(get(&socket, "/other").await.starts_with("HTTP/1.1 404 "));
            let post = "POST /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            assert!(ask(&socket, post).await.starts_with("HTTP/1.1 405 "));
            let rebound = "GET /metrics HTTP/1.1\r\nhost: evil.com\r\nconnection: close\r\n\r\n";
            assert!(ask(&socket, rebound).await.starts_with("HTTP/1.1 421 "));
            assert!(ask(&socket, "GET /livez HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
        })
        .await;
}
