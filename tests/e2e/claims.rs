//! Claims in headers: the token's or none.

use e2e::request::Request;
use e2e::token::Token;
use serde_json::json;

use crate::configured::{MAIN, OWNER, configured};
use crate::gate::Gate;

/// Claims in headers, and a header of its own name for the user.
const CLAIMS: &str = r#"
    [identity]
    header = "x-caller"
    claims = { "X-User-Email" = "email", "X-User-Roles" = "roles", "X-User-Admin" = "admin" }
"#;

/// What the backend is told in the headers of [`CLAIMS`], of a client that sends its own as well.
fn told_of(gate: &Gate, token: &Token) -> [String; 4] {
    let request = Request::get("/api/alice/x")
        .bearer(&token.signed_by(&gate.key))
        .field("X-Caller", "bob")
        .field("x_caller", "bob")
        .field("X-User-Email", "ceo@example.com")
        .field("X_User_Email", "ceo@example.com")
        .field("X-User-Roles", "root")
        .field("X.User.Roles", "root")
        .field("X-User-Admin", "root");
    let received = gate.forwards(&request);
    ["x-caller", "x-user-email", "x-user-roles", "x-user-admin"].map(|name| {
        let aliases = received.head.aliases(name).into_iter();
        aliases.map(|(_, value)| String::from_utf8(value).expect("ASCII")).collect::<Vec<_>>().join(" and ")
    })
}

#[test]
fn claims_go_into_headers_as_text() {
    let gate = configured(&format!("{MAIN}{OWNER}{CLAIMS}"));
    let token =
        Token::of("alice").claim("email", "a@example.com").claim("roles", json!(["a", "b"])).claim("admin", true);
    assert_eq!(told_of(&gate, &token), ["alice", "a@example.com", "a,b", "true"]);
    let number = Token::of("alice").claim("email", 7);
    assert_eq!(told_of(&gate, &number), ["alice", "7", "", ""]);
}

#[test]
fn row_05_and_06_a_clients_copy_of_a_claim_goes_when_the_token_has_none() {
    let gate = configured(&format!("{MAIN}{OWNER}{CLAIMS}"));
    assert_eq!(told_of(&gate, &Token::of("alice")), ["alice", "", "", ""]);
    for value in [
        json!("a\r\nX-Role: admin"),
        json!("\u{0}"),
        json!({"a": 1}),
        json!([1, {}]),
        json!(null),
        json!("x".repeat(9_000)),
    ] {
        let token = Token::of("alice").claim("email", value.clone());
        assert_eq!(told_of(&gate, &token), ["alice", "", "", ""], "{value}");
    }
}

#[test]
fn row_10_a_configured_header_is_set_whatever_its_case() {
    let gate = configured(&format!("{MAIN}{OWNER}[identity]\nheader = \"x-auth-user\"\n"));
    let received =
        gate.forwards(&gate.by_alice("/api/alice/x").field("X-Auth-User", "bob").field("X_AUTH_USER", "bob"));
    let aliases = received.head.aliases("x-auth-user");
    assert_eq!(aliases.len(), 1, "{aliases:?}");
    assert_eq!(aliases[0].1, b"alice");
}
