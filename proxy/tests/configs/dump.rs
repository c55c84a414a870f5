//! What `ownergate config` prints loads to the same.

use std::path::Path;

use crate::kit::{SECRET, Setup, setup, toml};

const EVERYTHING: &str = r#"
[server]
listen = ["0.0.0.0:8080", "[::1]:8080", "unix:/run/o.sock", "systemd", "systemd:web"]
socket_mode = "0660"
share_addresses = true
admin = "off"
trusted_proxies = ["10.0.0.0/8", "::1"]
proxy_protocol = ["10.0.0.0/8", "unix"]
plain_http_hosts = ["keys.example"]
workers = 3
[server.tls]
certificate = "jwks.json"
key = "jwks.json"
client_ca = "jwks.json"
[log]
format = "json"
level = "debug"
[traces]
otlp = "https://collector.example/v1/traces"
sample_ratio = 0.25
service_name = "gate"
[[issuer]]
name = "app"
jwks = "http://keys.example/jwks?x=1"
issuer = "https://app.example"
audience = ["a", "b\"c"]
algorithms = ["EdDSA", "ES512"]
leeway_seconds = 0
token_types = ["JWT", "at+jwt"]
user_claim = "uid"
required_claims = ["jti"]
max_lifetime_seconds = 3600
scope_claims = []
role_claim = "roles"
token_from = ["header", { cookie = "session" }, { query = "access_token" }, "websocket-protocol"]
[[issuer]]
name = "file"
jwks = "jwks.json"
issuer = "f"
audience = "f"
[[issuer]]
name = "found"
discovery = "https://id.example"
issuer = "https://id.example"
audience = "x"
[[issuer]]
name = "old.one"
secret_env = ["FIRST", "SECOND"]
secret_file = "secret.txt"
algorithms = "HS512"
[upstream."tasks.v1"]
url = ["https://a:8443", "https://[::1]:8443"]
server_name = "tasks"
ca = "jwks.json"
client_certificate = "jwks.json"
client_key = "jwks.json"
[upstream.plain]
url = ["http://b", "unix:run/x.sock"]
protocol = "http/2"
requests = 64
[[route]]
path = "/api/{user_id}/**"
access = { owner = "user_id" }
issuers = ["app", "old.one"]
upstream = "tasks.v1"
body_bytes = 0
response_head_seconds = 300
exchange_seconds = 0.5
end_at_expiry = false
rate_limit = { per_second = 10, burst = 20 }
scopes = ["tasks:read"]
enforce = false
[route.cors]
origins = ["https://app.example"]
headers = []
expose = ["Link"]
max_age_seconds = 0
[[route]]
path = "/admin/**"
access = "signed-in"
issuers = ["app"]
roles = ["admin"]
methods = ["GET", "POST"]
upstream = "plain"
forward_credentials = true
[[route]]
path = "/feed"
access = "optional"
issuers = ["file"]
upstream = "plain"
[[route]]
path = "/**"
access = "public"
upstream = "plain"
forward_credentials = false
[identity]
header = "X-Remote-User"
claims = { "X-User-Email" = "email", "X-Name" = "full name" }
[limits]
head = 2_048
path = 0x3e8
token = 999
body = 9223372036854775807
body_rate = 0
connections = 5
connections_per_address = 3
requests_per_address = { per_second = 7, burst = 9 }
streams = 7
json_depth = 8
[timeouts]
request_head = 1
body_idle = 0.5
keep_alive = 2.25
connect = 3
response_head = 4
exchange = 600
drain_delay = 1.5
drain = 0
"#;

/// Files that are found under their relative and their absolute paths.
fn everything() -> Setup {
    toml(EVERYTHING)
        .file("/w/c/secret.txt", SECRET)
        .file("/w/c/jwks.json", crate::kit::JWKS)
        .variable("FIRST", "a secret of more than thirty-two bytes")
        .variable("SECOND", "another secret of more than thirty-two bytes")
}

#[test]
fn what_is_printed_loads_to_what_was_printed() {
    let printed = everything().config().to_toml(Path::new("/w"));
    let again = everything().file("c/o.toml", &printed).config();
    assert_eq!(again.to_toml(Path::new("/w")), printed);
    // Absolute paths are all that differs, and a file in /w has none other.
    let whole = EVERYTHING.replace("jwks.json", "/w/c/jwks.json").replace("unix:run", "unix:/w/c/run");
    let whole = whole.replace("secret.txt", "/w/c/secret.txt");
    assert_eq!(again, everything().file("c/o.toml", whole).config());
}

#[test]
fn flags_alone_are_printed_as_a_whole_file() {
    let flags = setup().flags(&["--upstream", "http://b:1", "--better-auth", "http://localhost:3000"]);
    let config = flags.config();
    let printed = config.to_toml(Path::new("/w"));
    assert_eq!(toml(&printed).config(), config);
    assert_eq!(printed, include_str!("printed.toml"));
}

#[test]
fn no_secret_is_printed_wherever_it_comes_from() {
    let secret = "a secret of the command line, long enough";
    let base = setup().flags(&["--upstream", "http://b:1"]);
    for (setup, place, variable) in [
        (base.clone().flags(&["--secret", secret]), "secret_env = [\"OWNERGATE_SECRET\"]", "OWNERGATE_SECRET"),
        (base.clone().variable("OWNERGATE_SECRET", secret), "secret_env = [\"OWNERGATE_SECRET\"]", "OWNERGATE_SECRET"),
        (
            base.clone().variable("BETTER_AUTH_SECRET", secret),
            "secret_env = [\"BETTER_AUTH_SECRET\"]",
            "BETTER_AUTH_SECRET",
        ),
        (base.clone().file("s", secret).flags(&["--secret-file", "s"]), "secret_file = [\"/w/s\"]", "UNUSED"),
    ] {
        let config = setup.config();
        let printed = config.to_toml(Path::new("/w"));
        assert!(printed.contains(place), "{printed}");
        assert!(!printed.contains(secret) && !format!("{config:?}").contains(secret), "{printed}\n{config:?}");
        let again = toml(&printed).file("/w/s", secret).variable(variable, secret).config();
        assert_eq!(again.to_toml(Path::new("/w")), without_comments(&printed));
    }
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).fold(String::new(), |text, line| text + line + "\n")
}
