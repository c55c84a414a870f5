//! A changed configuration serves at once, and a bad one never does.

use e2e::process::poll;

use crate::configured::{MAIN, OWNER, configured, route};
use crate::gate::Gate;

/// Rewrites the configuration of a running proxy.
pub(crate) fn rewrite(gate: &Gate, toml: &str) {
    let toml = format!("{toml}\n[upstream.app]\nurl = \"{}\"\n", gate.backend.url());
    std::fs::write(gate.proxy.folder().join("ownergate.toml"), toml).expect("the folder can be written");
}

#[test]
fn a_new_configuration_serves_without_dropping_a_connection() {
    for by_signal in [true, false] {
        let gate = configured(&format!("{MAIN}{OWNER}"));
        let mut wire = gate.proxy.connect();
        wire.ask(&gate.by_alice("/api/alice/x")).expect(200);
        rewrite(&gate, &format!("{MAIN}{OWNER}{}", route("/news/**", "access = \"signed-in\"")));
        if by_signal {
            gate.proxy.process.signal("HUP");
        }
        let reloaded = poll(e2e::PATIENCE, || (gate.verdict(&gate.by_alice("/news/x")) == "forwarded").then_some(()));
        assert!(reloaded.is_some(), "by signal: {by_signal}");
        wire.ask(&gate.by_alice("/news/y")).expect(200);
    }
}

#[test]
fn a_bad_new_configuration_is_told_and_the_old_one_stays() {
    let gate = configured(&format!("{MAIN}{OWNER}"));
    rewrite(&gate, &format!("{MAIN}{OWNER}colour = \"red\"\n"));
    gate.proxy.process.signal("HUP");
    gate.proxy.process.wait_for_line("colour");
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "forwarded");
    assert_eq!(gate.verdict(&gate.by_alice("/api/bob/x")), "403 not_owner");
}

#[test]
fn what_waits_for_the_next_start_is_told_until_it_is_taken_back() {
    let gate = configured(&format!("{MAIN}{OWNER}"));
    let reload = |server: &str, path: &str, count: usize| {
        rewrite(&gate, &format!("{server}{MAIN}{OWNER}{}", route(path, "access = \"signed-in\"")));
        let reloads = || gate.proxy.process.log().matches("configuration reloaded").count();
        assert!(poll(e2e::PATIENCE, || (reloads() == count).then_some(())).is_some(), "{path} is not in force");
    };
    reload("[server]\nsocket_mode = \"0600\"\n", "/one", 1);
    reload("[server]\nsocket_mode = \"0600\"\n", "/two", 2);
    reload("", "/three", 3);
    let log = gate.proxy.process.log();
    let told: Vec<bool> = log.split("configuration reloaded").map(|text| text.contains("at the next start")).collect();
    assert_eq!(told[..3], [true, true, false], "{log}");
}

#[test]
fn a_secret_taken_out_of_the_configuration_verifies_no_more() {
    let gate = configured(&format!("{MAIN}{OWNER}"));
    let request = gate.by_alice("/api/alice/x");
    assert_eq!(gate.verdict(&request), "forwarded");
    std::fs::write(gate.proxy.folder().join("secret"), "another secret, which is long enough to be one")
        .expect("writable");
    gate.proxy.process.signal("HUP");
    let refused = poll(e2e::PATIENCE, || (gate.verdict(&request) == "401 signature_invalid").then_some(()));
    assert!(refused.is_some(), "{}", gate.verdict(&request));
}
