//! Tokens of the real Better Auth: recorded ones of every kind, and fresh ones from the running service.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use e2e::better_auth::{BetterAuth, Person, sign_up};
use e2e::key::Key;
use e2e::process::poll;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET, Setup, TaskService};
use serde_json::Value;

use crate::gate::{Gate, Judged};

/// The origin that the recorded tokens name as issuer and audience.
const RECORDED_AT: &str = "http://127.0.0.1:3000";

fn fixture(algorithm: &str, name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/better-auth").join(algorithm).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display())).trim().to_owned()
}

/// The claims of a token, unverified.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

fn subject(token: &str) -> String {
    claims(token)["sub"].as_str().expect("a text").to_owned()
}

/// A gate for the recorded tokens of this algorithm.
fn recorded(algorithm: &str) -> Gate {
    let backend = Recorder::start();
    let setup = Proxy::before(&backend);
    let setup: Setup = match algorithm {
        "HS256" => setup.file("secret", fixture("", "secret.txt")).flag("--secret-file", "secret"),
        _ => setup.file("keys.json", fixture(algorithm, "jwks.json")).flag("--jwks", "keys.json"),
    };
    let proxy = setup.flag("--issuer", RECORDED_AT).flag("--audience", RECORDED_AT).start();
    Gate::of(backend, proxy, Key::shared(""))
}

#[test]
fn recorded_tokens_of_all_six_kinds_are_accepted_for_their_user_alone() {
    let mut judged = Judged::default();
    for algorithm in ["EdDSA", "ES256", "ES512", "RS256", "PS256", "HS256"] {
        let gate = recorded(algorithm);
        let bob = subject(&fixture(algorithm, "bob.jwt"));
        for name in ["alice.jwt", "alice.minimal.jwt"] {
            let token = fixture(algorithm, name);
            let user = subject(&token);
            let ask = |user: &str| gate.verdict(&Request::get(format!("/api/{user}/tasks")).bearer(&token));
            judged.compare(&format!("{algorithm} {name}"), &ask(&user), "forwarded");
            judged.compare(&format!("{algorithm} {name} for bob"), &ask(&bob), "403 not_owner");
        }
        let expired = fixture(algorithm, "alice.15m.jwt");
        let own = Request::get(format!("/api/{}/tasks", subject(&expired))).bearer(&expired);
        judged.compare(&format!("{algorithm} after 15 minutes"), &gate.verdict(&own), "401 token_expired");
        for received in gate.backend.received() {
            let user = received.target().split('/').nth(2).unwrap_or_default().as_bytes().to_vec();
            assert_eq!(received.user(), user);
        }
    }
    judged.all_right();
}

#[test]
fn recorded_tokens_are_refused_under_the_keys_of_another_algorithm() {
    let mut judged = Judged::default();
    let kinds = ["EdDSA", "ES256", "ES512", "RS256", "PS256", "HS256"];
    for configured in kinds {
        let gate = recorded(configured);
        for sent in kinds.into_iter().filter(|kind| *kind != configured) {
            let token = fixture(sent, "alice.jwt");
            let verdict = gate.verdict(&Request::get(format!("/api/{}/x", subject(&token))).bearer(&token));
            // A foreign algorithm and a foreign key are both true of it.
            judged.compare(&format!("{sent} to {configured}"), &verdict, "401 algorithm_not_allowed | 401 key_unknown");
        }
    }
    judged.all_right();
}

#[test]
fn a_token_of_an_endpoint_of_ones_own_needs_no_issuer() {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend).environment("BETTER_AUTH_SECRET", &fixture("", "secret.txt")).start();
    let gate = Gate::of(backend, proxy, Key::shared(""));
    for name in ["alice.own-endpoint.jwt", "alice.jwt"] {
        let token = fixture("HS256", name);
        let received = gate.forwards(&Request::get(format!("/api/{}/tasks", subject(&token))).bearer(&token));
        assert_eq!(received.user(), subject(&token).into_bytes());
    }
    let strict = recorded("HS256");
    let token = fixture("HS256", "alice.own-endpoint.jwt");
    let own = Request::get(format!("/api/{}/tasks", subject(&token))).bearer(&token);
    assert_eq!(strict.verdict(&own), "401 claim_missing");
}

/// Two people and the tokens they get.
fn two_people(service: &BetterAuth) -> [(Person, String); 2] {
    ["alice", "bob"].map(|name| {
        let person = service.sign_up(name);
        let token = service.token_of(&person);
        (person, token)
    })
}

fn trusting(service: &BetterAuth) -> Gate {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend).flag("--better-auth", &service.origin).start();
    Gate::of(backend, proxy, Key::shared(""))
}

#[test]
fn two_people_sign_up_and_keep_their_tasks_apart() {
    let service = BetterAuth::signing_with("EdDSA", &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tasks = TaskService::on(folder.path().join("tasks.db"));
    let proxy = Proxy::before_url(&tasks.url()).flag("--better-auth", &service.origin).start();
    let people = two_people(&service);
    for (person, token) in &people {
        let create = Request::new("POST", format!("/api/{}/tasks", person.id)).bearer(token);
        proxy.ask(&create.json(r#"{"title":"mine"}"#)).expect(201);
    }
    for ((person, token), (other, _)) in people.iter().zip(people.iter().rev()) {
        let list = proxy.ask(&Request::get(format!("/api/{}/tasks", person.id)).bearer(token)).expect(200).json();
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
        proxy.ask(&Request::get(format!("/api/{}/tasks", other.id)).bearer(token)).refused(403, "not_owner");
    }
}

#[test]
fn fresh_tokens_of_every_key_pair_are_accepted() {
    for algorithm in ["ES256", "ES512", "RS256", "PS256"] {
        let service = BetterAuth::signing_with(algorithm, &[]);
        let gate = trusting(&service);
        let [(alice, token), (bob, _)] = two_people(&service);
        let own = gate.forwards(&Request::get(format!("/api/{}/x", alice.id)).bearer(&token));
        assert_eq!(own.user(), alice.id.into_bytes(), "{algorithm}");
        let others = Request::get(format!("/api/{}/x", bob.id)).bearer(&token);
        assert_eq!(gate.verdict(&others), "403 not_owner", "{algorithm}");
    }
}

#[test]
fn fresh_tokens_under_the_shared_secret_are_accepted() {
    let service = BetterAuth::signing_with("HS256", &[]);
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend)
        .environment("BETTER_AUTH_SECRET", SECRET)
        .flag("--issuer", &service.origin)
        .flag("--audience", &service.origin)
        .start();
    let gate = Gate::of(backend, proxy, Key::shared(""));
    for (person, token) in two_people(&service) {
        let own = gate.forwards(&Request::get(format!("/api/{}/x", person.id)).bearer(&token));
        assert_eq!(own.user(), person.id.into_bytes());
    }
}

#[test]
fn a_session_token_is_not_taken_for_a_jwt() {
    let service = BetterAuth::signing_with("EdDSA", &[]);
    let gate = trusting(&service);
    let alice = service.sign_up("alice");
    let answer = gate.proxy.ask(&Request::get(format!("/api/{}/x", alice.id)).bearer(&alice.session));
    answer.refused(401, "token_malformed");
    assert!(answer.text().contains("/api/auth/token"), "{}", answer.describe());
    let cookie = Request::get(format!("/api/{}/x", alice.id)).field("Cookie", alice.cookie());
    assert_eq!(gate.verdict(&cookie), "401 token_missing");
}

#[test]
fn keys_rotate_while_the_proxy_runs() {
    let service = BetterAuth::signing_with("EdDSA", &[("ROTATION_SECONDS", "1"), ("GRACE_SECONDS", "60")]);
    let gate = trusting(&service);
    let alice = service.sign_up("alice");
    let ask = |token: &str| gate.verdict(&Request::get(format!("/api/{}/x", alice.id)).bearer(token));
    let old = service.token_of(&alice);
    assert_eq!(ask(&old), "forwarded");
    let key_of = |token: &str| token.split('.').next().map(str::to_owned);
    let new = poll(e2e::PATIENCE, || Some(service.token_of(&alice)).filter(|token| key_of(token) != key_of(&old)));
    let new = new.expect("a key lives for a second");
    let accepted = poll(e2e::PATIENCE, || (ask(&new) == "forwarded").then_some(()));
    assert!(accepted.is_some(), "{}", ask(&new));
    assert_eq!(ask(&old), "forwarded", "the grace period");
}

#[test]
fn tokens_outlive_the_sign_in_service() {
    let mut service = BetterAuth::signing_with("EdDSA", &[]);
    let gate = trusting(&service);
    let alice = service.sign_up("alice");
    let token = service.token_of(&alice);
    service.process.kill();
    let own = gate.forwards(&Request::get(format!("/api/{}/x", alice.id)).bearer(&token));
    assert_eq!(own.user(), alice.id.into_bytes());
}

#[test]
fn one_port_serves_sign_in_page_tasks_admin_area_and_a_second_backend() {
    let service = BetterAuth::signing_with("EdDSA", &[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tasks = TaskService::on(folder.path().join("tasks.db"));
    let (admin, files) = (Recorder::start(), Recorder::on_unix_socket());
    let origin = &service.origin;
    let toml = format!(
        r#"
        [[issuer]]
        name = "better-auth"
        jwks = "{origin}/api/auth/jwks"
        issuer = "{origin}"
        audience = ["{origin}"]
        [upstream]
        auth = {{ url = "{origin}" }}
        tasks = {{ url = "{}" }}
        admin = {{ url = "{}" }}
        files = {{ url = "{}" }}
        [[route]]
        path = "/**"
        access = "public"
        upstream = "auth"
        [[route]]
        path = "/api/{{user_id}}/tasks/**"
        access = {{ owner = "user_id" }}
        upstream = "tasks"
        [[route]]
        path = "/admin/**"
        access = "signed-in"
        scopes = ["admin"]
        upstream = "admin"
        [[route]]
        path = "/files/{{user_id}}/**"
        access = {{ owner = "user_id" }}
        upstream = "files"
        "#,
        tasks.url(),
        admin.url(),
        files.url()
    );
    let proxy = Proxy::configured(&toml).start();
    let signed_up = proxy.ask(&sign_up("alice").field("Origin", origin)).expect(200);
    let alice = Person::of(&signed_up);
    let token = proxy.ask(&Request::get("/api/auth/token").field("Cookie", alice.cookie())).expect(200).json();
    let token = token["token"].as_str().expect("a token");
    let page = proxy.ask(&Request::get("/")).expect(200);
    assert!(page.text().contains("<html"), "{}", page.describe());
    let create = Request::new("POST", format!("/api/{}/tasks", alice.id)).bearer(token);
    proxy.ask(&create.json(r#"{"title":"mine"}"#)).expect(201);
    proxy.ask(&Request::get("/api/bob/tasks").bearer(token)).refused(403, "not_owner");
    proxy.ask(&Request::get(format!("/files/{}/a.txt", alice.id)).bearer(token)).expect(200);
    assert_eq!(files.only().user(), alice.id.clone().into_bytes());
    proxy.ask(&Request::get("/admin/users").bearer(token)).refused(403, "scope_missing");
    proxy.ask(&Request::get("/admin/users")).refused(401, "token_missing");
    admin.is_untouched();
}
