//! Keys kept fresh: the key sets of every issuer, read at start and again when there is reason to.
//!
//! 1. One snapshot of all issuers' keys, swapped as a whole; a reader never waits.
//! 2. One flight an issuer: whoever asks while a fetch is under way gets its outcome. One issuer's outage is not
//!    another's.
//! 3. A caller can make an issuer be asked at most once per cool-down, whatever key ids they invent; after a failure
//!    nobody can until it has passed.
//! 4. The last good set stays through every failure. An empty set is believed when it is read twice in a row.
//! 5. A set replaces the last one whole: keys that the issuer no longer publishes are forgotten.
//!
//! What callers do stays off this path: the feeds run on the runtime that the store is opened in.

mod feed;
mod fetch;
mod source;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use self::{
    feed::{Feed, Origin, Subscription},
    source::Source,
};
pub use self::{
    fetch::{FetchFault, Fetcher},
    source::SourceFault,
};
use crate::{
    config::IssuerConfig,
    decide::{IssuerId, IssuerKeys, JwksFault, KeySet, Keys, Standing},
};

/// When keys are fetched.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between a good fetch and the next one.
    pub refresh: Duration,
    /// Between two looks at a file.
    pub poll: Duration,
    /// From a fetch that a caller caused, or a failed one, to the next that a caller may cause.
    pub cool_down: Duration,
    /// From a failure that reached nobody to the next try; doubled with each further one.
    pub retry: Duration,
    /// The longest wait between tries while fetches fail.
    pub retry_limit: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(300),
            poll: Duration::from_secs(2),
            cool_down: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            retry_limit: Duration::from_secs(15),
        }
    }
}

/// The keys of all issuers at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The keys.
    pub keys: Keys,
    /// Differs from that of every other snapshot of this process whose keys or issuers are others: what was verified by
    /// keys of another generation has to be verified again.
    pub generation: u64,
}

/// A generation that nothing had yet. One count for all stores: one that a reload replaces may still be swapping.
fn next_generation() -> u64 {
    static GENERATIONS: AtomicU64 = AtomicU64::new(0);
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

/// The keys of every issuer, as fresh as the issuers let them be.
pub struct KeyStore {
    current: Arc<ArcSwap<Snapshot>>,
    /// In the order of the issuers.
    keyrings: Box<[Keyring]>,
}

/// One issuer's keys for who watches over them.
struct Keyring {
    name: Box<str>,
    /// `None` where the keys are fixed.
    feed: Option<Feed>,
}

/// Why the keys of an issuer could not be opened at start: an operator's fault, as against an issuer's.
#[derive(Debug, thiserror::Error)]
pub enum KeysFault {
    /// A key set file that can't be read.
    #[error("the key set of issuer `{issuer}` could not be read")]
    File {
        /// The issuer's name.
        issuer: Box<str>,
        /// Why not.
        #[source]
        source: SourceFault,
    },
    /// A key set file that holds none.
    #[error("the key set of issuer `{issuer}` is none")]
    Jwks {
        /// The issuer's name.
        issuer: Box<str>,
        /// Why not.
        #[source]
        source: JwksFault,
    },
}

/// How one issuer's keys stand.
#[derive(Clone, Debug, serde::Serialize)]
pub struct IssuerReport {
    /// The issuer's name.
    pub issuer: Box<str>,
    /// How many keys can verify.
    pub keys: usize,
    /// `current`, `unreachable` or `unfetched`.
    pub standing: &'static str,
    /// Why the last fetch failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl IssuerReport {
    /// Whether the issuer has been asked with success, ever.
    pub fn was_fetched(&self) -> bool {
        self.standing != standing_word(Standing::Unfetched)
    }
}

impl KeyStore {
    /// Opens the keys of `issuers`: secrets and files are read now, everything else is fetched from now on, on the
    /// runtime that this is called in. Sets that `previous` has of the same sources are good until then.
    ///
    /// # Errors
    /// Every file that holds no key set.
    pub async fn open(
        issuers: &[IssuerConfig],
        fetcher: &Fetcher,
        pace: Pace,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<KeysFault>> {
        let origins: Vec<Origin> = issuers.iter().map(Origin::of).collect();
        let (mut keys, mut faults) = (Vec::with_capacity(origins.len()), Vec::new());
        for origin in &origins {
            match opening_keys(origin, fetcher, previous).await {
                Ok(opened) => keys.push(opened),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let current = Arc::new(ArcSwap::from_pointee(Snapshot { keys: Keys(keys), generation: next_generation() }));
        let keyring = |(place, (issuer, origin)): (usize, (&IssuerConfig, Origin))| Keyring {
            name: issuer.rules.name.clone(),
            feed: match origin {
                Origin::Fixed(_) => None,
                Origin::Subscribed(subscription) => {
                    Some(Feed::start(subscription, IssuerId(place), fetcher.clone(), pace, &current))
                }
            },
        };
        let keyrings = issuers.iter().zip(origins).enumerate().map(keyring).collect();
        Ok(Self { current, keyrings })
    }

    /// Keys that never change.
    pub fn fixed(keys: Keys) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(Snapshot { keys, generation: next_generation() })),
            keyrings: Box::default(),
        }
    }

    /// Has the issuers publish other keys.
    #[cfg(test)]
    pub(super) fn publish(&self, keys: Keys) {
        self.current.store(Arc::new(Snapshot { keys, generation: next_generation() }));
    }

    /// The keys as they are now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The generation of the keys as they are now.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    /// Asks the issuer anew because a token names a key that is not here, or does not verify with the one that is.
    /// `true` once a fetch has ended, well or badly: the token deserves a second look by the keys, or by the standing,
    /// that are known now. `false` at once while the cool-down lasts.
    pub async fn refresh(&self, issuer: IssuerId) -> bool {
        match self.keyrings.get(issuer.0).and_then(|keyring| keyring.feed.as_ref()) {
            Some(feed) => feed.refresh().await,
            None => false,
        }
    }

    /// Returns once every issuer has been asked at least once, with whatever outcome.
    pub async fn settled(&self) {
        for feed in self.keyrings.iter().filter_map(|keyring| keyring.feed.as_ref()) {
            feed.settled().await;
        }
    }

    /// How each issuer's keys stand, in the order of the issuers.
    pub fn report(&self) -> Vec<IssuerReport> {
        let snapshot = self.snapshot();
        let row = |(keyring, keys): (&Keyring, &IssuerKeys)| IssuerReport {
            issuer: keyring.name.clone(),
            keys: keys.set.len(),
            standing: standing_word(keys.standing),
            fault: keyring.feed.as_ref().and_then(Feed::fault),
        };
        self.keyrings.iter().zip(&snapshot.keys.0).map(row).collect()
    }

    /// What is known of an issuer whose keys come from the same place.
    fn known(&self, subscription: &Subscription) -> Option<IssuerKeys> {
        let same = |keyring: &Keyring| keyring.feed.as_ref().is_some_and(|feed| feed.subscription() == subscription);
        let place = self.keyrings.iter().position(same)?;
        self.snapshot().keys.of(IssuerId(place)).cloned()
    }
}

fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Current => "current",
        Standing::Unreachable => "unreachable",
        Standing::Unfetched => "unfetched",
    }
}

/// The keys that an issuer starts with.
async fn opening_keys(
    origin: &Origin,
    fetcher: &Fetcher,
    previous: Option<&KeyStore>,
) -> Result<IssuerKeys, KeysFault> {
    let subscription = match origin {
        Origin::Fixed(set) => return Ok(IssuerKeys { set: Arc::clone(set), standing: Standing::Current }),
        Origin::Subscribed(subscription) => subscription,
    };
    if let Some(known) = previous.and_then(|previous| previous.known(subscription)) {
        return Ok(known);
    }
    if !matches!(subscription.source, Source::File(_)) {
        return Ok(IssuerKeys { set: Arc::new(KeySet::unread()), standing: Standing::Unfetched });
    }
    let issuer = || subscription.issuer.clone();
    let document =
        subscription.source.read(fetcher).await.map_err(|source| KeysFault::File { issuer: issuer(), source })?;
    let (set, _) = KeySet::from_jwks(&document, &subscription.algorithms)
        .map_err(|source| KeysFault::Jwks { issuer: issuer(), source })?;
    Ok(IssuerKeys { set: Arc::new(set), standing: Standing::Current })
}
