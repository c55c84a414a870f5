//! Flags over environment over file over default.

use ownergate::{
    config::{Address, Endpoint, KeySource, LogFormat, SecretOrigin},
    decide::Access,
};

use crate::kit::{SECRET, setup, toml};

const FILE: &str = r#"
[server]
listen = "127.0.0.1:1000"
[[issuer]]
name = "id"
jwks = "https://file.example/jwks"
issuer = "file"
audience = "file"
[upstream.tasks]
url = "http://file:80"
[[route]]
path = "/tasks/**"
access = "signed-in"
[log]
format = "json"
"#;

fn tcp(address: &str) -> Address {
    Address::Tcp(address.parse().expect("an address"))
}

#[test]
fn without_a_file_there_is_one_route_for_owners() {
    let config = setup().flags(&["--upstream", "http://127.0.0.1:8081", "--secret-file", "secret.txt"]).config();
    let [route] = config.policy.routes() else { panic!("one route") };
    assert_eq!(route.pattern.as_str(), "/api/{user_id}/**");
    assert_eq!(route.access, Access::Owner { capture: "user_id".into() });
    assert!(!route.forward_credentials);
    assert_eq!(config.server.listen, [tcp("127.0.0.1:8080")]);
    assert_eq!(config.server.admin, Some(tcp("127.0.0.1:9901")));
    assert_eq!(config.identity.header, "x-user-id");
}

#[test]
fn a_flag_goes_over_its_variable_and_a_variable_over_the_file() {
    let file = toml(FILE);
    assert_eq!(file.config().server.listen, [tcp("127.0.0.1:1000")]);
    let variable = file.variable("OWNERGATE_LISTEN", "127.0.0.1:2000, 127.0.0.1:2001");
    assert_eq!(variable.config().server.listen, [tcp("127.0.0.1:2000"), tcp("127.0.0.1:2001")]);
    let flag = variable.flags(&["--listen", "127.0.0.1:3000"]);
    assert_eq!(flag.config().server.listen, [tcp("127.0.0.1:3000")]);
    assert_eq!(flag.config().log.format, LogFormat::Json);
}

#[test]
fn a_key_source_given_by_flag_takes_the_place_of_the_files() {
    let config = toml(FILE).flags(&["--secret-file", "secret.txt"]).config();
    let KeySource::Secrets(secrets) = &config.issuers[0].keys else { panic!("a secret") };
    assert_eq!(secrets[0].expose(), SECRET.as_bytes());
    assert_eq!(secrets[0].origin(), &SecretOrigin::File("secret.txt".into()));
    assert_eq!(config.issuers[0].rules.issuer.as_deref(), Some("file"));
}

#[test]
fn better_auth_is_short_for_its_key_set_issuer_and_audience() {
    for origin in ["http://localhost:3000", "http://localhost:3000/", "http://LOCALHOST:3000"] {
        let config = setup().flags(&["--upstream", "http://b:1", "--better-auth", origin]).config();
        let issuer = &config.issuers[0];
        assert_eq!(issuer.keys, KeySource::JwksUrl("http://localhost:3000/api/auth/jwks".parse().expect("a URL")));
        assert_eq!(issuer.rules.issuer.as_deref(), Some("http://localhost:3000"));
        assert_eq!(*issuer.rules.audience, ["http://localhost:3000".into()]);
    }
}

#[test]
fn other_flags_say_more_than_the_shorthand() {
    let flags = ["--better-auth", "https://app.example", "--jwks", "http://auth:3000/api/auth/jwks", "--audience", "a"];
    let config = setup().flags(&["--upstream", "http://b:1"]).flags(&flags).config();
    let issuer = &config.issuers[0];
    assert_eq!(issuer.keys, KeySource::JwksUrl("http://auth:3000/api/auth/jwks".parse().expect("a URL")));
    assert_eq!(issuer.rules.issuer.as_deref(), Some("https://app.example"));
    assert_eq!(*issuer.rules.audience, ["a".into()]);
}

#[test]
fn an_upstream_flag_goes_over_the_one_upstream_of_the_file() {
    let config = toml(FILE).flags(&["--upstream", "unix:run/x.sock"]).config();
    assert_eq!(&*config.upstreams[0].name, "tasks");
    assert_eq!(config.upstreams[0].endpoints, [Endpoint::Unix("run/x.sock".into())]);
}

#[test]
fn the_shared_secret_serves_where_nothing_else_says_where_keys_come_from() {
    let shared = setup().flags(&["--upstream", "http://b:1"]).variable("BETTER_AUTH_SECRET", SECRET);
    let config = shared.config();
    let KeySource::Secrets(secrets) = &config.issuers[0].keys else { panic!("a secret") };
    assert_eq!(secrets[0].origin(), &SecretOrigin::Variable("BETTER_AUTH_SECRET".into()));
    assert_eq!(shared.warnings(), "");
    let key_set = shared.flags(&["--better-auth", "http://localhost:3000"]);
    assert!(matches!(key_set.config().issuers[0].keys, KeySource::JwksUrl(_)));
    assert_eq!(key_set.warnings(), "BETTER_AUTH_SECRET: is ignored: keys come from elsewhere");
}

#[test]
fn paths_of_the_file_are_relative_to_it_and_others_to_the_working_directory() {
    let file = r#"
        [[issuer]]
        secret_file = "secret.txt"
        [upstream.tasks]
        url = "unix:run/tasks.sock"
    "#;
    let config = toml(file).config();
    let KeySource::Secrets(secrets) = &config.issuers[0].keys else { panic!("a secret") };
    assert_eq!(secrets[0].origin(), &SecretOrigin::File("c/secret.txt".into()));
    assert_eq!(config.upstreams[0].endpoints, [Endpoint::Unix("c/run/tasks.sock".into())]);
}
