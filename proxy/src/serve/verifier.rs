//! Signatures of unknown tokens, kept from holding up the requests of known ones.
//!
//! Between two looks at its sockets, a worker verifies one token of each of two lines: whoever is known waits for two of
//! them at most, however many are to be checked. Connections that brought a bad token last have a line of their own, so
//! that forged tokens wait for each other, and a new user for one of them at a time. Each line has an end: past it, the
//! answer is `overloaded`.

use std::{cell::Cell, rc::Rc, sync::Arc};

use http::StatusCode;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::{spawn_local, yield_now},
};

use super::{
    State,
    counts::{self, Count},
    jwks::Snapshot,
};
use crate::decide::{Code, Denial, Identity, Timestamp};

/// Tokens that may wait in a line. At some 50 µs for each, the last waits for 50 ms at the least: for 100 if the other
/// line is full too, and for whatever the sockets bring between two.
const LINE: usize = 1024;

/// A line has ended before the verifier: in a panic, or because its runtime is about to end.
const NOBODY: &str = "nobody verifies unknown tokens any more";

pub(super) type Verdict = Result<Arc<Identity>, Denial>;

/// What a token is verified by.
#[derive(Clone)]
pub(super) struct Basis {
    pub(super) state: Arc<State>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) now: Timestamp,
}

/// One worker's order in verifying.
pub(super) struct Verifier {
    fresh: mpsc::Sender<Job>,
    discredited: mpsc::Sender<Job>,
}

struct Job {
    token: Box<str>,
    basis: Basis,
    verdict: oneshot::Sender<Verdict>,
}

/// What is known of a connection by the tokens to be verified that came by it.
#[derive(Clone, Default)]
pub(super) struct Repute(Rc<Record>);

#[derive(Default)]
struct Record {
    /// Whether the last one was bad.
    bad: Cell<bool>,
    /// How many wait for their verdict.
    undecided: Cell<usize>,
}

/// Counts a token as long as it waits for its verdict.
struct Undecided<'a>(&'a Record);

impl Verifier {
    /// Starts the lines, which end with it, on the current thread's runtime.
    pub(super) fn start() -> Self {
        let line = || {
            let (line, jobs) = mpsc::channel(LINE);
            spawn_local(work(jobs));
            line
        };
        Self { fresh: line(), discredited: line() }
    }

    /// Starts a line for connections of good repute alone: at the other nobody works.
    #[cfg(test)]
    pub(super) fn start_for_the_reputable() -> Self {
        Self { discredited: mpsc::channel(1).0, ..Self::start() }
    }

    /// The verdict on a token that was not verified before, sent by a connection of this repute.
    pub(super) async fn verify(&self, token: &str, basis: &Basis, repute: &Repute) -> Verdict {
        // A connection of many streams could fill the line before its first token is found to be bad.
        let alone = repute.0.undecided.get() == 0;
        let _undecided = Undecided::new(&repute.0);
        let line = if repute.is_bad() || !alone { &self.discredited } else { &self.fresh };
        let waits = line.capacity() < line.max_capacity();
        let (verdict, decided) = oneshot::channel();
        let job = Job { token: token.into(), basis: basis.clone(), verdict };
        match line.try_send(job) {
            Ok(()) => counts::add(if waits { Count::VerificationQueued } else { Count::VerifiedAtOnce }),
            Err(TrySendError::Full(_)) => {
                counts::add(Count::VerificationRefused);
                return Err(overloaded("too many unknown tokens wait to be verified"));
            }
            Err(TrySendError::Closed(_)) => return Err(overloaded(NOBODY)),
        }
        decided.await.unwrap_or_else(|_| Err(overloaded(NOBODY)))
    }
}

fn overloaded(reason: &'static str) -> Denial {
    Denial::from(Code::Overloaded).because(reason)
}

impl Job {
    /// Whoever has gone away needs no verdict.
    fn is_wanted(&self) -> bool {
        !self.verdict.is_closed()
    }

    fn settle(self) {
        let Basis { state, snapshot, now } = self.basis;
        // Fails when nobody waits any more.
        let _ = self.verdict.send(state.gate.verify(&self.token, &snapshot.keys, now));
    }
}

impl Repute {
    pub(super) fn is_bad(&self) -> bool {
        self.0.bad.get()
    }

    /// What is no fault of the token says nothing of who sent it. One that has expired is at fault: claims are checked
    /// before the signature, so that nothing tells it from one that anybody made up.
    pub(super) fn learn(&self, verdict: &Verdict) {
        match verdict {
            Ok(_) => self.0.bad.set(false),
            Err(denial) if denial.code.status() == StatusCode::UNAUTHORIZED => self.0.bad.set(true),
            Err(_) => {}
        }
    }
}

impl<'a> Undecided<'a> {
    fn new(record: &'a Record) -> Self {
        record.undecided.set(record.undecided.get() + 1);
        Self(record)
    }
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        self.0.undecided.set(self.0.undecided.get() - 1);
    }
}

/// A task of its own: were a line moved on by those who wait in it, one that is not polled would hold up all behind it.
async fn work(mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        if job.is_wanted() {
            job.settle();
            // Goes on only when every socket has been asked for what came meanwhile.
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};
    use tokio::task::LocalSet;

    use super::{
        super::fixture::{state, token},
        *,
    };

    fn basis() -> Basis {
        let state = Arc::new(state());
        Basis { snapshot: state.keys.snapshot(), state, now: Timestamp::from_unix(1_000) }
    }

    fn bad() -> Repute {
        let repute = Repute::default();
        repute.0.bad.set(true);
        repute
    }

    fn forged() -> String {
        format!("{}A", token("alice"))
    }

    #[tokio::test]
    async fn a_token_gets_the_same_verdict_in_either_line() {
        let test = async {
            let (verifier, basis) = (Verifier::start(), basis());
            for repute in [Repute::default, bad] {
                let alice = verifier.verify(&token("alice"), &basis, &repute()).await.unwrap();
                assert_eq!(alice.user().as_str(), "alice");
                assert!(verifier.verify(&forged(), &basis, &repute()).await.is_err());
            }
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn between_two_signatures_of_a_line_everybody_else_has_a_turn() {
        let test = async {
            let (verifier, basis) = (Verifier::start(), basis());
            let decided = Cell::new(0);
            let flood = join_all((0..100).map(|_| async {
                assert!(verifier.verify(&forged(), &basis, &bad()).await.is_err());
                decided.set(decided.get() + 1);
            }));
            let others = async {
                while decided.get() < 100 {
                    let before = decided.get();
                    yield_now().await;
                    assert!(decided.get() - before <= 1, "{} at a time", decided.get() - before);
                }
            };
            tokio::join!(biased; flood, others);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_connection_of_bad_repute_waits_among_its_like() {
        let test = async {
            let (basis, repute) = (basis(), bad());
            let (discredited, mut jobs) = mpsc::channel(1);
            let verifier = Verifier { discredited, ..Verifier::start() };
            let (alice, bob) = (token("alice"), token("bob"));
            let mut waiting = Box::pin(verifier.verify(&alice, &basis, &repute));
            assert!(waiting.as_mut().now_or_never().is_none());
            assert!(verifier.verify(&bob, &basis, &Repute::default()).await.is_ok(), "others do not wait for it");
            jobs.recv().await.unwrap().settle();
            assert!(waiting.await.is_ok());
        };
        LocalSet::new().run_until(test).await;
    }

    #[test]
    fn only_what_is_a_tokens_fault_is_learned() {
        let learned = |repute: Repute, code: Code| {
            repute.learn(&Err(code.into()));
            repute.is_bad()
        };
        for code in [Code::SignatureInvalid, Code::TokenMalformed, Code::TokenExpired] {
            assert!(learned(Repute::default(), code), "{code}");
        }
        for code in [Code::KeysUnavailable, Code::Overloaded] {
            assert!(!learned(Repute::default(), code), "{code}");
            assert!(learned(bad(), code), "{code}");
        }
    }

    #[tokio::test]
    async fn a_line_at_which_nobody_works_is_not_told_to_be_full() {
        let test = async {
            let (discredited, jobs) = mpsc::channel(1);
            let verifier = Verifier { discredited, ..Verifier::start() };
            let (alice, basis, repute) = (token("alice"), basis(), bad());
            let mut waiting = Box::pin(verifier.verify(&alice, &basis, &repute));
            assert!(waiting.as_mut().now_or_never().is_none());
            drop(jobs);
            for denial in [waiting.await.unwrap_err(), verifier.verify(&alice, &basis, &repute).await.unwrap_err()] {
                assert_eq!((denial.code, denial.reason.as_deref()), (Code::Overloaded, Some(NOBODY)));
            }
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn of_one_connection_one_token_waits_among_the_fresh() {
        let test = async {
            let (discredited, mut jobs) = mpsc::channel(LINE);
            let verifier = Verifier { discredited, ..Verifier::start() };
            let (forged, basis, repute) = (forged(), basis(), Repute::default());
            let verify = || verifier.verify(&forged, &basis, &repute);
            let (mut first, mut second, mut third) = (Box::pin(verify()), Box::pin(verify()), Box::pin(verify()));
            for waiting in [&mut first, &mut second, &mut third] {
                assert!(waiting.as_mut().now_or_never().is_none());
            }
            assert_eq!(jobs.len(), 2);
            assert!(first.await.is_err());
            for waiting in [second, third] {
                jobs.recv().await.unwrap().settle();
                assert!(waiting.await.is_err());
            }
            assert_eq!(repute.0.undecided.get(), 0);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn past_the_end_of_a_line_the_answer_is_overloaded() {
        let test = async {
            let (discredited, _nobody_works) = mpsc::channel(1);
            let verifier = Verifier { discredited, ..Verifier::start() };
            let (alice, basis, repute) = (token("alice"), basis(), bad());
            let mut waiting = Box::pin(verifier.verify(&alice, &basis, &repute));
            assert!(waiting.as_mut().now_or_never().is_none());
            let denial = verifier.verify(&alice, &basis, &repute).await.unwrap_err();
            assert_eq!((denial.code, denial.reason.as_deref() == Some(NOBODY)), (Code::Overloaded, false));
            assert!(verifier.verify(&alice, &basis, &Repute::default()).await.is_ok(), "the other line goes on");
        };
        LocalSet::new().run_until(test).await;
    }
}
