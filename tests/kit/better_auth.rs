//! The example's sign-in service: the real Better Auth, and people who sign up at it.

use std::process::Command;

use serde_json::json;

use crate::PATIENCE;
use crate::answer::Answer;
use crate::process::{Process, poll};
use crate::request::Request;
use crate::socket::Address;
use crate::stack::{SECRET, command_without_settings, workspace};
use crate::wire::Wire;

/// A running sign-in service with an empty store. Its secret is [`SECRET`].
#[derive(Debug)]
pub struct BetterAuth {
    /// The process: signals, log, end.
    pub process: Process,
    /// The issuer and audience of its tokens, and where the keys are found.
    pub origin: String,
    address: Address,
}

/// Somebody who signed up.
#[derive(Clone, Debug)]
pub struct Person {
    /// The user id.
    pub id: String,
    /// The opaque session token that the sign-up answered with.
    pub session: String,
    cookie: String,
}

impl BetterAuth {
    /// Starts one that signs with this algorithm, and waits until it is ready. `settings` are further variables.
    #[track_caller]
    pub fn signing_with(algorithm: &str, settings: &[(&str, &str)]) -> Self {
        let folder = workspace().join("examples/better-auth");
        assert!(
            folder.join("node_modules").is_dir(),
            "Better Auth is not installed. Run: npm ci --prefix examples/better-auth"
        );
        let mut node = Command::new("node");
        command_without_settings(&mut node)
            .arg("src/main.js")
            .current_dir(folder)
            .env("BETTER_AUTH_SECRET", SECRET)
            .env("PORT", "0")
            .env("DATABASE", ":memory:")
            .env("RATE_LIMIT", "off")
            .env("JWT_ALGORITHM", algorithm)
            .envs(settings.iter().copied());
        let mut process = Process::start("the sign-in service (node must be 20 or newer)", &mut node);
        let ready = poll(PATIENCE, || {
            assert!(process.ended().is_none(), "the sign-in service ended:\n{}", process.log());
            process.log().lines().find(|line| line.starts_with("ready: ")).map(str::to_owned)
        });
        let ready = ready.expect("the sign-in service says when it is ready");
        let told = |before: &str| {
            let (_, rest) = ready.split_once(before).expect("the line tells where it listens and who it is");
            rest.split([' ', ',']).next().unwrap_or_default().to_owned()
        };
        let address = Address::Tcp(told("listening on ").parse().expect("an address"));
        Self { process, origin: told("issuer "), address }
    }

    /// Asks one of its own endpoints.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Answer {
        Wire::to(&self.address).ask(request)
    }

    /// Signs somebody up over HTTP, as the page does.
    #[track_caller]
    pub fn sign_up(&self, name: &str) -> Person {
        let answer = self.ask(&sign_up(name).field("Origin", &self.origin)).expect(200);
        Person::of(&answer)
    }

    /// A fresh JWT of this person.
    #[track_caller]
    pub fn token_of(&self, person: &Person) -> String {
        let answer = self.ask(&Request::get("/api/auth/token").field("Cookie", &person.cookie)).expect(200);
        answer.json()["token"].as_str().expect("a token").to_owned()
    }
}

/// The request that signs somebody up, without an `Origin`.
pub fn sign_up(name: &str) -> Request {
    let person = json!({"name": name, "email": format!("{name}@example.com"), "password": "correct horse"});
    Request::new("POST", "/api/auth/sign-up/email").json(person.to_string())
}

impl Person {
    /// Who signed up with this answer.
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        let body = answer.json();
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let cookies = answer.head.values("set-cookie");
        let cookie = cookies.first().and_then(|cookie| cookie.split(';').next()).expect("a session cookie");
        Self { id: text(&body["user"]["id"]), session: text(&body["token"]), cookie: cookie.to_owned() }
    }

    /// The session cookie, as a browser sends it.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }
}
