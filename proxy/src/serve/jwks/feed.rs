//! One issuer's keys: a task that fetches them when it is time or when it is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{Fetcher, Pace, Snapshot, SourceFault, next_generation, source::Source};
use crate::{
    config::{IssuerConfig, KeySource, Secret},
    decide::{Algorithm, IssuerId, IssuerKeys, JwksFault, KeySet, Keys, Standing},
    serve::{
        log::chain,
        metrics::{KEY_FETCHES, KEYS_FETCHED, unix_time},
    },
};

/// What is read for an issuer. Two that are equal yield the same keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) issuer: Box<str>,
    pub(super) source: Source,
    pub(super) algorithms: Box<[Algorithm]>,
}

/// Where an issuer's keys come from.
pub(super) enum Origin {
    /// From its secrets, once and for all.
    Fixed(Arc<KeySet>),
    /// From elsewhere, again and again.
    Subscribed(Subscription),
}

impl Origin {
    pub(super) fn of(issuer: &IssuerConfig) -> Self {
        let algorithms = &issuer.rules.algorithms;
        let source = match &issuer.keys {
            KeySource::Secrets(secrets) => {
                let secrets: Vec<&[u8]> = secrets.iter().map(Secret::expose).collect();
                return Self::Fixed(Arc::new(KeySet::from_secrets(&secrets, algorithms)));
            }
            KeySource::JwksUrl(uri) => Source::Url(uri.clone()),
            KeySource::JwksFile(path) => Source::File(path.clone()),
            KeySource::Discovery(document) => {
                Source::Discovery { document: document.clone(), issuer: issuer.rules.issuer.clone() }
            }
        };
        Self::Subscribed(Subscription { issuer: issuer.rules.name.clone(), source, algorithms: algorithms.clone() })
    }
}

/// The side of a feed that asks. The feed ends when it is dropped.
pub(super) struct Feed {
    subscription: Subscription,
    requests: mpsc::UnboundedSender<oneshot::Sender<bool>>,
    cooling: Arc<Cooling>,
    progress: watch::Receiver<Progress>,
}

/// How far the feed came.
#[derive(Default)]
struct Progress {
    fetches: u64,
    fault: Option<String>,
}

/// Until when no caller may cause a fetch. Readable without a hop to the feed, so that a flood costs the feed nothing.
struct Cooling {
    epoch: Instant,
    /// Milliseconds since the epoch.
    until: AtomicU64,
}

impl Cooling {
    fn new() -> Self {
        Self { epoch: Instant::now(), until: AtomicU64::new(0) }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_over(&self) -> bool {
        self.millis() >= self.until.load(Ordering::Acquire)
    }

    fn begin(&self, length: Duration) {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.until.store(self.millis().saturating_add(length), Ordering::Release);
    }
}

impl Feed {
    /// Starts the feed on the current runtime. It writes what it reads into `current` at `place`.
    pub(super) fn start(
        subscription: Subscription,
        place: IssuerId,
        fetcher: Fetcher,
        pace: Pace,
        current: &Arc<ArcSwap<Snapshot>>,
    ) -> Self {
        let (requests, received) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress::default());
        let cooling = Arc::new(Cooling::new());
        let reader = Reader {
            subscription: subscription.clone(),
            place,
            fetcher,
            pace,
            current: Arc::clone(current),
            cooling: Arc::clone(&cooling),
            progress,
            document: Bytes::new(),
            emptied: false,
            failures: 0,
        };
        tokio::spawn(reader.run(received));
        Self { subscription, requests, cooling, progress: seen }
    }

    pub(super) fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    pub(super) async fn refresh(&self) -> bool {
        if !self.cooling.is_over() {
            return false;
        }
        let (answer, outcome) = oneshot::channel();
        self.requests.send(answer).is_ok() && outcome.await.unwrap_or(false)
    }

    pub(super) async fn settled(&self) {
        // The feed outlives every reader of its progress; were it gone, there would be nothing to wait for.
        let _ = self.progress.clone().wait_for(|progress| progress.fetches > 0).await;
    }

    pub(super) fn fault(&self) -> Option<String> {
        self.progress.borrow().fault.clone()
    }
}

/// Why a fetch gave no key set.
#[derive(Debug, thiserror::Error)]
enum FeedFault {
    #[error(transparent)]
    Source(#[from] SourceFault),
    #[error("what was read is no JSON Web Key Set")]
    Jwks(#[from] JwksFault),
}

/// The side of a feed that fetches.
struct Reader {
    subscription: Subscription,
    place: IssuerId,
    fetcher: Fetcher,
    pace: Pace,
    current: Arc<ArcSwap<Snapshot>>,
    cooling: Arc<Cooling>,
    progress: watch::Sender<Progress>,
    /// The text of the set that is in force; the same text again changes nothing.
    document: Bytes,
    /// Whether the last good read was an empty set that was not believed yet.
    emptied: bool,
    /// Failures in a row.
    failures: u32,
}

impl Reader {
    /// Fetches at once, then whenever it is time or a caller asks, until the [`Feed`] is dropped.
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<oneshot::Sender<bool>>) {
        let mut next = Instant::now();
        loop {
            let caller = tokio::select! {
                () = sleep_until(next) => None,
                caller = requests.recv() => match caller {
                    Some(caller) => Some(caller),
                    None => return,
                },
            };
            let asked = caller.is_some();
            if asked && !self.cooling.is_over() {
                tell(caller, false);
                continue;
            }
            let outcome = self.fetch().await;
            if asked || outcome.is_err() {
                self.cooling.begin(self.pace.cool_down);
            }
            let wait = match outcome {
                Ok(()) => self.succeeded(),
                Err(fault) => self.failed(&fault),
            };
            next = Instant::now() + wait;
            tell(caller, true);
            while let Ok(joined) = requests.try_recv() {
                tell(Some(joined), true);
            }
        }
    }

    async fn fetch(&mut self) -> Result<(), FeedFault> {
        let document = self.subscription.source.read(&self.fetcher).await?;
        if document == self.document {
            self.publish(None, Standing::Current);
            return Ok(());
        }
        let (set, skipped) = KeySet::from_jwks(&document, &self.subscription.algorithms)?;
        let issuer = &*self.subscription.issuer;
        for key in &skipped {
            warn!(
                issuer,
                place = key.place,
                kid = key.kid.as_deref(),
                reason = %key.reason,
                "a key of the set is skipped"
            );
        }
        if self.is_doubtful(&set) {
            warn!(issuer, "the key set is empty: the last one stays until it is read empty again");
            self.emptied = true;
            self.publish(None, Standing::Current);
            return Ok(());
        }
        info!(issuer, keys = set.len(), skipped = skipped.len(), "keys read");
        self.emptied = false;
        self.document = document;
        self.publish(Some(Arc::new(set)), Standing::Current);
        Ok(())
    }

    /// Whether a set that was read would, at a single word of the issuer, lock everybody out.
    fn is_doubtful(&self, set: &KeySet) -> bool {
        let holds_keys = self.current.load().keys.of(self.place).is_some_and(|held| !held.set.is_empty());
        set.is_empty() && holds_keys && !self.emptied
    }

    /// Takes note of a good fetch and says how long to wait for the next.
    fn succeeded(&mut self) -> Duration {
        if self.failures > 0 {
            info!(issuer = &*self.subscription.issuer, "keys can be read again");
        }
        self.failures = 0;
        self.report(None);
        match self.subscription.source {
            Source::File(_) => self.pace.poll,
            Source::Url(_) | Source::Discovery { .. } => self.pace.refresh,
        }
    }

    /// Takes note of a failure and says how long to wait for the next try.
    fn failed(&mut self, fault: &FeedFault) -> Duration {
        let text = chain(fault);
        // An outage is told once, not at every try.
        let told = self.progress.borrow().fault.as_ref() == Some(&text);
        if !told {
            warn!(issuer = &*self.subscription.issuer, error = %text, "keys could not be read");
        }
        let standing = self.current.load().keys.of(self.place).map_or(Standing::Unfetched, |held| held.standing);
        if standing == Standing::Current {
            self.publish(None, Standing::Unreachable);
        }
        self.report(Some(text));
        let base = match fault {
            FeedFault::Source(fault) if fault.reached_nobody() => self.pace.retry,
            FeedFault::Source(_) | FeedFault::Jwks(_) => self.pace.cool_down,
        };
        let wait = base.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        wait.min(self.pace.retry_limit)
    }

    fn report(&self, fault: Option<String>) {
        let outcome = if fault.is_none() { "good" } else { "failed" };
        let issuer = self.subscription.issuer.to_string();
        metrics::counter!(KEY_FETCHES, "issuer" => issuer.clone(), "outcome" => outcome).increment(1);
        if fault.is_none() {
            metrics::gauge!(KEYS_FETCHED, "issuer" => issuer).set(unix_time());
        }
        self.progress.send_modify(|progress| *progress = Progress { fetches: progress.fetches + 1, fault });
    }

    /// Swaps what is known of this issuer into the snapshot, beside what the others' feeds wrote there.
    fn publish(&self, set: Option<Arc<KeySet>>, standing: Standing) {
        let known = self.current.load().keys.of(self.place).map(|held| held.standing);
        if set.is_none() && known == Some(standing) {
            return;
        }
        let generation = set.is_some().then(next_generation);
        self.current.rcu(|snapshot| {
            let mut keys: Vec<IssuerKeys> = snapshot.keys.0.clone();
            if let Some(held) = keys.get_mut(self.place.0) {
                held.standing = standing;
                if let Some(set) = &set {
                    held.set = Arc::clone(set);
                }
            }
            Snapshot { keys: Keys(keys), generation: generation.unwrap_or(snapshot.generation) }
        });
    }
}

/// Tells a caller whether a fetch has ended.
fn tell(caller: Option<oneshot::Sender<bool>>, fetched: bool) {
    if let Some(caller) = caller {
        // A caller who has gone needs no answer.
        let _ = caller.send(fetched);
    }
}
