//! A token's claims.

use ownergate::decide::{Algorithm, Code, Issuer, Timestamp};
use serde_json::{Value, json};

use crate::kit::*;

struct Table {
    signer: Signer,
    world: World,
}

impl Table {
    fn new() -> Self {
        Self::ruled_by(issuer())
    }

    fn ruled_by(rules: Issuer) -> Self {
        let signer = Signer::new(Algorithm::HS256, "-");
        let world = World::new(vec![(rules, secret_keys(&[SECRET], &[]))]);
        Self { signer, world }
    }

    /// A good token with these claims instead of its own; `null` of the outer kind removes one.
    fn user(&self, claims: &[(&str, Option<Value>)]) -> Result<String, Code> {
        self.world.user(&self.signer.with_claims(|members| {
            for (name, value) in claims {
                match value {
                    Some(value) => members.insert((*name).into(), value.clone()),
                    None => members.remove(*name),
                };
            }
        }))
    }

    fn check(&self, name: &str, cases: impl IntoIterator<Item = (Value, Option<Code>)>) {
        for (value, refusal) in cases {
            let expected = refusal.map_or(Ok("alice".to_owned()), Err);
            assert_eq!(self.user(&[(name, Some(value.clone()))]), expected, "{name}: {value}");
        }
    }

    fn check_missing(&self, name: &str, refusal: Option<Code>) {
        assert_eq!(self.user(&[(name, None)]), refusal.map_or(Ok("alice".to_owned()), Err), "no {name}");
    }
}

const INVALID: Option<Code> = Some(Code::ClaimInvalid);
const MISSING: Option<Code> = Some(Code::ClaimMissing);

#[test]
fn row_48_exp_iss_and_aud_are_required() {
    let table = Table::new();
    for name in ["exp", "iss", "aud", "sub"] {
        table.check_missing(name, MISSING);
    }
    for name in ["iat", "nbf", "jti"] {
        table.check_missing(name, None);
    }
}

#[test]
fn exp_ends_a_token_at_the_leeway_and_not_a_second_later() {
    let expired = Some(Code::TokenExpired);
    Table::new().check(
        "exp",
        [
            (json!(NOW + 1), None),
            (json!(NOW), None),
            (json!(NOW - 29), None),
            (json!(NOW - 30), expired),
            (json!(NOW - 31), expired),
            (json!(900), expired),
            (json!(0), expired),
            // Row 84: a fraction is dropped.
            (json!(NOW as f64 - 29.5), expired),
            (json!(NOW as f64 - 28.5), None),
            (json!(253_402_300_799_u64), None),
        ],
    );
}

#[test]
fn an_identity_ends_when_its_token_does() {
    let mut table = Table::new();
    let token = table.signer.token(&payload());
    let end = table.world.verify(&token).unwrap().expires_at().as_unix();
    table.world.now = Timestamp::from_unix(end - 1);
    assert_eq!(table.world.user(&token), Ok("alice".into()));
    table.world.now = Timestamp::from_unix(end);
    assert_eq!(table.world.user(&token), Err(Code::TokenExpired));
}

#[test]
fn rows_71_and_84_numbers_that_are_no_time_are_refused() {
    let no_times = [
        json!(-1),
        json!(-0.5),
        json!(253_402_300_800_u64),
        json!(253_402_300_799.5),
        json!(1e18),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
    ];
    for name in ["exp", "nbf", "iat"] {
        Table::new().check(name, no_times.iter().map(|value| (value.clone(), INVALID)));
    }
    let table = Table::new();
    for huge in ["1e999999", "1e400", "-1e400"] {
        let payload = payload().to_string().replace(&(NOW + 900).to_string(), huge);
        let token = table.signer.raw(&table.signer.header().to_string(), &payload);
        assert_eq!(table.world.user(&token), Err(Code::TokenMalformed), "{huge}");
    }
}

#[test]
fn row_72_mistyped_claims_are_not_missing_claims() {
    let table = Table::new();
    for name in ["exp", "nbf", "iat"] {
        let mistyped = [json!("9999999999"), json!(null), json!([1]), json!({}), json!(true), json!("")];
        table.check(name, mistyped.map(|value| (value, INVALID)));
    }
    for name in ["sub", "iss"] {
        let mistyped = [json!(7), json!(null), json!(["alice"]), json!({}), json!(true), json!(7.5)];
        table.check(name, mistyped.map(|value| (value, INVALID)));
    }
}

#[test]
fn row_73_a_token_from_the_future_waits() {
    let early = Some(Code::TokenNotYetValid);
    for name in ["nbf", "iat"] {
        Table::new().check(
            name,
            [
                (json!(NOW + 3600), early),
                (json!(NOW + 31), early),
                (json!(NOW + 30), None),
                (json!(NOW), None),
                (json!(0), None),
                (json!(1.5), None),
            ],
        );
    }
}

#[test]
fn row_74_iss_is_one_string_and_equal() {
    let other = Some(Code::IssuerMismatch);
    Table::new().check(
        "iss",
        [
            (json!(ISSUER), None),
            (json!([ISSUER]), INVALID),
            (json!(["evil", ISSUER]), INVALID),
            (json!("http://localhost"), other),
            (json!("http://localhost:3000/"), other),
            (json!("HTTP://localhost:3000"), other),
            (json!(""), other),
            (json!(format!("{ISSUER}\0")), other),
        ],
    );
}

#[test]
fn row_75_aud_holds_an_accepted_audience_and_only_strings() {
    let other = Some(Code::AudienceMismatch);
    let cases = [
        (json!(ISSUER), None),
        (json!([ISSUER]), None),
        (json!(["x", ISSUER]), None),
        (json!("x"), other),
        (json!(["x", "y"]), other),
        (json!("http://localhost"), other),
        (json!([]), INVALID),
        (json!(""), INVALID),
        (json!([""]), INVALID),
        (json!(["", ISSUER]), INVALID),
        (json!([1, ISSUER]), INVALID),
        (json!([[ISSUER]]), INVALID),
        (json!(null), INVALID),
        (json!({ ISSUER: 1 }), INVALID),
        (json!(7), INVALID),
    ];
    Table::new().check("aud", cases);
    let mut two = issuer();
    two.audience = ["a".into(), "b".into()].into();
    let table = Table::ruled_by(two);
    table.check("aud", [(json!("a"), None), (json!(["c", "b"]), None), (json!("ab"), other), (json!("a b"), other)]);
}

#[test]
fn what_is_not_configured_is_not_compared_but_keeps_its_type() {
    let table = Table::ruled_by(anonymous_issuer());
    for name in ["iss", "aud"] {
        table.check_missing(name, None);
        table.check(name, [(json!("anything"), None), (json!(""), None), (json!(7), INVALID), (json!(null), INVALID)]);
    }
    table.check("aud", [(json!(["a", "b"]), None), (json!(["a", 1]), INVALID)]);
    table.check("iss", [(json!(["a"]), INVALID)]);
}

#[test]
fn rows_21_and_40_the_user_id_is_a_string_that_a_header_carries_unchanged() {
    let table = Table::new();
    for user in
        ["007", "7", "al@example.com", "a/b", "x y", "ü-ñ-日本", "..", "%2e%2e", "a\"b", "a,b", &"é".repeat(128)]
    {
        assert_eq!(table.user(&[("sub", Some(json!(user)))]), Ok(user.into()), "{user}");
    }
    for user in [
        "",
        " ",
        " bob",
        "bob ",
        "\u{a0}bob",
        "bob\u{2003}",
        "bob\r\nX-Role: admin",
        "bob\0",
        "a\tb",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{9f}b",
        &"A".repeat(257),
        &"é".repeat(129),
        &"A".repeat(9_000),
    ] {
        assert_eq!(table.user(&[("sub", Some(json!(user)))]), Err(Code::ClaimInvalid), "{user:.20?}");
    }
}

#[test]
fn no_other_claim_stands_in_for_the_user_claim() {
    let table = Table::new();
    for name in ["id", "userId", "user_id", "user", "email", "uid"] {
        assert_eq!(table.user(&[("sub", None), (name, Some(json!("alice")))]), Err(Code::ClaimMissing), "{name}");
    }
}

#[test]
fn a_configured_user_claim_is_read_and_confusable_tokens_are_not() {
    let mut rules = anonymous_issuer();
    rules.user_claim = "userId".into();
    let table = Table::ruled_by(rules);
    let with = |more: &[(&str, Value)]| {
        let own = [("sub", None), ("userId", Some(json!("bob")))].into_iter();
        let more = more.iter().map(|(name, value)| (*name, Some(value.clone())));
        table.user(&own.chain(more).collect::<Vec<_>>())
    };
    assert_eq!(with(&[]), Ok("bob".into()));
    assert_eq!(with(&[("session", json!({})), ("user", json!({}))]), Ok("bob".into()));
    let kind = Err(Code::TokenTypeRefused);
    assert_eq!(with(&[("requestType", json!("change-email-verification"))]), kind);
    assert_eq!(with(&[("updateTo", json!("b@example.com"))]), kind);
    assert_eq!(with(&[("session", json!({})), ("user", json!({})), ("updatedAt", json!(1))]), kind);
    assert_eq!(with(&[("sub", json!(7))]), Err(Code::ClaimInvalid), "sub keeps its type");
    assert_eq!(table.user(&[]), Err(Code::ClaimMissing), "sub does not stand in");
}

#[test]
fn required_claims_are_there_and_not_null() {
    let mut rules = issuer();
    rules.required_claims = ["email".into(), "jti".into()].into();
    let table = Table::ruled_by(rules);
    let both = |email: Value, jti: Value| table.user(&[("email", Some(email)), ("jti", Some(jti))]);
    assert_eq!(both(json!("a@b"), json!(7)), Ok("alice".into()));
    assert_eq!(both(json!(false), json!("")), Ok("alice".into()));
    assert_eq!(both(json!("a@b"), json!(null)), Err(Code::ClaimMissing));
    assert_eq!(table.user(&[("email", Some(json!("a@b")))]), Err(Code::ClaimMissing));
}

#[test]
fn a_token_may_not_live_longer_than_allowed() {
    let mut rules = issuer();
    rules.max_lifetime_seconds = Some(900);
    let table = Table::ruled_by(rules);
    table.check("iat", [(json!(NOW), None), (json!(NOW - 1), INVALID), (json!(NOW + 20), None), (json!(0), INVALID)]);
    table.check_missing("iat", MISSING);
}

#[test]
fn scopes_come_as_words_or_as_an_array() {
    let table = Table::new();
    let scopes = |claims: &[(&str, Value)]| {
        let token = table.signer.with_claims(|members| {
            members.extend(claims.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        });
        let verified = table.world.verify(&token);
        verified.map(|identity| identity.scopes().join("|")).map_err(|denial| denial.code)
    };
    let none: &[(&str, Value)] = &[];
    for (claims, expected) in [
        (none, Ok("")),
        (&[("scope", json!("read write"))], Ok("read|write")),
        (&[("scope", json!(" read  write "))], Ok("read|write")),
        (&[("scope", json!(""))], Ok("")),
        (&[("scope", json!(null))], Ok("")),
        (&[("scp", json!(["read", "", "a b"]))], Ok("read|a b")),
        (&[("scope", json!("a")), ("scp", json!(["b"]))], Ok("a|b")),
        (&[("scope", json!("a,b\tc"))], Ok("a,b\tc")),
        (&[("scope", json!(7))], Err(Code::ClaimInvalid)),
        (&[("scope", json!(["a", 7]))], Err(Code::ClaimInvalid)),
        (&[("scp", json!({}))], Err(Code::ClaimInvalid)),
        (&[("scopes", json!(7))], Ok("")),
    ] {
        assert_eq!(scopes(claims).as_deref().map_err(|code| *code), expected, "{claims:?}");
    }
}

#[test]
fn roles_come_from_their_claim_alone() {
    let mut rules = issuer();
    rules.role_claim = Some("role".into());
    let table = Table::ruled_by(rules);
    let roles = |role: Value| {
        let token = table.signer.with_claims(|members| drop(members.insert("role".into(), role)));
        table.world.verify(&token).map(|identity| identity.roles().join("|")).map_err(|denial| denial.code)
    };
    assert_eq!(roles(json!("admin")), Ok("admin".into()));
    assert_eq!(roles(json!("admin,user")), Ok("admin|user".into()));
    assert_eq!(roles(json!(["admin", "a,b"])), Ok("admin|a,b".into()));
    assert_eq!(roles(json!(null)), Ok(String::new()));
    assert_eq!(roles(json!(7)), Err(Code::ClaimInvalid));
    let roleless = Table::new();
    let token = roleless.signer.with_claims(|members| drop(members.insert("role".into(), "admin".into())));
    assert!(roleless.world.verify(&token).unwrap().roles().is_empty());
}

#[test]
fn claims_go_into_headers_as_text_or_not_at_all() {
    let signer = Signer::new(Algorithm::HS256, "-");
    let world = World::with_headers(vec![(issuer(), secret_keys(&[SECRET], &[]))], &[("x-user-email", "email")]);
    let header =
        |value: Value| world.header(&signer.with_claims(|members| drop(members.insert("email".into(), value))));
    for (value, text) in [
        (json!("alice@example.com"), "alice@example.com"),
        (json!("Ünïcode"), "Ünïcode"),
        (json!(true), "true"),
        (json!(-7), "-7"),
        (json!(1.5), "1.5"),
        (json!(["a", "b"]), "a,b"),
        (json!(["a"]), "a"),
        (json!("a,b"), "a,b"),
        (json!("x".repeat(1024)), &"x".repeat(1024)),
    ] {
        assert_eq!(header(value.clone()).unwrap().as_bytes(), text.as_bytes(), "{value:.40}");
    }
    for value in [
        json!(null),
        json!(""),
        json!([]),
        json!({ "a": 1 }),
        json!(["a", 1]),
        json!(["a", ["b"]]),
        json!(["a,b", "c"]),
        json!("a\r\nX-User-Id: bob"),
        json!("a\0b"),
        json!("a\u{85}b"),
        json!(" a"),
        json!("a\u{a0}"),
        json!("x".repeat(1025)),
        json!([" a", "b"]),
    ] {
        assert_eq!(header(value.clone()), None, "{value:.40}");
    }
    assert_eq!(world.header(&signer.token(&payload())), None, "no such claim");
}

#[test]
fn the_log_says_what_was_found_and_what_was_wanted() {
    let table = Table::new();
    let reason = |name: &str, value: Value| {
        table.world.reason(&table.signer.with_claims(|members| drop(members.insert(name.into(), value))))
    };
    assert_eq!(reason("exp", json!(NOW - 90)), "exp was 90 s ago, 30 s are forgiven");
    assert_eq!(reason("iat", json!(NOW + 90)), "iat is 90 s ahead, 30 s are forgiven");
    assert_eq!(reason("iss", json!("evil\n")), r#"iss is "evil\n", want "http://localhost:3000""#);
    assert_eq!(reason("aud", json!(["a", "b"])), r#"aud is "a, b", want one of ["http://localhost:3000"]"#);
    assert_eq!(reason("sub", json!(" x")), r#"the claim "sub" is " x" and begins or ends with white space"#);
}
