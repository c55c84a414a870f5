//! What most tests start from: a proxy before a recording backend, and verdicts that can stand in a table.

use e2e::key::Key;
use e2e::recorder::{Received, Recorder};
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET};
use e2e::token::Token;
use e2e::wire::Outcome;

/// A proxy that trusts [`SECRET`], the backend behind it, and the key that signs for both.
pub(crate) struct Gate {
    pub(crate) backend: Recorder,
    pub(crate) proxy: Proxy,
    pub(crate) key: Key,
}

impl Gate {
    /// In front of a backend that answers `200 ok`.
    pub(crate) fn open() -> Self {
        Self::before(Recorder::start())
    }

    /// In front of this backend.
    pub(crate) fn before(backend: Recorder) -> Self {
        let proxy = Proxy::with_secret(&backend);
        Self { backend, proxy, key: Key::shared(SECRET) }
    }

    /// A proxy of one's own setup.
    pub(crate) fn of(backend: Recorder, proxy: Proxy, key: Key) -> Self {
        Self { backend, proxy, key }
    }

    /// A good token of this user.
    pub(crate) fn token(&self, user: &str) -> String {
        Token::of(user).signed_by(&self.key)
    }

    /// A GET of `target` with alice's token.
    pub(crate) fn by_alice(&self, target: impl AsRef<[u8]>) -> Request {
        Request::get(target).bearer(&self.token("alice"))
    }

    /// Sends `request` on a connection of its own and returns what reached the backend for it.
    #[track_caller]
    pub(crate) fn forwards(&self, request: &Request) -> Received {
        let before = self.backend.received().len();
        self.proxy.ask(request).expect(200);
        let mut received = self.backend.received();
        assert_eq!(received.len(), before + 1, "not exactly one request reached the backend");
        received.remove(before)
    }

    /// What becomes of `request`, in the words of the contract: `forwarded`, `403 not_owner`, a bare `400`, `closed`.
    /// A refusal that is malformed, or that reached the backend all the same, says so.
    pub(crate) fn verdict(&self, request: &Request) -> String {
        self.verdict_of(request.bytes())
    }

    /// The verdict over exact bytes.
    pub(crate) fn verdict_of(&self, bytes: impl AsRef<[u8]>) -> String {
        let before = self.backend.bytes();
        let mut wire = self.proxy.connect();
        wire.send(bytes);
        let outcome = wire.outcome();
        let reached = self.backend.bytes() != before;
        let mut verdict = match outcome {
            Outcome::Answered(answer) if answer.status == 200 && reached => {
                return "forwarded".into();
            }
            Outcome::Closed => "closed".to_owned(),
            Outcome::Answered(answer) if answer.code().is_empty() => answer.status.to_string(),
            Outcome::Answered(answer) => {
                let fault = answer.fault_of_form().map(|fault| format!(", but {fault}"));
                format!("{} {}{}", answer.status, answer.code(), fault.unwrap_or_default())
            }
        };
        if reached {
            verdict += ", but it reached the backend";
        }
        verdict
    }

    /// Checks a table of requests and their verdicts; ` | ` stands between verdicts that are equally right.
    #[track_caller]
    pub(crate) fn judges<'a>(&self, table: impl IntoIterator<Item = (&'a str, Request, &'a str)>) {
        let mut judged = Judged::default();
        for (name, request, wanted) in table {
            judged.compare(name, &self.verdict(&request), wanted);
        }
        judged.all_right();
    }
}

/// The rows of a table that came out wrong, told together.
#[derive(Default)]
pub(crate) struct Judged {
    rows: usize,
    wrong: Vec<String>,
}

impl Judged {
    /// Notes a row whose verdict is none of the wanted ones.
    pub(crate) fn compare(&mut self, name: &str, verdict: &str, wanted: &str) {
        self.rows += 1;
        if !wanted.split(" | ").any(|wanted| wanted == verdict) {
            self.wrong.push(format!("{name}: {verdict}, wanted {wanted}"));
        }
    }

    /// Fails if a row was wrong, or if there was none.
    #[track_caller]
    pub(crate) fn all_right(self) {
        assert!(self.rows > 0, "an empty table proves nothing");
        assert!(self.wrong.is_empty(), "{} of {}:\n{}", self.wrong.len(), self.rows, self.wrong.join("\n"));
    }
}
