//! What an operator meets: faults told before anything starts, commands that explain, health that is true.

use std::time::{Duration, Instant};

use e2e::issuer::Issuer;
use e2e::key::{Algorithm, Key, key_set};
use e2e::port;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::{Finished, Proxy, SECRET, command, run};
use e2e::token::{AUDIENCE, ISSUER, Token};
use e2e::wire::Wire;

use crate::gate::Gate;

/// Exit code of a configuration fault.
const FAULT: i32 = 64;

/// Runs the proxy with these arguments, in a folder with these files.
fn ownergate(arguments: &[&str], files: &[(&str, &str)]) -> Finished {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).expect("the folder can be written");
    }
    run(command("ownergate").current_dir(folder.path()).args(arguments))
}

/// Checks that these flags, which must not start a proxy, are a fault that names each of `words`.
#[track_caller]
fn is_fault(arguments: &[&str], files: &[(&str, &str)], words: &[&str]) {
    let listen = port::free().to_string();
    let arguments = [arguments, &["--listen", &listen, "--admin", "off"]].concat();
    let finished = ownergate(&arguments, files);
    assert_eq!(finished.code, FAULT, "{arguments:?}\n{}", finished.everything());
    for word in words {
        assert!(finished.everything().contains(word), "{arguments:?}: {word} is not in\n{}", finished.everything());
    }
    assert!(!finished.everything().contains("panicked"), "{}", finished.everything());
}

#[test]
fn a_missing_upstream_or_key_source_is_a_fault() {
    is_fault(&["--secret", SECRET], &[], &["upstream"]);
    is_fault(&["--upstream", "http://127.0.0.1:1"], &[], &["secret", "jwks"]);
    is_fault(&[], &[], &["upstream", "secret"]);
}

#[test]
fn a_bad_upstream_or_listener_is_a_fault() {
    for upstream in ["", "127.0.0.1:1", "ftp://127.0.0.1:1", "http://", "http://127.0.0.1:99999", "unix:", "tasks"] {
        is_fault(&["--upstream", upstream, "--secret", SECRET], &[], &["upstream"]);
    }
    for listen in ["", "nowhere", "127.0.0.1", "127.0.0.1:99999", "unix:"] {
        is_fault(&["--upstream", "http://127.0.0.1:1", "--secret", SECRET, "--listen", listen], &[], &["listen"]);
    }
}

#[test]
fn a_secret_that_is_none_is_a_fault() {
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE a@b";
    let pem = Key::new(Algorithm::ES256, "k").public_pem();
    for secret in ["", "short", "fifteen bytes..", "better-auth-secret-12345678901234567890", ssh, &pem] {
        is_fault(&["--upstream", "http://127.0.0.1:1", "--secret", secret], &[], &["secret"]);
        is_fault(&["--upstream", "http://127.0.0.1:1", "--secret-file", "s"], &[("s", secret)], &["secret"]);
    }
    is_fault(&["--upstream", "http://127.0.0.1:1", "--secret-file", "missing"], &[], &["missing"]);
    is_fault(&["--upstream", "http://127.0.0.1:1", "--secret-file", "s"], &[("s", "\n")], &["secret"]);
}

#[test]
fn a_fault_never_shows_the_secret() {
    for secret in ["s3cr3t-short", "better-auth-secret-12345678901234567890"] {
        let finished = ownergate(&["--upstream", "nowhere", "--secret", secret], &[]);
        assert_eq!(finished.code, FAULT);
        assert!(!finished.everything().contains(secret), "{}", finished.everything());
    }
}

#[test]
fn a_bad_key_set_is_a_fault() {
    let with = |jwks: &'static str| {
        ["--upstream", "http://127.0.0.1:1", "--issuer", ISSUER, "--audience", AUDIENCE, "--jwks", jwks]
    };
    is_fault(&with("missing.json"), &[], &["missing.json"]);
    is_fault(&with("http://keys.example.com/jwks"), &[], &["https"]);
    is_fault(&with("ftp://127.0.0.1/jwks"), &[], &["jwks"]);
    is_fault(&with("keys.json"), &[("keys.json", "{")], &["keys.json"]);
}

#[test]
fn a_key_set_without_issuer_or_audience_is_a_fault() {
    let set = key_set(&[&Key::new(Algorithm::EdDSA, "k")]).to_string();
    let files = [("keys.json", set.as_str())];
    let base = ["--upstream", "http://127.0.0.1:1", "--jwks", "keys.json"];
    is_fault(&base, &files, &["issuer", "audience"]);
    is_fault(&[&base[..], &["--issuer", ISSUER]].concat(), &files, &["audience"]);
    is_fault(&[&base[..], &["--audience", AUDIENCE]].concat(), &files, &["issuer"]);
}

#[test]
fn two_issuers_by_flags_are_a_fault() {
    let set = key_set(&[&Key::new(Algorithm::EdDSA, "k")]).to_string();
    is_fault(
        &[
            "--upstream",
            "http://127.0.0.1:1",
            "--jwks",
            "keys.json",
            "--issuer",
            ISSUER,
            "--audience",
            AUDIENCE,
            "--secret",
            SECRET,
        ],
        &[("keys.json", &set)],
        &["secret", "jwks"],
    );
    is_fault(
        &["--upstream", "http://127.0.0.1:1", "--better-auth", "http://127.0.0.1:1", "--secret", SECRET],
        &[],
        &["secret"],
    );
}

#[test]
fn every_fault_is_told_in_one_run() {
    is_fault(&["--upstream", "nowhere", "--secret", "short"], &[], &["nowhere", "secret"]);
}

#[test]
fn an_unknown_flag_is_a_fault() {
    is_fault(&["--upstram", "http://127.0.0.1:1"], &[], &["--upstram"]);
}

#[test]
fn a_port_in_use_is_a_failed_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for flag in ["--listen", "--admin"] {
        let other = if flag == "--listen" { "--admin" } else { "--listen" };
        let free = port::free().to_string();
        let finished =
            ownergate(&["--upstream", "http://127.0.0.1:1", "--secret", SECRET, flag, &address, other, &free], &[]);
        assert_eq!(finished.code, 1, "{flag}: {}", finished.everything());
        assert!(finished.everything().contains(&address), "{flag}: {}", finished.everything());
    }
}

#[test]
fn help_and_version_are_no_faults() {
    for flag in ["--help", "--version"] {
        let finished = ownergate(&[flag], &[]);
        assert_eq!(finished.code, 0, "{flag}");
        assert!(finished.output.contains("ownergate"), "{flag}: {}", finished.output);
    }
}

#[test]
fn settings_come_from_the_environment_and_flags_go_over_them() {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend)
        .environment("OWNERGATE_UPSTREAM", "http://127.0.0.1:1")
        .environment("OWNERGATE_SECRET", SECRET)
        .start();
    let gate = Gate::of(backend, proxy, Key::shared(SECRET));
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "forwarded");
}

#[test]
fn better_auths_own_secret_is_a_key_source() {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend).environment("BETTER_AUTH_SECRET", SECRET).start();
    let gate = Gate::of(backend, proxy, Key::shared(SECRET));
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "forwarded");
}

#[test]
fn better_auths_secret_is_ignored_aloud_beside_a_key_set() {
    let key = Key::new(Algorithm::EdDSA, "k");
    let issuer = Issuer::publishing(&[&key]);
    let backend = Recorder::start();
    let proxy = Proxy::trusting(&backend, &issuer).environment("BETTER_AUTH_SECRET", SECRET).start();
    proxy.process.wait_for_line("BETTER_AUTH_SECRET");
    assert!(!proxy.process.log().contains(SECRET));
    let gate = Gate::of(backend, proxy, key);
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "forwarded");
    let shared = Token::of("alice").signed_by(&Key::shared(SECRET));
    assert_eq!(gate.verdict(&Request::get("/api/alice/x").bearer(&shared)), "401 algorithm_not_allowed");
}

#[test]
fn a_weak_secret_or_one_on_the_command_line_is_a_warning() {
    let backend = Recorder::start();
    let weak = "twenty-four bytes long..";
    let proxy = Proxy::before(&backend).file("s", weak).flag("--secret-file", "s").start();
    proxy.process.wait_for_line("32");
    let visible = Proxy::before(&backend).flag("--secret", SECRET).start();
    visible.process.wait_for_line("command line");
    assert!(!visible.process.log().contains(SECRET));
}

#[test]
fn a_token_for_local_work_is_accepted_by_a_proxy_with_the_same_secret() {
    let gate = Gate::open();
    let folder = gate.proxy.folder();
    let token = |extra: &[&str]| {
        let mut command = command("ownergate");
        command.current_dir(folder).args(["token", "--user", "alice", "--secret-file", "secret"]).args(extra);
        let finished = run(&mut command);
        assert_eq!(finished.code, 0, "{}", finished.everything());
        finished.output.trim().to_owned()
    };
    let ask = |token: &str| gate.verdict(&Request::get("/api/alice/x").bearer(token));
    assert_eq!(ask(&token(&[])), "forwarded");
    assert_eq!(ask(&token(&["--expires-in", "15m"])), "forwarded");
}

#[test]
fn health_is_told_on_the_admin_listener_alone() {
    let gate = Gate::open();
    assert_eq!(gate.proxy.ask_admin("/livez").status, 200);
    assert_eq!(gate.proxy.ask_admin("/readyz").status, 200);
    assert_eq!(gate.proxy.ask_admin("/metrics").status, 200);
    assert_eq!(gate.proxy.ask_admin("/").status, 404);
    assert_eq!(gate.proxy.ask_admin("/api/alice/x").status, 404);
    gate.backend.is_untouched();
}

#[test]
fn the_admin_listener_can_be_off() {
    let backend = Recorder::start();
    let listen = port::free();
    let mut command = command("ownergate");
    command.args(["--upstream", &backend.url(), "--secret", SECRET, "--listen", &listen.to_string(), "--admin", "off"]);
    let _process = e2e::process::Process::start("ownergate", &mut command);
    let address = e2e::socket::Address::Tcp(listen);
    let connected = e2e::process::poll(e2e::PATIENCE, || e2e::socket::Socket::connect(&address).ok());
    assert!(connected.is_some());
    let token = Token::of("alice").signed_by(&Key::shared(SECRET));
    e2e::wire::Wire::to(&address).ask(&Request::get("/api/alice/x").bearer(&token)).expect(200);
    let default_admin = e2e::socket::Address::Tcp(([127, 0, 0, 1], 9901).into());
    assert!(e2e::socket::Socket::connect(&default_admin).is_err(), "somebody listens on {default_admin}");
}

#[test]
fn metrics_name_codes_and_never_users_or_paths() {
    let gate = Gate::open();
    for number in 0..20 {
        let user = format!("somebody-{number}");
        let token = gate.token(&user);
        gate.proxy.ask(&Request::get(format!("/api/{user}/secret-path")).bearer(&token)).expect(200);
        gate.proxy.ask(&Request::get(format!("/api/other-{number}/x")).bearer(&token)).expect(403);
    }
    let metrics = gate.proxy.ask_admin("/metrics").expect(200).text();
    assert!(metrics.contains("not_owner"), "{metrics}");
    for leak in ["somebody", "secret-path", "other-"] {
        assert!(!metrics.contains(leak), "{leak}: {metrics}");
    }
}

#[test]
fn metrics_tell_of_connections_tokens_and_the_process() {
    let gate = Gate::open();
    let mut wire = gate.proxy.connect();
    for _ in 0..3 {
        wire.ask(&gate.by_alice("/api/alice/x")).expect(200);
    }
    for line in [
        "ownergate_tokens_total{outcome=\"known\"} 2",
        "ownergate_tokens_total{outcome=\"unknown\"} 1",
        "ownergate_tokens_held 1",
        "ownergate_verifications_total{outcome=\"at_once\"} 1",
        "ownergate_upstream_connections_total{outcome=\"connected\"} 1",
        "ownergate_connections_total{outcome=\"refused\"} 0",
        "ownergate_log_lines_lost_total 0",
        "ownergate_last_reload_successful 1",
        &format!("ownergate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        gate.proxy.wait_for_metric(line);
    }
    let metrics = gate.proxy.ask_admin("/metrics").expect(200).text();
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "ownergate_configuration_timestamp_seconds",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {metrics}");
    }
}

#[test]
fn every_exchange_is_logged_with_its_request_id_and_without_secrets() {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend)
        .file("secret", SECRET)
        .flag("--secret-file", "secret")
        .flag("--log-format", "json")
        .start();
    let gate = Gate::of(backend, proxy, Key::shared(SECRET));
    let token = gate.token("alice");
    let expired = Token::of("alice").claim("exp", 1).signed_by(&gate.key);
    let mut answers = Vec::new();
    for (target, token) in [("/api/bob/x", &token), ("/api/alice/x", &expired), ("/nowhere", &token)] {
        let request = Request::get(target).bearer(token).field("Cookie", "better-auth.session_token=c00kie");
        answers.push(gate.proxy.ask(&request));
    }
    gate.proxy.ask(&Request::get(format!("/api/alice/x?access_token={token}")).bearer(&token)).expect(200);
    for answer in &answers {
        let id = answer.json()["request_id"].as_str().expect("an id").to_owned();
        let line = gate.proxy.process.wait_for_line(&id);
        let event: serde_json::Value = serde_json::from_str(&line).expect("a log line is JSON");
        assert!(line.contains(&answer.code()), "{event}");
    }
    let log = gate.proxy.process.log();
    let bodies: String = answers.iter().map(e2e::answer::Answer::text).collect();
    for secret in token.split('.').chain(expired.split('.')).chain([SECRET, "c00kie"]) {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        assert!(!bodies.contains(secret), "{secret} is in a body:\n{bodies}");
    }
}

#[test]
fn an_algorithm_that_was_not_expected_is_explained_to_the_operator_alone() {
    let gate = Gate::open();
    let token = Token::of("alice").signed_by(&Key::new(Algorithm::EdDSA, "k"));
    let answer = gate.proxy.ask(&Request::get("/api/alice/x").bearer(&token));
    answer.refused(401, "algorithm_not_allowed");
    let id = answer.json()["request_id"].as_str().expect("an id").to_owned();
    let line = gate.proxy.process.wait_for_line(&id);
    let log = gate.proxy.process.log();
    assert!(log.contains("EdDSA") && log.contains("HS256"), "{line}\n{log}");
    assert!(!answer.text().contains("HS256"), "{}", answer.text());
}

#[test]
fn a_client_cannot_write_into_the_log() {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend).flag("--secret", SECRET).start();
    let gate = Gate::of(backend, proxy, Key::shared(SECRET));
    let odd = Key::shared(SECRET).named("k\"\n\u{1b}[31mFORGED");
    let token = Token::of("alice").header("typ", "x\r\nFORGED\u{1b}[31m").signed_by(&odd);
    let request = Request::get("/api/alice/x?a=%0aFORGED").bearer(&token).field("User-Agent", b"\"\x1b".as_slice());
    gate.verdict(&request);
    let user = Token::of("al\"ice\u{202e}").signed_by(&gate.key);
    gate.verdict(&Request::get("/api/bob/x").bearer(&user));
    gate.verdict(&gate.by_alice("/api/bob/last"));
    gate.proxy.process.wait_for_line("last");
    let log = gate.proxy.process.log();
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
    assert!(!log.contains('\u{1b}'), "an escape character: {log:?}");
}

#[test]
fn a_log_that_nobody_reads_loses_lines_which_are_counted_and_holds_nobody_up() {
    let (listen, admin) = (port::free().to_string(), port::free());
    let mut command = command("ownergate");
    command.args(["--upstream", "http://127.0.0.1:1", "--secret", SECRET]);
    command.args(["--listen", &listen, "--admin", &admin.to_string()]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("the proxy starts");
    let address = e2e::socket::Address::Tcp(listen.parse().expect("an address"));
    e2e::process::poll(e2e::PATIENCE, || e2e::socket::Socket::connect(&address).ok()).expect("it listens");
    let mut wire = e2e::wire::Wire::to(&address);
    let batch = Request::get("/api/alice/x").bytes().repeat(100);
    // More than may wait, and what the pipe holds.
    for _ in 0..100 {
        wire.send(&batch);
        (0..100).for_each(|_| wire.answer().refused(401, "token_missing"));
    }
    let admin = e2e::socket::Address::Tcp(admin);
    let lost = e2e::process::poll(e2e::PATIENCE, || {
        let metrics = e2e::wire::Wire::to(&admin).ask(&Request::get("/metrics").field("Host", "localhost")).text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("ownergate_log_lines_lost_total "))?.parse();
        count.ok().filter(|count: &u64| *count > 0)
    });
    child.kill().expect("it can be ended");
    child.wait().expect("it ends");
    assert!(lost.is_some(), "no line was counted as lost");
}

#[test]
fn the_log_level_changes_while_the_proxy_runs() {
    let gate = Gate::open();
    let put = |level: &str| {
        let request = Request::new("PUT", "/log-level").field("Host", gate.proxy.admin.to_string());
        e2e::wire::Wire::to(&gate.proxy.admin).ask(&request.body(level)).expect(200);
    };
    assert_eq!(gate.proxy.ask_admin("/log-level").text(), "info");
    put("error");
    gate.proxy.ask(&gate.by_alice("/api/alice/unheard-of")).expect(200);
    put("info");
    gate.proxy.ask(&gate.by_alice("/api/alice/told")).expect(200);
    gate.proxy.process.wait_for_line("/api/alice/told");
    assert!(!gate.proxy.process.log().contains("unheard-of"), "{}", gate.proxy.process.log());
}

#[test]
fn a_probe_is_answered_at_once_whatever_others_do_with_the_admin_listener() {
    let gate = Gate::open();
    let host = format!("Host: {}\r\n", gate.proxy.admin);
    let half_heard = [
        String::new(),
        "GET /livez HTTP/1.1\r\n".to_owned(),
        format!("GET /livez HTTP/1.1\r\n{host}\r\nGET /livez HTTP/1.1\r\n"),
        format!("PUT /log-level HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nin"),
    ];
    let mut held = Vec::new();
    for said in &half_heard {
        for _ in 0..100 {
            let mut wire = Wire::to(&gate.proxy.admin);
            wire.send(said);
            held.push(wire);
        }
        let started = Instant::now();
        assert_eq!(gate.proxy.ask_admin("/livez").expect(200).text(), "ok");
        assert!(started.elapsed() < Duration::from_secs(1), "{said:?}: {:?}", started.elapsed());
    }
}

#[test]
fn the_admin_listener_outlives_a_shortage_of_file_descriptors() {
    let gate = Gate::open();
    let process = &gate.proxy.process;
    process.limit_files(1);
    let mut wire = Wire::to(&gate.proxy.admin);
    wire.send(Request::get("/livez").field("Host", gate.proxy.admin.to_string()).bytes());
    let line = process.wait_for_line("could not be accepted");
    assert!(line.contains(&gate.proxy.admin.to_string()), "{line}");
    process.limit_files(1024);
    assert_eq!(wire.answer().expect(200).text(), "ok");
}
