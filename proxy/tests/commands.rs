//! The commands as an operator calls them: what they print, and the exit code.

use std::{path::Path, process::Command};

use tempfile::TempDir;

const SECRET: &str = "a secret of these tests, used nowhere else";

struct Finished {
    code: i32,
    output: String,
    errors: String,
}

/// Runs `ownergate` in a folder, with no setting from the surrounding environment.
fn ownergate(folder: &Path, arguments: &[&str]) -> Finished {
    let output = Command::new(env!("CARGO_BIN_EXE_ownergate"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .expect("the binary is built");
    Finished {
        code: output.status.code().expect("it ends by itself"),
        output: String::from_utf8(output.stdout).expect("text"),
        errors: String::from_utf8(output.stderr).expect("text"),
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("secret"), SECRET).expect("the folder can be written");
    folder
}

fn explain(folder: &TempDir, arguments: &[&str]) -> Finished {
    let settings = ["explain", "--secret-file", "secret", "--upstream", "http://127.0.0.1:1"];
    ownergate(folder.path(), &[&settings, arguments].concat())
}

#[test]
fn a_token_stands_alone_on_standard_output_and_opens_its_users_paths() {
    let folder = folder();
    let token = ownergate(folder.path(), &["token", "--secret-file", "secret", "--user", "alice"]);
    assert_eq!((token.code, &*token.errors, token.output.lines().count()), (0, "", 1));
    let token = token.output.trim();
    let own = explain(&folder, &["GET", "/api/alice/tasks", "--token", token]);
    assert_eq!(own.code, 0, "{}", own.output);
    assert!(own.output.contains("forwarded by route /api/{user_id}/** with x-user-id: alice"), "{}", own.output);
    let other = explain(&folder, &["GET", "/api/bob/tasks", "--token", token]);
    assert_eq!(other.code, 1);
    assert!(
        other.output.contains("REFUSED  not_owner: the path is of \"bob\", the caller is \"alice\""),
        "{}",
        other.output
    );
    assert!(other.output.contains("to pass: ask for a path of the caller's own"), "{}", other.output);
}

#[test]
fn a_token_of_a_new_secret_comes_with_how_to_accept_it() {
    let folder = folder();
    let token = ownergate(folder.path(), &["token", "--user", "alice"]);
    assert_eq!((token.code, token.output.lines().count()), (0, 1));
    let secret = token.errors.split("OWNERGATE_SECRET=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    std::fs::write(folder.path().join("secret"), secret).unwrap();
    assert_eq!(explain(&folder, &["GET", "/api/alice", "--token", token.output.trim()]).code, 0);
}

#[test]
fn no_token_is_signed_for_an_id_that_could_be_nobodys() {
    let folder = folder();
    for user in ["", " alice", "a\nb"] {
        let token = ownergate(folder.path(), &["token", "--secret-file", "secret", "--user", user]);
        assert_eq!((token.code, &*token.output), (64, ""), "{user:?}");
    }
}

#[test]
fn no_token_is_signed_without_the_issuers_secret() {
    let token = ownergate(folder().path(), &["token", "--better-auth", "http://127.0.0.1:1", "--user", "alice"]);
    assert_eq!((token.code, &*token.output), (64, ""));
    assert!(token.errors.contains("/api/auth/token"), "{}", token.errors);
}

#[test]
fn each_refusal_is_explained_with_its_code_and_what_would_pass() {
    let folder = folder();
    for (arguments, code) in [
        (&["GET", "/api/alice"][..], "token_missing"),
        (&["GET", "/nothing"], "token_missing"),
        (&["GET", "/api/../alice"], "path_ambiguous"),
        (&["GET", "/api/alice#x"], "path_ambiguous"),
        (&["TRACE", "/api/alice"], "method_not_allowed"),
        (&["GET", "/api/alice", "--token", "opaque"], "token_malformed"),
        (&["GET", "/api/alice", "--header", "Host: a b"], "request_malformed"),
        (&["GET", "/api/alice", "--token", "a.b.c", "--header", "Authorization: Bearer d.e.f"], "credentials_repeated"),
    ] {
        let explained = explain(&folder, arguments);
        assert_eq!(explained.code, 1, "{arguments:?}");
        assert!(explained.output.contains(&format!("REFUSED  {code}: ")), "{arguments:?}: {}", explained.output);
        assert!(explained.output.contains("to pass: "), "{arguments:?}: {}", explained.output);
    }
}

#[test]
fn an_explanation_says_what_the_code_alone_does_not() {
    let folder = folder();
    for (arguments, told) in [
        (
            &["GET", "/api/alice", "--token", "opaque"][..],
            "to pass: The token is no JWT. It looks like an opaque session",
        ),
        (&["TRACE", "/api/alice"], "TRACE and CONNECT are never forwarded"),
    ] {
        let explained = explain(&folder, arguments).output;
        assert!(explained.contains(told), "{explained}");
    }
}

#[test]
fn an_explained_preflight_shows_what_the_browser_is_allowed() {
    let folder = folder();
    let file = "[[issuer]]\nsecret_file = \"secret\"\n[upstream.app]\nurl = \"http://127.0.0.1:1\"\n[[route]]\npath = \"/**\"\n\
        access = \"signed-in\"\n[route.cors]\norigins = [\"https://app.example\"]\n";
    std::fs::write(folder.path().join("gate.toml"), file).expect("the folder can be written");
    let from = |origin: &str| {
        let preflight = ["explain", "--config", "gate.toml", "OPTIONS", "/x", "--header"];
        let headers = [origin, "--header", "Access-Control-Request-Method: PUT"];
        ownergate(folder.path(), &[&preflight[..], &headers].concat()).output
    };
    let listed = from("Origin: https://app.example");
    assert!(listed.contains("access-control-allow-headers: authorization, content-type"), "{listed}");
    let stranger = from("Origin: https://other.example");
    assert!(stranger.contains("nothing is allowed: the Origin is none of the route's cors.origins"), "{stranger}");
}

#[test]
fn an_issuer_that_cannot_be_reached_is_told_once() {
    let folder = folder();
    let request = ["explain", "GET", "/api/alice", "--token", "a.b.c", "--upstream", "http://127.0.0.1:1"];
    let explained = ownergate(folder.path(), &[&request[..], &["--better-auth", "http://127.0.0.1:1"]].concat()).output;
    assert_eq!(explained.matches("no connection to").count(), 1, "{explained}");
}

#[test]
fn a_word_that_is_no_tool_is_told_the_tools() {
    let folder = folder();
    for words in [&["chek"][..], &["--upstream", "http://127.0.0.1:1", "task-service"]] {
        let fault = ownergate(folder.path(), words);
        assert_eq!(fault.code, 64, "{}", fault.errors);
        assert!(fault.errors.contains("the tools are check, config, explain"), "{}", fault.errors);
    }
    let surplus = ownergate(folder.path(), &["explain", "GET", "/", "more"]);
    assert!(!surplus.errors.contains("the tools are"), "{}", surplus.errors);
}

#[test]
fn words_that_are_no_request_are_faults_and_no_refusal() {
    let folder = folder();
    for (arguments, told) in [
        (&["G T", "/"][..], "\"G T\" is no method"),
        (&["GET", "nopath"], "\"nopath\" does not begin with \"/\""),
        (&["GET", "/", "--header", "nothing"], "--header wants"),
        (&["GET", "/", "--header", "a b: c"], "is no header name"),
    ] {
        let explained = explain(&folder, arguments);
        assert_eq!((explained.code, &*explained.output), (64, ""), "{arguments:?}");
        assert!(explained.errors.contains(told), "{arguments:?}: {}", explained.errors);
    }
}

#[test]
fn steps_are_told_in_the_order_in_which_they_decide() {
    let folder = folder();
    let token = |expiry: &str| {
        let arguments = ["token", "--secret-file", "secret", "--user", "alice", "--expires-in", expiry];
        ownergate(folder.path(), &arguments).output.trim().to_owned()
    };
    let toml = r#"
        [[issuer]]
        name = "main"
        secret_file = "secret"
        leeway_seconds = 20
        [upstream.app]
        url = "http://127.0.0.1:1"
        [[route]]
        path = "/api/{user}/**"
        access = { owner = "user" }
        upstream = "app"
        [[route]]
        path = "/watched/{user}/**"
        access = { owner = "user" }
        upstream = "app"
        enforce = false
        [[route]]
        path = "/public"
        access = "public"
        upstream = "app"
        [[route]]
        path = "/optional"
        access = "optional"
        upstream = "app"
    "#;
    std::fs::write(folder.path().join("gate.toml"), toml).unwrap();
    let (good, late) = (token("1h"), token("0s"));
    for (path, token, expected) in [
        ("/api/alice", Some(&good), "request ok, token ok, route ok, owner ok"),
        ("/api/alice", None, "request ok, token REFUSED"),
        ("/api/bob", Some(&good), "request ok, token ok, route ok, owner REFUSED"),
        ("/nothing", Some(&good), "request ok, token ok, route REFUSED"),
        ("/nothing", None, "request ok, token REFUSED"),
        ("/api/../x", Some(&good), "request REFUSED"),
        ("/watched/bob", Some(&good), "request ok, token ok, route ok, owner watched"),
        ("/watched/bob", None, "request ok, token watched"),
        ("/public", None, "request ok, token ok, route ok"),
        ("/optional", None, "request ok, token ok, route ok"),
    ] {
        let mut arguments = vec!["explain", "--config", "gate.toml", "GET", path];
        arguments.extend(token.iter().flat_map(|token| ["--token", token]));
        let explained = ownergate(folder.path(), &arguments).output;
        let steps = explained.lines().filter(|line| line.starts_with("  "));
        let steps: Vec<String> =
            steps.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(steps.join(", "), expected, "{path}: {explained}");
    }
    let explained = |token: &str| {
        ownergate(folder.path(), &["explain", "--config", "gate.toml", "GET", "/api/alice", "--token", token]).output
    };
    assert!(explained(&good).contains(" s, leeway 20 s"), "{}", explained(&good));
    assert!(explained(&late).contains(" s ago, leeway 20 s"), "{}", explained(&late));
}

#[test]
fn a_missing_token_is_to_be_had_from_where_the_keys_come() {
    let folder = folder();
    let by_secret = explain(&folder, &["GET", "/api/alice"]).output;
    assert!(
        by_secret.contains("ownergate token --user ID\" prints with the same --config or --secret-file"),
        "{by_secret}"
    );
    let settings = ["--upstream", "http://127.0.0.1:1", "--better-auth", "http://127.0.0.1:1"];
    let by_key_set = ownergate(folder.path(), &[&["explain", "GET", "/api/alice"][..], &settings].concat()).output;
    assert!(by_key_set.contains("to pass: send --token with a JWT from the issuer"), "{by_key_set}");
}

#[test]
fn keys_that_cannot_be_fetched_are_told_with_the_reason() {
    let folder = folder();
    let token = ownergate(folder.path(), &["token", "--secret-file", "secret", "--user", "alice"]).output;
    // The header says EdDSA; no key is needed to find that its keys can't be had.
    let token = token.trim().replacen("eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ", 1);
    let settings = ["explain", "--upstream", "http://127.0.0.1:1", "--jwks", "http://127.0.0.1:1/jwks"];
    let issuer = ["--issuer", "me", "--audience", "me", "GET", "/api/alice", "--token", &token];
    let explained = ownergate(folder.path(), &[&settings[..], &issuer].concat());
    assert_eq!(explained.code, 1);
    assert!(explained.output.contains("no connection to `127.0.0.1`"), "{}", explained.output);
}

#[test]
fn check_sums_up_a_good_configuration_and_lists_every_fault_of_a_bad_one() {
    let folder = folder();
    let good = ownergate(folder.path(), &["check", "--secret-file", "secret", "--upstream", "http://127.0.0.1:1"]);
    assert_eq!(good.code, 0, "{}", good.errors);
    assert!(good.output.contains("route /api/{user_id}/** → default: owner user_id"), "{}", good.output);
    assert!(!good.output.contains(SECRET));
    std::fs::write(folder.path().join("bad.json"), "no key set").unwrap();
    let bad = ownergate(folder.path(), &["check", "--jwks", "missing.json"]);
    assert_eq!((bad.code, &*bad.output), (64, ""));
    assert!(bad.errors.lines().count() >= 2, "{}", bad.errors);
    let settings = ["--upstream", "http://127.0.0.1:1", "--issuer", "me", "--audience", "me"];
    let bad = ownergate(folder.path(), &[&["check", "--jwks", "bad.json"][..], &settings].concat());
    assert_eq!(bad.code, 64, "{}", bad.output);
}

#[test]
fn a_table_of_cases_passes_or_shows_what_went_otherwise() {
    let folder = folder();
    let table = r#"
        [[case]]
        path = "/api/alice/tasks"
        claims = { sub = "alice" }
        expect = "forward"
        [[case]]
        method = "DELETE"
        path = "/api/bob"
        claims = { sub = "alice" }
        expect = "not_owner"
        [[case]]
        path = "/api/alice"
        expect = "token_missing"
        [[case]]
        path = "/api/alice"
        claims = { sub = "alice", exp = 1 }
        expect = "token_expired"
    "#;
    let test = |table: &str| {
        std::fs::write(folder.path().join("cases.toml"), table).unwrap();
        let settings = ["--secret-file", "secret", "--upstream", "http://127.0.0.1:1"];
        ownergate(folder.path(), &[&["test", "cases.toml"][..], &settings].concat())
    };
    let passed = test(table);
    assert_eq!((passed.code, passed.output.trim()), (0, "4 passed, 0 failed"), "{}", passed.errors);
    let failed = test(&table.replace("not_owner", "forward"));
    assert_eq!(failed.code, 1);
    assert_eq!(failed.output.trim(), "case[1] DELETE /api/bob\n  - forward\n  + not_owner\n3 passed, 1 failed");
}

#[test]
fn a_table_that_makes_no_sense_is_a_fault_and_no_failed_case() {
    let folder = folder();
    let settings = ["--secret-file", "secret", "--upstream", "http://127.0.0.1:1"];
    let test = || ownergate(folder.path(), &[&["test", "cases.toml"][..], &settings].concat());
    let missing = test();
    assert_eq!((missing.code, missing.errors.contains("cases.toml")), (64, true), "{}", missing.errors);
    for (table, told) in [
        ("", "found no case"),
        ("[[case]]\npath = \"/\"\nexpects = \"forward\"", "expects"),
        ("[[case]]\npath = \"/\"\nexpect = \"allow\"", "case[0].expect: found \"allow\", wanted forward, preflight or"),
        ("[[case]]\npath = \"/\"\nmethod = \"G T\"\nexpect = \"forward\"", "case[0]: \"G T\" is no method"),
    ] {
        std::fs::write(folder.path().join("cases.toml"), table).unwrap();
        let finished = test();
        assert_eq!((finished.code, &*finished.output), (64, ""), "{table}");
        assert!(finished.errors.contains(told), "{table}: {}", finished.errors);
    }
}

#[test]
fn the_table_in_the_help_is_one() {
    let folder = folder();
    let help = ownergate(folder.path(), &["test", "--help"]).output;
    let table = help.split("cases.toml:\n").nth(1).and_then(|rest| rest.split("\nWith several").next()).unwrap();
    std::fs::write(folder.path().join("cases.toml"), table).unwrap();
    let settings = ["--secret-file", "secret", "--upstream", "http://127.0.0.1:1"];
    let finished = ownergate(folder.path(), &[&["test", "cases.toml"][..], &settings].concat());
    assert_eq!((finished.code, finished.output.trim()), (0, "3 passed, 0 failed"), "{}", finished.errors);
}

#[test]
fn faults_of_the_command_line_are_faults_of_the_configuration() {
    let folder = folder();
    assert_eq!(ownergate(folder.path(), &["--no-such-flag"]).code, 64);
    assert_eq!(ownergate(folder.path(), &[]).code, 64);
    assert_eq!(ownergate(folder.path(), &["--help"]).code, 0);
    assert_eq!(ownergate(folder.path(), &["--version"]).code, 0);
}

#[test]
fn completions_and_a_manual_page_are_printed() {
    let folder = folder();
    let completions = ownergate(folder.path(), &["completions", "bash"]);
    assert_eq!(completions.code, 0);
    assert!(completions.output.contains("--better-auth"));
    let manual = ownergate(folder.path(), &["man"]);
    assert_eq!(manual.code, 0);
    assert!(manual.output.contains(".TH ownergate 1"), "{}", manual.output);
}
