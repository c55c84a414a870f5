//! The supervised backend: waited for, cut off from the proxy's secrets, stopped with the proxy.

use std::{ffi::OsString, os::unix::process::ExitStatusExt, time::Duration};

use ownergate::{
    config::Endpoint,
    serve::child::{Backend, BackendFault},
};
use tokio::net::UnixListener;

const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

#[tokio::test]
async fn a_backend_is_waited_for_until_it_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backend.sock");
    let endpoint = Endpoint::Unix(path.clone());
    let mut backend = Backend::start(&shell("exec sleep 60"), &[]).unwrap();
    let waiting = tokio::spawn(async move { backend.accepts(&endpoint).await.map(|()| backend) });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let _listener = UnixListener::bind(path).unwrap();
    let backend = waiting.await.unwrap().unwrap();
    assert_eq!(backend.stop(LONG).await.signal(), Some(15));
}

#[tokio::test]
async fn a_backend_that_ends_before_it_accepts_is_a_failed_start() {
    let mut backend = Backend::start(&shell("exit 3"), &[]).unwrap();
    let fault = backend.accepts(&Endpoint::Unix("/nonexistent/backend.sock".into())).await.unwrap_err();
    let BackendFault::Died { status, .. } = fault else { panic!("{fault}") };
    assert_eq!(status.code(), Some(3));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failed_start() {
    let fault = Backend::start(&["/nonexistent/backend".into()], &[]).err().unwrap();
    assert_eq!(fault.to_string(), "the backend `/nonexistent/backend` could not be started");
}

#[tokio::test]
async fn the_proxys_secrets_are_not_the_backends() {
    // Cargo sets this one for every test.
    let script = shell("test -z \"$CARGO_PKG_NAME\"");
    for (secrets, code) in [(vec![], 1), (vec!["CARGO_PKG_NAME".to_owned()], 0)] {
        let mut backend = Backend::start(&script, &secrets).unwrap();
        assert_eq!(backend.ended().await.code(), Some(code), "{secrets:?}");
    }
}

#[tokio::test]
async fn a_backend_that_ignores_the_signal_is_killed_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backend.sock");
    let script = format!("trap '' TERM; sleep 60 & touch {0}.ready; while :; do sleep 60; done", path.display());
    let backend = Backend::start(&shell(&script), &[]).unwrap();
    // The trap is set before the file is there.
    while !path.with_extension("sock.ready").exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(backend.stop(Duration::from_millis(50)).await.signal(), Some(9));
}
