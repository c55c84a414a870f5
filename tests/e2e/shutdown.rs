//! Stopping finishes what was accepted, refuses what was not, and says how it went.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use e2e::key::Key;
use e2e::process::poll;
use e2e::recorder::{OK, Recorder, receive};
use e2e::request::Request;
use e2e::socket::Socket;
use e2e::stack::{Proxy, SECRET, binary};
use e2e::token::Token;
use e2e::wire::{Outcome, Wire};
use e2e::{PATIENCE, port};

use crate::configured::{MAIN, OWNER, configured};
use crate::gate::Gate;

/// Long enough for a stop with nothing to wait for, and well under the drain time.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn an_idle_proxy_stops_at_once_with_0() {
    for signal in ["TERM", "INT"] {
        let mut gate = Gate::open();
        gate.proxy.process.signal(signal);
        assert_eq!(gate.proxy.process.exit_code(SOON), 0, "SIG{signal}");
    }
}

#[test]
fn idle_connections_do_not_delay_the_stop() {
    let mut gate = Gate::open();
    let request = gate.by_alice("/api/alice/x");
    let mut used = gate.proxy.connect();
    used.ask(&request).expect(200);
    let mut fresh = gate.proxy.connect();
    assert_eq!(gate.proxy.stop(SOON), 0);
    assert!(used.is_closed() && fresh.is_closed());
}

#[test]
fn a_request_in_flight_is_finished_while_new_ones_are_refused() {
    let (reached, at_backend) = channel();
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Recorder::by_hand(move |mut conversation, _| {
        let Ok(Some(_)) = receive(&mut conversation, 0) else {
            return;
        };
        reached.send(()).expect("the test waits");
        wait.lock().expect("one request").recv_timeout(PATIENCE).expect("the test lets it go on");
        conversation.send(OK).expect("the proxy reads");
    });
    let mut gate = Gate::before(backend);
    let mut wire = gate.proxy.connect();
    wire.send(gate.by_alice("/api/alice/slow").bytes());
    at_backend.recv_timeout(PATIENCE).expect("the request is in flight");
    gate.proxy.process.signal("TERM");
    let refused = poll(PATIENCE, || refuses(&gate.proxy).then_some(()));
    assert!(refused.is_some(), "new connections are still served");
    assert!(gate.proxy.process.ended().is_none(), "it left a request behind");
    go.send(()).expect("the backend waits");
    let answer = wire.answer().expect(200);
    assert_eq!(answer.text(), "ok");
    assert_eq!(gate.proxy.process.exit_code(SOON), 0);
}

#[test]
fn readiness_fails_before_connections_do_for_as_long_as_balancers_need() {
    let mut gate = configured(&format!("[timeouts]\ndrain_delay = 2\n{MAIN}{OWNER}"));
    gate.proxy.process.signal("TERM");
    gate.proxy.wait_until("/readyz", 503);
    assert!(gate.proxy.ask_admin("/readyz").text().contains("draining"));
    gate.proxy.ask(&gate.by_alice("/api/alice/x")).expect(200);
    assert_eq!(gate.proxy.process.exit_code(SOON), 0);
}

/// Whether a new connection is refused, or closed without an answer.
fn refuses(proxy: &Proxy) -> bool {
    if Socket::connect(&proxy.address).is_err() {
        return true;
    }
    let mut wire = Wire::to(&proxy.address);
    wire.send(Request::get("/api/alice/x").bytes());
    matches!(wire.outcome(), Outcome::Closed)
}

/// A proxy that starts the task service itself, on a database in its own folder.
fn supervising() -> Proxy {
    let address = port::free().to_string();
    let service = binary("task-service");
    let service = service.to_str().expect("the target folder is UTF-8");
    Proxy::before_url(&format!("http://{address}"))
        .flag("--secret", SECRET)
        .supervising(&[service, "--listen", &address, "--database", "tasks.db"])
        .start()
}

fn tasks_of_alice() -> Request {
    Request::get("/api/alice/tasks").bearer(&Token::of("alice").signed_by(&Key::shared(SECRET)))
}

/// The process ids of the children of `parent`.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task");
    let threads = std::fs::read_dir(path).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

#[test]
fn a_supervised_backend_serves_when_the_proxy_does_and_stops_with_it() {
    let mut proxy = supervising();
    assert_eq!(proxy.ask(&tasks_of_alice()).expect(200).text().trim(), "[]");
    let backends = children(proxy.process.id());
    assert_eq!(backends.len(), 1, "one child: {backends:?}");
    assert_eq!(proxy.stop(SOON), 0);
    assert!(!std::path::Path::new(&format!("/proc/{}", backends[0])).exists(), "the backend was left behind");
}

#[test]
fn when_the_supervised_backend_dies_the_proxy_ends_with_a_failure() {
    let mut proxy = supervising();
    let [backend] = children(proxy.process.id())[..] else { panic!("one child") };
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {backend}")]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let started = Instant::now();
    assert_ne!(proxy.process.exit_code(PATIENCE), 0);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn a_backend_command_that_cannot_start_is_a_failed_start() {
    let mut command = e2e::stack::command("ownergate");
    command.args(["--upstream", &format!("http://{}", port::free()), "--secret", SECRET]);
    command.args(["--listen", &port::free().to_string(), "--admin", "off", "--", "/nonexistent/backend"]);
    let finished = e2e::stack::run(&mut command);
    assert_eq!(finished.code, 1, "{}", finished.everything());
    assert!(finished.everything().contains("/nonexistent/backend"), "{}", finished.everything());
}
