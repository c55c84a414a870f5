//! The commands that check, explain and print a configuration.

use e2e::key::Key;
use e2e::stack::{Finished, SECRET, command, run, workspace};
use e2e::token::Token;
use tempfile::TempDir;

/// A configuration with nothing wrong in it.
const GOOD: &str = r#"[[issuer]]
name = "main"
secret_file = "secret"

[upstream.app]
url = "http://127.0.0.1:1"

[[route]]
path = "/api/{user_id}/**"
access = { owner = "user_id" }
upstream = "app"

[[route]]
path = "/public/**"
access = "public"
upstream = "app"
"#;

struct Folder(TempDir);

impl Folder {
    fn with(toml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("gate.toml"), toml).expect("the folder can be written");
        std::fs::write(folder.path().join("secret"), SECRET).expect("the folder can be written");
        Self(folder)
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run(command("ownergate").current_dir(self.0.path()).args(arguments))
    }
}

#[test]
fn check_is_content_with_a_good_file() {
    let finished = Folder::with(GOOD).run(&["check", "--config", "gate.toml"]);
    assert_eq!(finished.code, 0, "{}", finished.everything());
}

#[test]
fn the_example_configuration_loads() {
    let example = workspace().join("config/ownergate.toml");
    let finished = Folder::with("").run(&["check", "--config", example.to_str().expect("UTF-8")]);
    assert_eq!(finished.code, 0, "{}", finished.everything());
}

#[test]
fn check_tells_every_fault_with_its_place() {
    let broken = r#"[[issuer]]
name = "main"
secret_file = "nowhere"
colour = "red"

[upstream.app]
url = "gopher://127.0.0.1"

[[route]]
path = "/api/{user_id}/{user_id}"
access = { owner = "user_id" }
upstream = "other"
"#;
    let finished = Folder::with(broken).run(&["check", "--config", "gate.toml"]);
    assert_eq!(finished.code, 64, "{}", finished.everything());
    for place in ["gate.toml:3", "gate.toml:4", "gate.toml:7", "gate.toml:10", "gate.toml:12"] {
        assert!(finished.everything().contains(place), "{place} is not in\n{}", finished.everything());
    }
    for value in ["nowhere", "colour", "gopher", "user_id", "other"] {
        assert!(finished.everything().contains(value), "{value} is not in\n{}", finished.everything());
    }
}

#[test]
fn row_61_a_configuration_that_could_mean_less_protection_does_not_load() {
    for (name, change) in [
        ("an unknown key", GOOD.replace("access = \"public\"", "access = \"public\"\nacess = \"public\"")),
        ("an unknown access", GOOD.replace("\"public\"", "\"open\"")),
        ("no access", GOOD.replace("access = \"public\"\n", "")),
        ("an owner that is no capture", GOOD.replace("owner = \"user_id\"", "owner = \"user\"")),
        ("an empty owner", GOOD.replace("owner = \"user_id\"", "owner = \"\"")),
        ("mistyped methods", GOOD.replace("access = \"public\"", "access = \"public\"\nmethods = 7")),
        (
            "two routes for one path",
            format!("{GOOD}\n[[route]]\npath = \"/public/**\"\naccess = \"signed-in\"\nupstream = \"app\"\n"),
        ),
        (
            "two captures for one path",
            format!("{GOOD}\n[[route]]\npath = \"/api/{{x}}/**\"\naccess = \"signed-in\"\nupstream = \"app\"\n"),
        ),
        ("a rest before the end", GOOD.replace("/public/**", "/public/**/x")),
        ("a path without a slash", GOOD.replace("/public/**", "public/**")),
        ("an ambiguous literal", GOOD.replace("/public/**", "/public//**")),
        ("a dot segment", GOOD.replace("/public/**", "/public/../x")),
        ("a short secret", GOOD.replace("secret_file = \"secret\"", "secret_file = \"gate.toml.none\"")),
        ("an inline secret", GOOD.replace("secret_file = \"secret\"", &format!("secret = \"{SECRET}\""))),
        ("an unknown upstream", GOOD.replacen("upstream = \"app\"", "upstream = \"application\"", 1)),
        (
            "an unknown issuer",
            GOOD.replace("access = { owner = \"user_id\" }", "access = { owner = \"user_id\" }\nissuers = [\"other\"]"),
        ),
        (
            "two issuers and no choice",
            format!(
                "{GOOD}\n[[issuer]]\nname = \"second\"\nsecret_file = \"secret\"\nissuer = \"https://second.test\"\n"
            ),
        ),
        (
            "a key set without an audience",
            GOOD.replace("secret_file = \"secret\"", "jwks = \"https://a.test/jwks\"\nissuer = \"https://a.test\""),
        ),
        ("a negative limit", format!("{GOOD}\n[limits]\nhead = -1\n")),
        ("a timeout in words", format!("{GOOD}\n[timeouts]\ndrain = \"30s\"\n")),
        ("no TOML", "[[[".to_owned()),
    ] {
        assert_ne!(change, GOOD, "{name} changes nothing");
        let finished = Folder::with(&change).run(&["check", "--config", "gate.toml"]);
        assert_eq!(finished.code, 64, "{name}: {}", finished.everything());
        assert!(finished.everything().contains("gate.toml"), "{name}: {}", finished.everything());
        assert!(!finished.everything().contains("panicked") && !finished.everything().contains(SECRET), "{name}");
    }
}

#[test]
fn explain_says_which_rule_decides() {
    let folder = Folder::with(GOOD);
    let token = Token::of("alice").signed_by(&Key::shared(SECRET));
    let expired = Token::of("alice").claim("exp", 1).signed_by(&Key::shared(SECRET));
    for (method, target, token, code, words) in [
        ("GET", "/api/alice/x", Some(&token), 0, vec!["/api/{user_id}/**", "alice"]),
        ("GET", "/public/x", None, 0, vec!["/public/**"]),
        ("GET", "/api/bob/x", Some(&token), 1, vec!["not_owner", "/api/{user_id}/**"]),
        ("GET", "/api/alice/x", None, 1, vec!["token_missing"]),
        ("GET", "/api/alice/x", Some(&expired), 1, vec!["token_expired"]),
        ("GET", "/api/alice/../x", Some(&token), 1, vec!["path_ambiguous"]),
        ("TRACE", "/api/alice/x", Some(&token), 1, vec!["method_not_allowed"]),
        ("GET", "/nowhere", Some(&token), 1, vec!["route_unknown"]),
    ] {
        let mut arguments = vec!["explain", "--config", "gate.toml", method, target];
        if let Some(token) = token {
            arguments.extend(["--token", token]);
        }
        let finished = folder.run(&arguments);
        assert_eq!(finished.code, code, "{method} {target}: {}", finished.everything());
        for word in words {
            assert!(finished.output.contains(word), "{method} {target}: {word} is not in\n{}", finished.everything());
        }
    }
}

#[test]
fn explain_takes_headers_as_the_proxy_does() {
    let folder = Folder::with(GOOD);
    let token = Token::of("alice").signed_by(&Key::shared(SECRET));
    let authorization = format!("Authorization: Bearer {token}");
    let ask = |headers: &[&str]| {
        let mut arguments = vec!["explain", "--config", "gate.toml", "GET", "/api/alice/x"];
        for header in headers {
            arguments.extend(["--header", header]);
        }
        folder.run(&arguments)
    };
    assert_eq!(ask(&[&authorization]).code, 0);
    let twice = ask(&[&authorization, &authorization]);
    assert_eq!(twice.code, 1);
    assert!(twice.output.contains("credentials_repeated"), "{}", twice.everything());
}

#[test]
fn token_needs_a_user() {
    let finished = Folder::with("").run(&["token"]);
    assert_eq!(finished.code, 64, "{}", finished.everything());
}

#[test]
fn the_effective_configuration_loads_again_and_shows_no_secret() {
    let folder = Folder::with(GOOD);
    let first = folder.run(&["config", "--config", "gate.toml"]);
    assert_eq!(first.code, 0, "{}", first.everything());
    assert!(!first.everything().contains(SECRET));
    std::fs::write(folder.0.path().join("again.toml"), &first.output).expect("the folder can be written");
    let second = folder.run(&["config", "--config", "again.toml"]);
    assert_eq!(second.code, 0, "{}", second.everything());
    assert_eq!(second.output, first.output);
}

#[test]
fn a_configuration_of_flags_is_printed_without_its_secret() {
    let folder = Folder::with("");
    let flags = ["config", "--upstream", "http://127.0.0.1:1", "--secret", SECRET];
    let finished = folder.run(&flags);
    assert_eq!(finished.code, 0, "{}", finished.everything());
    assert!(finished.output.contains("/api/{user_id}/**"), "{}", finished.output);
    assert!(!finished.everything().contains(SECRET), "{}", finished.everything());
}
