//! Signatures of unknown tokens, kept from holding up the requests of known ones.
//!
//! A worker verifies by itself as long as that takes a small part of its time. A flood of forged tokens exceeds that at
//! once; what exceeds it goes to one thread of low priority, by a queue with an end: past it, the answer is
//! `overloaded`.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{process::setpriority_process, thread::gettid};
use tokio::sync::oneshot;

use super::{
    State,
    clock::Clock,
    counts::{self, Count},
    jwks::Snapshot,
};
use crate::decide::{Code, Denial, Identity, Timestamp};

/// Of each [`PERIOD`], a worker spends this much on signatures.
const OWN_TIME: Duration = Duration::from_millis(20);

/// Milliseconds.
const PERIOD: u64 = 100;

/// Tokens that may wait: at some 50 µs each, the last of them waits for about 50 ms.
const QUEUE: usize = 1024;

/// The thread's place behind the workers, as `nice` counts.
const NICENESS: i32 = 10;

pub(super) type Verdict = Result<Arc<Identity>, Denial>;

/// What a token is verified by.
#[derive(Clone)]
pub(super) struct Basis {
    pub(super) state: Arc<State>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) now: Timestamp,
}

/// The way to the verifying thread, for all workers.
#[derive(Clone)]
pub(super) struct Verifier {
    queue: SyncSender<Job>,
}

struct Job {
    token: Box<str>,
    basis: Basis,
    verdict: oneshot::Sender<Verdict>,
}

/// How much time one worker has spent on signatures.
#[derive(Default)]
pub(super) struct Allowance {
    period: Cell<u64>,
    spent: Cell<Duration>,
}

impl Basis {
    fn verify(&self, token: &str) -> Verdict {
        self.state.gate.verify(token, &self.snapshot.keys, self.now)
    }
}

impl Verifier {
    /// Starts the thread. It ends with the last of the verifier's clones.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        thread::Builder::new().name("verifier".to_owned()).spawn(move || work(&jobs))?;
        Ok(Self { queue })
    }

    /// The verdict on a token that was not verified before.
    pub(super) async fn verify(&self, token: &str, basis: &Basis, allowance: &Allowance, clock: &Clock) -> Verdict {
        if allowance.is_left(clock) {
            let started = Instant::now();
            let verdict = basis.verify(token);
            allowance.spend(started.elapsed());
            counts::add(Count::VerifiedAtOnce);
            return verdict;
        }
        let (verdict, decided) = oneshot::channel();
        let job = Job { token: token.into(), basis: basis.clone(), verdict };
        let overloaded = || Denial::from(Code::Overloaded).because("too many unknown tokens wait to be verified");
        if self.queue.try_send(job).is_err() {
            counts::add(Count::VerificationRefused);
            return Err(overloaded());
        }
        counts::add(Count::VerificationQueued);
        decided.await.map_err(|_| overloaded())?
    }
}

impl Allowance {
    fn is_left(&self, clock: &Clock) -> bool {
        let period = clock.millis() / PERIOD;
        if self.period.replace(period) != period {
            self.spent.set(Duration::ZERO);
        }
        self.spent.get() < OWN_TIME
    }

    fn spend(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
    }
}

fn work(jobs: &Receiver<Job>) {
    // Without the right to step back, it works beside the workers.
    let _ = setpriority_process(Some(gettid()), NICENESS);
    while let Ok(job) = jobs.recv() {
        // Whoever has gone away needs no verdict.
        if !job.verdict.is_closed() {
            let _ = job.verdict.send(job.basis.verify(&job.token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{state, token},
        *,
    };

    fn basis() -> Basis {
        let state = Arc::new(state());
        Basis { snapshot: state.keys.snapshot(), state, now: Timestamp::from_unix(1_000) }
    }

    fn exhausted() -> Allowance {
        let allowance = Allowance::default();
        allowance.spend(OWN_TIME);
        allowance
    }

    #[tokio::test]
    async fn a_token_gets_the_same_verdict_here_and_on_the_thread() {
        let (verifier, basis, clock) = (Verifier::start().unwrap(), basis(), Clock::new());
        for allowance in [Allowance::default(), exhausted()] {
            let alice = verifier.verify(&token("alice"), &basis, &allowance, &clock).await.unwrap();
            assert_eq!(alice.user().as_str(), "alice");
            let forged = format!("{}A", token("alice"));
            assert!(verifier.verify(&forged, &basis, &allowance, &clock).await.is_err());
        }
    }

    #[tokio::test]
    async fn past_the_end_of_the_queue_the_answer_is_overloaded() {
        let (queue, _nobody) = sync_channel(0);
        let (verifier, clock) = (Verifier { queue }, Clock::new());
        let denial = verifier.verify(&token("alice"), &basis(), &exhausted(), &clock).await.unwrap_err();
        assert_eq!(denial.code, Code::Overloaded);
        let own = verifier.verify(&token("alice"), &basis(), &Allowance::default(), &clock).await;
        assert!(own.is_ok(), "a worker with time left asks nobody");
    }
}
