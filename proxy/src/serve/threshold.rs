//! The least severe events that the log has, which may change while the process runs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tracing::{
    Metadata, Subscriber, callsite::rebuild_interest_cache, level_filters::LevelFilter, subscriber::Interest,
};
use tracing_subscriber::layer::{Context, Layer};

use crate::config::LogLevel;

/// The least severe level that is written. All clones are one.
///
/// Each place that logs asks once and remembers the answer until the level changes, so an event costs no look at it;
/// `tracing_subscriber::reload` would take a lock that all workers share for every event.
#[derive(Clone, Debug)]
pub struct Threshold(Arc<AtomicUsize>);

impl Threshold {
    /// Writes events of this level and of more severe ones.
    pub fn new(level: LogLevel) -> Self {
        Self(Arc::new(AtomicUsize::new(place(level))))
    }

    /// The level in force.
    pub fn level(&self) -> LogLevel {
        LogLevel::ALL.get(self.0.load(Ordering::Relaxed)).copied().unwrap_or_default()
    }

    /// Puts another level in force.
    pub fn set(&self, level: LogLevel) {
        self.0.store(place(level), Ordering::Relaxed);
        rebuild_interest_cache();
    }

    fn filter(&self) -> LevelFilter {
        match self.level() {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }

    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.filter()
    }
}

fn place(level: LogLevel) -> usize {
    LogLevel::ALL.iter().position(|known| *known == level).unwrap_or_default()
}

impl<S: Subscriber> Layer<S> for Threshold {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.admits(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.admits(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter())
    }
}
