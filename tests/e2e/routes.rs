//! Several routes through one port: who may use which, where they lead, and what they pass on.

use e2e::key::Key;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET};
use e2e::token::Token;
use serde_json::json;

use crate::configured::{MAIN, OWNER, configured, route};
use crate::gate::Judged;

#[test]
fn a_file_says_what_the_flags_say() {
    let gate = configured(&format!("{MAIN}{OWNER}"));
    assert_eq!(gate.forwards(&gate.by_alice("/api/alice/x")).user(), b"alice");
    assert_eq!(gate.verdict(&gate.by_alice("/api/bob/x")), "403 not_owner");
    assert_eq!(gate.verdict(&Request::get("/api/alice/x")), "401 token_missing");
    assert_eq!(gate.verdict(&gate.by_alice("/nowhere")), "404 route_unknown");
}

#[test]
fn a_public_route_looks_at_no_token_and_names_no_user() {
    let gate = configured(&format!("{MAIN}{OWNER}{}", route("/public/**", "access = \"public\"")));
    for request in [
        Request::get("/public/page"),
        Request::get("/public"),
        gate.by_alice("/public/page"),
        Request::get("/public/page").bearer("junk").field("Cookie", "better-auth.session_token=x"),
        Request::get("/public/page").bearer("one").bearer("two"),
        Request::get("/public/page").field("X-User-Id", "bob").field("x_user.id", "bob"),
        Request::new("OPTIONS", "/public/page").field("X_User_Id", "bob"),
    ] {
        let received = gate.forwards(&request);
        assert!(received.head.aliases("x-user-id").is_empty(), "{:?}", received.head);
    }
    let credentials = Request::get("/public/x").bearer("opaque").field("Cookie", "better-auth.session_token=x");
    let received = gate.forwards(&credentials);
    assert_eq!(received.head.values("authorization"), ["Bearer opaque"]);
    assert_eq!(received.head.values("cookie"), ["better-auth.session_token=x"]);
}

#[test]
fn row_07_identity_is_scrubbed_on_public_routes() {
    let gate = configured(&format!("{MAIN}{}", route("/public/**", "access = \"public\"")));
    let received = gate.forwards(&Request::get("/public/x").field("X-User-Id", "bob").field("Remote-User", "bob"));
    assert!(received.head.aliases("x-user-id").is_empty() && received.head.aliases("remote-user").is_empty());
}

#[test]
fn a_signed_in_route_is_open_to_every_user_and_to_nobody_else() {
    let gate = configured(&format!("{MAIN}{}", route("/news/**", "access = \"signed-in\"")));
    for user in ["alice", "bob"] {
        let received = gate.forwards(&Request::get("/news/today").bearer(&gate.token(user)));
        assert_eq!(received.user(), user.as_bytes());
    }
    assert_eq!(gate.verdict(&Request::get("/news/today")), "401 token_missing");
    assert_eq!(gate.verdict(&Request::get("/news/today").bearer("junk")), "401 token_malformed");
}

#[test]
fn routes_are_tried_by_specificity_whatever_their_order() {
    let routes = [
        route("/**", "access = \"signed-in\""),
        route("/api/{user_id}/**", "access = { owner = \"user_id\" }"),
        route("/api/status", "access = \"public\""),
        route("/api/{user_id}/shared", "access = \"signed-in\""),
    ];
    let reversed: Vec<_> = routes.iter().rev().cloned().collect();
    for routes in [routes.concat(), reversed.concat()] {
        let gate = configured(&format!("{MAIN}{routes}"));
        let mut judged = Judged::default();
        for (target, anonymous, alice) in [
            ("/api/status", "forwarded", "forwarded"),
            ("/api/bob/shared", "401 token_missing", "forwarded"),
            ("/api/bob/x", "401 token_missing", "403 not_owner"),
            ("/api/bob/shared/x", "401 token_missing", "403 not_owner"),
            ("/api/alice/x", "401 token_missing", "forwarded"),
            ("/other", "401 token_missing", "forwarded"),
            ("/", "401 token_missing", "forwarded"),
        ] {
            judged.compare(target, &gate.verdict(&Request::get(target)), anonymous);
            judged.compare(target, &gate.verdict(&gate.by_alice(target)), alice);
        }
        judged.all_right();
    }
}

#[test]
fn methods_of_a_route_are_an_allow_list() {
    let gate = configured(&format!(
        "{MAIN}{}",
        route("/api/{user_id}/**", "access = { owner = \"user_id\" }\nmethods = [\"GET\", \"POST\"]")
    ));
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/x")), "forwarded");
    let delete = Request::new("DELETE", "/api/alice/x").bearer(&gate.token("alice"));
    let answer = gate.proxy.ask(&delete);
    answer.refused(405, "method_not_allowed");
    let allow = answer.header("allow").expect("a 405 says what is allowed");
    assert!(allow.contains("GET") && allow.contains("POST") && !allow.contains("DELETE"), "{allow}");
    let lower = Request::new("get", "/api/alice/x").bearer(&gate.token("alice"));
    assert_eq!(gate.verdict(&lower), "405 method_not_allowed");
}

#[test]
fn scopes_are_demanded_after_the_owner() {
    let gate = configured(&format!(
        "{MAIN}{}",
        route("/api/{user_id}/**", "access = { owner = \"user_id\" }\nscopes = [\"tasks:read\", \"tasks:list\"]")
    ));
    let with = |scope: serde_json::Value| Token::of("alice").claim("scope", scope).signed_by(&gate.key);
    let ask = |token: &str, target: &str| gate.verdict(&Request::get(target).bearer(token));
    let mut judged = Judged::default();
    for (scope, wanted) in [
        (json!("tasks:read tasks:list"), "forwarded"),
        (json!("openid tasks:list tasks:read"), "forwarded"),
        (json!("tasks:read"), "403 scope_missing"),
        (json!("tasks:reader tasks:list"), "403 scope_missing"),
        (json!(""), "403 scope_missing"),
    ] {
        judged.compare(&scope.to_string(), &ask(&with(scope), "/api/alice/x"), wanted);
    }
    judged.compare("none", &ask(&gate.token("alice"), "/api/alice/x"), "403 scope_missing");
    judged.compare("bob's", &ask(&gate.token("alice"), "/api/bob/x"), "403 not_owner");
    judged.all_right();
}

#[test]
fn every_route_has_its_own_upstream() {
    let (app, other) = (Recorder::start(), Recorder::on_unix_socket());
    let toml = format!(
        "{MAIN}{OWNER}
        [[route]]
        path = \"/files/{{owner}}/**\"
        access = {{ owner = \"owner\" }}
        upstream = \"files\"
        [upstream.files]
        url = \"{}\"
        [upstream.app]
        url = \"{}\"",
        other.url(),
        app.url()
    );
    let proxy = Proxy::configured(&toml).file("secret", SECRET).start();
    let token = Token::of("alice").signed_by(&Key::shared(SECRET));
    proxy.ask(&Request::get("/api/alice/x").bearer(&token)).expect(200);
    proxy.ask(&Request::get("/files/alice/y").bearer(&token)).expect(200);
    assert_eq!((app.only().target(), other.only().target()), ("/api/alice/x", "/files/alice/y"));
}

#[test]
fn row_52_a_known_token_is_judged_by_each_route_anew() {
    let routes = [
        route("/open/**", "access = \"signed-in\""),
        route("/scoped/**", "access = \"signed-in\"\nscopes = [\"admin\"]"),
        route("/own/{user}/**", "access = { owner = \"user\" }"),
    ];
    let gate = configured(&format!("{MAIN}{}", routes.concat()));
    let token = gate.token("alice");
    for _ in 0..2 {
        for (target, wanted) in [
            ("/open/x", "forwarded"),
            ("/scoped/x", "403 scope_missing"),
            ("/own/bob/x", "403 not_owner"),
            ("/own/alice/x", "forwarded"),
        ] {
            assert_eq!(gate.verdict(&Request::get(target).bearer(&token)), wanted, "{target}");
        }
    }
}

#[test]
fn row_57_each_route_has_its_own_rules_for_the_same_token() {
    let routes = [
        route("/reports/**", "access = \"signed-in\"\nscopes = [\"reports\"]"),
        route("/mail/**", "access = \"signed-in\"\nscopes = [\"mail\"]"),
    ];
    let gate = configured(&format!("{MAIN}{}", routes.concat()));
    let token = Token::of("alice").claim("scope", "reports").signed_by(&gate.key);
    assert_eq!(gate.verdict(&Request::get("/reports/1").bearer(&token)), "forwarded");
    assert_eq!(gate.verdict(&Request::get("/mail/1").bearer(&token)), "403 scope_missing");
}

#[test]
fn credentials_are_forwarded_where_a_route_says_so() {
    let gate = configured(&format!("{MAIN}{OWNER}forward_credentials = true\n"));
    let token = gate.token("alice");
    let received = gate.forwards(&gate.by_alice("/api/alice/x").field("Cookie", "better-auth.session_token=x"));
    assert_eq!(received.head.value("authorization"), Some(format!("Bearer {token}")));
    assert_eq!(received.head.value("cookie").as_deref(), Some("better-auth.session_token=x"));
    assert_eq!(received.user(), b"alice");
}

#[test]
fn forwarded_headers_count_from_trusted_proxies() {
    let gate = configured(&format!("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{MAIN}{OWNER}"));
    let request = gate
        .by_alice("/api/alice/x")
        .field("X-Forwarded-For", "203.0.113.9")
        .field("X-Forwarded-Proto", "https")
        .field("X-Forwarded-Host", "public.example")
        .field("X_Forwarded_For", "6.6.6.6");
    let received = gate.forwards(&request);
    let forwarded = received.head.value("x-forwarded-for").expect("the way here");
    assert!(forwarded.starts_with("203.0.113.9") && !forwarded.contains("6.6.6.6"), "{forwarded}");
    assert_eq!(received.head.value("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(received.head.value("x-forwarded-host").as_deref(), Some("public.example"));
    assert_eq!(received.head.aliases("x-forwarded-for").len(), 1);
}

#[test]
fn an_optional_route_knows_its_caller_if_there_is_a_token_and_refuses_a_bad_one() {
    let gate = configured(&format!("{MAIN}{}", route("/feed/**", "access = \"optional\"")));
    assert_eq!(gate.forwards(&gate.by_alice("/feed/x").field("X-User-Id", "bob")).user(), b"alice");
    let anonymous = gate.forwards(&Request::get("/feed/x").field("X-User-Id", "bob"));
    assert!(anonymous.head.aliases("x-user-id").is_empty());
    assert_eq!(gate.verdict(&Request::get("/feed/x").bearer("junk")), "401 token_malformed");
    let expired = Token::of("alice").claim("exp", 1).signed_by(&gate.key);
    assert_eq!(gate.verdict(&Request::get("/feed/x").bearer(&expired)), "401 token_expired");
}

#[test]
fn row_45_a_token_of_an_unknown_issuer_is_final_on_an_optional_route() {
    let issuer = format!("{MAIN}issuer = \"https://issuer.test\"\n");
    let gate = configured(&format!("{issuer}{}", route("/feed/**", "access = \"optional\"")));
    let evil = Token::of("alice").claim("iss", "evil").signed_by(&gate.key);
    assert_eq!(gate.verdict(&Request::get("/feed/x").bearer(&evil)), "401 issuer_mismatch");
}

#[test]
fn a_watched_route_forwards_and_tells_what_it_would_have_refused() {
    let gate = configured(&format!(
        "{MAIN}{}",
        route("/api/{user_id}/**", "access = { owner = \"user_id\" }\nenforce = false")
    ));
    let other = gate.forwards(&gate.by_alice("/api/bob/watched").field("X-User-Id", "bob"));
    assert_eq!(other.user(), b"alice");
    assert!(gate.proxy.process.wait_for_line("watched").contains("not_owner"));
    let anonymous = gate.forwards(&Request::get("/api/bob/x").field("X-User-Id", "bob"));
    assert!(anonymous.head.aliases("x-user-id").is_empty());
    for code in ["not_owner", "token_missing"] {
        let counted = format!("ownergate_shadowed_total{{route=\"/api/{{user_id}}/**\",code=\"{code}\"}} 1");
        gate.proxy.wait_for_metric(&counted);
    }
    assert_eq!(gate.verdict(&gate.by_alice("/api/alice/../bob")), "400 path_ambiguous");
    assert_eq!(gate.verdict(&Request::get("/elsewhere")), "401 token_missing");
}

#[test]
fn roles_are_one_of_those_listed() {
    let issuer = format!("{MAIN}role_claim = \"role\"\n");
    let roles = "access = \"signed-in\"\nroles = [\"admin\", \"owner\"]";
    let gate = configured(&format!("{issuer}{}", route("/admin/**", roles)));
    let ask = |role: serde_json::Value| {
        let token = Token::of("alice").claim("role", role).signed_by(&gate.key);
        gate.verdict(&Request::get("/admin/x").bearer(&token))
    };
    assert_eq!(ask(json!("admin")), "forwarded");
    assert_eq!(ask(json!(["user", "owner"])), "forwarded");
    assert_eq!(ask(json!("administrator")), "403 scope_missing");
    assert_eq!(ask(json!(["user"])), "403 scope_missing");
    assert_eq!(gate.verdict(&gate.by_alice("/admin/x")), "403 scope_missing");
}

#[test]
fn an_upstream_of_several_addresses_serves_while_one_of_them_lives() {
    let (first, second) = (Recorder::start(), Recorder::start());
    let dead = e2e::port::free();
    let upstream = format!("[upstream.app]\nurl = [\"{}\", \"http://{dead}\", \"{}\"]\n", first.url(), second.url());
    let proxy = Proxy::configured(&format!("{MAIN}{OWNER}{upstream}")).file("secret", SECRET).start();
    let token = Token::of("alice").signed_by(&Key::shared(SECRET));
    for number in 0..30 {
        proxy.ask(&Request::post(format!("/api/alice/{number}"), "x").bearer(&token)).expect(200);
    }
    assert_eq!(first.received().len() + second.received().len(), 30, "each request once");
}
