//! One proxy follows another, and clients see nothing of it; and what a service manager sees.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use e2e::PATIENCE;
use e2e::key::Key;
use e2e::process::poll;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::socket::Address;
use e2e::stack::{Proxy, SECRET, Setup};
use e2e::token::Token;
use e2e::wire::Wire;

use crate::configured::{MAIN, OWNER};

const SOON: Duration = Duration::from_secs(10);

/// More requests than any restart takes.
const ENOUGH: usize = 20_000;

fn setup(backend: &Recorder, server: &str) -> Setup {
    let toml = format!("[server]\n{server}\n{MAIN}{OWNER}[upstream.app]\nurl = \"{}\"\n", backend.url());
    Proxy::configured(&toml).file("secret", SECRET)
}

fn request() -> Request {
    Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(&Key::shared(SECRET)))
}

/// Asks over new connections, one after the other, from several clients, all the while that `change` takes: each is
/// answered. A refused or reset connection fails the test.
fn unnoticed(address: &Address, change: impl FnOnce()) {
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let request = request();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ENOUGH {
                    Wire::to(address).ask(&request).expect(200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
                panic!("the change took longer than {ENOUGH} requests");
            });
        }
        let goes_on = |more: usize| {
            let wanted = answered.load(Ordering::Relaxed) + more;
            poll(PATIENCE, || (answered.load(Ordering::Relaxed) >= wanted).then_some(()))
                .expect("clients are answered");
        };
        goes_on(50);
        change();
        goes_on(50);
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_proxy_that_shares_its_addresses_is_followed_without_a_refused_connection() {
    let backend = Recorder::start();
    let mut old = setup(&backend, "share_addresses = true").start();
    let address = old.address.clone();
    unnoticed(&address, || {
        let mut latest = setup(&backend, "share_addresses = true").on(&address).start();
        assert_eq!(old.stop(SOON), 0);
        let next = setup(&backend, "share_addresses = true").on(&address).start();
        assert_eq!(latest.stop(SOON), 0);
        old = next;
    });
}

#[test]
fn a_unix_socket_changes_hands_without_a_refused_connection() {
    let backend = Recorder::start();
    let mut old = setup(&backend, "share_addresses = true").on_unix_socket().start();
    let address = old.address.clone();
    let mut new = None;
    unnoticed(&address, || {
        new = Some(setup(&backend, "share_addresses = true").on(&address).start());
        assert_eq!(old.stop(SOON), 0);
    });
    assert_eq!(new.expect("a proxy has followed").stop(SOON), 0);
}

#[test]
fn a_passed_socket_keeps_its_clients_while_no_proxy_runs() {
    let backend = Recorder::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut proxy = setup(&backend, "").passed(&listener).start();
    let address = proxy.address.clone();
    unnoticed(&address, || {
        assert_eq!(proxy.stop(SOON), 0);
        proxy = setup(&backend, "").passed(&listener).start();
    });
}

#[test]
fn a_socket_that_nobody_has_passed_is_a_failed_start() {
    let mut command = e2e::stack::command("ownergate");
    command.args(["--upstream", "http://127.0.0.1:1", "--secret", SECRET, "--listen", "systemd", "--admin", "off"]);
    let finished = e2e::stack::run(&mut command);
    assert_eq!(finished.code, 1, "{}", finished.everything());
    assert!(finished.everything().contains("cannot listen on systemd"), "{}", finished.everything());
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_stop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let next = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).expect("the manager is told something");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let backend = Recorder::start();
    let path = path.to_str().expect("a path of UTF-8");
    let mut proxy = setup(&backend, "").environment("NOTIFY_SOCKET", path).start();
    assert_eq!(next(), "READY=1\n");
    proxy.process.signal("HUP");
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(next(), "READY=1\n");
    assert_eq!(proxy.stop(SOON), 0);
    assert_eq!(next(), "STOPPING=1\n");
}

#[test]
fn the_proxy_can_gain_no_privileges() {
    let proxy = setup(&Recorder::start(), "").start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.process.id())).expect("it runs");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
}

#[test]
fn a_unix_socket_is_open_to_whom_its_mode_says_and_goes_with_the_proxy() {
    let mut proxy = setup(&Recorder::start(), "socket_mode = \"0620\"").on_unix_socket().start();
    let Address::Unix(path) = proxy.address.clone() else { panic!("a unix socket") };
    assert_eq!(std::fs::metadata(&path).expect("the socket is there").permissions().mode() & 0o777, 0o620);
    assert_eq!(proxy.stop(SOON), 0);
    assert!(!path.exists());
}
