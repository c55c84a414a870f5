//! What each issuer's tokens must be like, and where they may stand.

use e2e::issuer::{Behaviour, Issuer};
use e2e::key::{Algorithm, Key};
use e2e::request::Request;
use e2e::stack::SECRET;
use e2e::token::{AUDIENCE, ISSUER, Token, now};
use serde_json::json;

use crate::configured::{MAIN, OWNER, configured, configured_unready, route};
use crate::gate::Judged;

#[test]
fn row_86_the_same_key_id_and_user_of_two_issuers_are_told_apart() {
    let (first, second) = (Key::new(Algorithm::EdDSA, "1"), Key::new(Algorithm::EdDSA, "1"));
    let (one, two) = (Issuer::publishing(&[&first]), Issuer::publishing(&[&second]));
    let issuer = |name: &str, jwks: String| {
        format!(
            "[[issuer]]\nname = \"{name}\"\njwks = \"{jwks}\"\nissuer = \"https://{name}.test\"\naudience = [\"{AUDIENCE}\"]\n"
        )
    };
    let owner =
        |path: &str, name: &str| route(path, &format!("access = {{ owner = \"user\" }}\nissuers = [\"{name}\"]"));
    let toml = [
        issuer("one", one.url()),
        issuer("two", two.url()),
        owner("/one/{user}/**", "one"),
        owner("/two/{user}/**", "two"),
    ];
    let gate = configured(&toml.concat());
    let token = |key: &Key, name: &str| Token::of("alice").claim("iss", format!("https://{name}.test")).signed_by(key);
    let ask = |target: &str, token: &str| gate.verdict(&Request::get(target).bearer(token));
    let mut judged = Judged::default();
    for (name, key, other) in [("one", &first, "two"), ("two", &second, "one")] {
        let good = token(key, name);
        judged.compare(name, &ask(&format!("/{name}/alice/x"), &good), "forwarded");
        judged.compare(
            &format!("{name} on {other}'s route"),
            &ask(&format!("/{other}/alice/x"), &good),
            "401 issuer_mismatch",
        );
        let posing = token(key, other);
        judged.compare(
            &format!("{name} as {other}"),
            &ask(&format!("/{other}/alice/x"), &posing),
            "401 signature_invalid",
        );
        judged.compare(
            &format!("{name} as {other} on its own route"),
            &ask(&format!("/{name}/alice/x"), &posing),
            "401 issuer_mismatch | 401 signature_invalid",
        );
    }
    judged.all_right();
}

#[test]
fn algorithms_bind_secrets_and_keys_without_one() {
    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        let issuer = format!("[[issuer]]\nname = \"main\"\nsecret_file = \"secret\"\nalgorithms = [\"{name}\"]\n");
        let gate = configured(&format!("{issuer}{OWNER}"));
        let good = Token::of("alice").signed_by(&Key::hmac(algorithm, SECRET));
        assert_eq!(gate.verdict(&Request::get("/api/alice/x").bearer(&good)), "forwarded");
        assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "401 algorithm_not_allowed");
    }
    let key = Key::new(Algorithm::PS256, "k");
    let mut bare = key.jwk();
    bare.as_object_mut().expect("a JWK").remove("alg");
    let keys = Issuer::behaving(Behaviour::Publish(json!({"keys": [bare]})));
    let issuer = format!(
        "[[issuer]]\nname = \"main\"\njwks = \"{}\"\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\nalgorithms = [\"PS256\"]\n",
        keys.url()
    );
    let gate = configured(&format!("{issuer}{OWNER}"));
    let ask = |token: String| gate.verdict(&Request::get("/api/alice/x").bearer(&token));
    assert_eq!(ask(Token::of("alice").signed_by(&key)), "forwarded");
    assert_eq!(ask(Token::of("alice").signed_by(&key.signing_with(Algorithm::RS256))), "401 algorithm_not_allowed");
}

#[test]
fn the_user_claim_types_and_lifetime_of_an_issuer_are_its_own() {
    let gate = configured(&format!(
        "{MAIN}
        user_claim = \"uid\"
        token_types = [\"at+jwt\"]
        max_lifetime_seconds = 900
        {OWNER}"
    ));
    let token =
        |exp: i64| Token::of("somebody").claim("uid", "alice").header("typ", "at+jwt").claim("exp", now() + exp);
    let ask = |token: Token| gate.verdict(&Request::get("/api/alice/x").bearer(&token.signed_by(&gate.key)));
    assert_eq!(ask(token(600)), "forwarded");
    assert_eq!(ask(token(600).without("uid")), "401 claim_missing");
    assert_eq!(ask(token(600).header("typ", "logout+jwt")), "401 token_type_refused");
    assert_eq!(ask(token(3_600)), "401 claim_invalid");
}

#[test]
fn a_cookie_may_carry_the_token_and_stops_here() {
    let gate = configured(&format!("{MAIN}token_from = [\"header\", {{ cookie = \"token\" }}]\n{OWNER}"));
    let token = gate.token("alice");
    let with = |cookie: String| Request::get("/api/alice/x").field("Cookie", cookie);
    let received = gate.forwards(&with(format!("a=1; token={token}; b=2")));
    assert_eq!(received.user(), b"alice");
    assert!(!String::from_utf8_lossy(&received.head.raw).contains(&token), "{:?}", received.head);
    let mut judged = Judged::default();
    for (name, request, wanted) in [
        ("header and cookie", with(format!("token={token}")).bearer(&token), "400 credentials_repeated"),
        ("two cookies", with(format!("token={token}; token={token}")), "400 credentials_repeated"),
        ("another cookie", with(format!("tokens={token}")), "401 token_missing"),
        ("an empty one", with("token=".into()), "401 token_missing | 401 token_malformed"),
        ("junk", with("token=junk".into()), "401 token_malformed"),
        ("the header still", Request::get("/api/alice/x").bearer(&token), "forwarded"),
    ] {
        judged.compare(name, &gate.verdict(&request), wanted);
    }
    judged.all_right();
}

#[test]
fn a_query_parameter_may_carry_the_token_and_is_neither_forwarded_nor_logged() {
    let gate = configured(&format!("{MAIN}token_from = [{{ query = \"access_token\" }}]\n{OWNER}"));
    let token = gate.token("alice");
    let received = gate.forwards(&Request::get(format!("/api/alice/x?a=1&access_token={token}&b=%20")));
    assert_eq!((received.user(), received.target()), (b"alice".to_vec(), "/api/alice/x?a=1&b=%20"));
    let alone = gate.forwards(&Request::get(format!("/api/alice/y?access_token={token}")));
    assert!(["/api/alice/y", "/api/alice/y?"].contains(&alone.target()), "{}", alone.target());
    let twice = Request::get(format!("/api/alice/x?access_token={token}&access_token={token}"));
    assert_eq!(gate.verdict(&twice), "400 credentials_repeated");
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "401 token_missing");
    gate.proxy.ask(&Request::get(format!("/api/bob/the-last-one?access_token={token}"))).refused(403, "not_owner");
    gate.proxy.process.wait_for_line("the-last-one");
    let log = gate.proxy.process.log();
    assert!(token.split('.').all(|part| !log.contains(part)), "{log}");
}

#[test]
fn a_websocket_subprotocol_may_carry_the_token_and_stops_here() {
    let gate = configured(&format!("{MAIN}token_from = [\"websocket-protocol\"]\n{OWNER}"));
    let token = gate.token("alice");
    let with = |protocols: &str| Request::get("/api/alice/x").field("Sec-WebSocket-Protocol", protocols);
    let received = gate.forwards(&with(&format!("chat, {token}")));
    assert_eq!(received.user(), b"alice");
    assert!(!String::from_utf8_lossy(&received.head.raw).contains(&token), "{:?}", received.head);
    assert_eq!(received.head.values("sec-websocket-protocol"), ["chat"]);
    assert_eq!(gate.verdict(&with("chat")), "401 token_missing");
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "401 token_missing");
}

#[test]
fn an_issuer_is_discovered_and_its_document_must_name_it() {
    let key = Key::new(Algorithm::ES256, "k");
    let keys = Issuer::publishing(&[&key]);
    let discovered = |named: &str| {
        let document = json!({"issuer": named, "jwks_uri": keys.url()});
        Issuer::behaving(Behaviour::Publish(document))
    };
    let toml = |discovery: &Issuer| {
        format!(
            "[[issuer]]\nname = \"main\"\ndiscovery = \"{}/.well-known/openid-configuration\"\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\n{OWNER}",
            discovery.origin()
        )
    };
    let honest = discovered(ISSUER);
    let gate = configured(&toml(&honest));
    let request = Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(&key));
    assert_eq!(gate.verdict(&request), "forwarded");
    let posing = discovered("https://somebody-else.test");
    let gate = configured_unready(&toml(&posing));
    assert_eq!(gate.verdict(&request), "503 keys_unavailable");
}

#[test]
fn one_issuers_outage_is_not_anothers() {
    let key = Key::new(Algorithm::EdDSA, "k");
    let (up, down) = (Issuer::publishing(&[&key]), Issuer::behaving(Behaviour::Status(500)));
    let issuer = |name: &str, keys: &Issuer| {
        format!(
            "[[issuer]]\nname = \"{name}\"\njwks = \"{}\"\nissuer = \"https://{name}.test\"\naudience = [\"{AUDIENCE}\"]\n",
            keys.url()
        )
    };
    let routes = route("/**", "access = \"signed-in\"\nissuers = [\"up\", \"down\"]");
    let gate = configured_unready(&format!("{}{}{routes}", issuer("up", &up), issuer("down", &down)));
    let ask = |name: &str| {
        let token = Token::of("alice").claim("iss", format!("https://{name}.test")).signed_by(&key);
        gate.verdict(&Request::get("/x").bearer(&token))
    };
    down.wait_for_fetches(1);
    assert_eq!(ask("up"), "forwarded");
    assert_eq!(ask("down"), "503 keys_unavailable");
    assert_eq!(ask("unknown"), "401 issuer_mismatch");
}
