//! Routes, keys, secrets and certificates anew while the proxy runs: at `SIGHUP`, or when a file has changed.
//!
//! A change is seen by looking at the files, once a [`LOOK`], through every link on the way: Kubernetes replaces a
//! mounted configuration by pointing a link elsewhere, and network file systems send no events. What is found is loaded
//! once it has stayed the same for two looks, so that half a file is not.

use std::{
    cell::RefCell,
    error::Error,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use metrics::{counter, gauge};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{
    Control, State, Threshold,
    jwks::{Fetcher, KeyStore, Pace},
    log::chain,
    metrics::{LAST_RELOAD_GOOD, RELOADS, in_force},
    systemd,
};
use crate::config::Config;

/// Between two looks at the files.
pub const LOOK: Duration = Duration::from_millis(500);

/// A configuration and the files that it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files; a change of any of them is a reason to load again.
    pub files: Vec<PathBuf>,
}

/// Loads the configuration again, or says every fault of it.
pub type Load = dyn Fn() -> Result<Loaded, Vec<String>>;

/// Keeps a running proxy on the configuration as it is now.
pub struct Reloader {
    load: Box<Load>,
    control: Control,
    /// What the proxy was started with, part of which stays.
    started: Config,
    threshold: Threshold,
    fetcher: Fetcher,
    pace: Pace,
    fault: RefCell<Option<String>>,
}

impl Reloader {
    /// Reloads what `control` serves by and what `threshold` lets into the log, with `load`.
    pub fn new(load: Box<Load>, control: Control, threshold: Threshold, fetcher: Fetcher, pace: Pace) -> Self {
        let started = control.state().config.clone();
        Self { load, control, started, threshold, fetcher, pace, fault: RefCell::default() }
    }

    /// Why the last reload was refused; `None` when it was not.
    pub fn fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }

    /// Reloads when there is reason to, until it is dropped. `files` are those of the first load.
    ///
    /// # Errors
    /// When the process cannot have signals delivered.
    pub async fn run(&self, mut files: Vec<PathBuf>) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loaded = stamps(&files);
        let mut last = loaded.clone();
        loop {
            tokio::select! {
                _ = hangups.recv() => {}
                _ = looks.tick() => {
                    let now = stamps(&files);
                    let settled = now == last && now != loaded;
                    last = now;
                    if !settled {
                        continue;
                    }
                }
            }
            systemd::tell_reloading();
            if let Some(renewed) = self.reload().await {
                files = renewed;
            }
            systemd::tell_ready();
            loaded = stamps(&files);
            last.clone_from(&loaded);
        }
    }

    /// Loads once; returns the files of the configuration that is now in force, or `None` when the old one stays.
    pub async fn reload(&self) -> Option<Vec<PathBuf>> {
        let faults = match (self.load)() {
            Ok(loaded) => match self.prepare(loaded.config).await {
                Ok(state) => {
                    self.accept(state);
                    return Some(loaded.files);
                }
                Err(faults) => faults,
            },
            Err(faults) => faults,
        };
        counter!(RELOADS, "outcome" => "refused").increment(1);
        gauge!(LAST_RELOAD_GOOD).set(0.0);
        for fault in &faults {
            warn!(fault, "the new configuration is refused, the old one stays");
        }
        *self.fault.borrow_mut() = Some(faults.join("\n"));
        None
    }

    async fn prepare(&self, config: Config) -> Result<State, Vec<String>> {
        let previous = self.control.state();
        let keys = KeyStore::open(&config.issuers, &self.fetcher, self.pace, Some(&previous.keys)).await;
        let keys = keys.map_err(|faults| told(&faults))?;
        let mut state = State::new(config, Arc::new(keys)).map_err(|faults| told(&faults))?;
        state.keep(&previous);
        Ok(state)
    }

    fn accept(&self, state: State) {
        let (old, new) = (&self.started, &state.config);
        let fixed = [
            ("server.listen", old.server.listen != new.server.listen),
            ("server.admin", old.server.admin != new.server.admin),
            ("server.workers", old.server.workers != new.server.workers),
            ("server.socket_mode", old.server.sockets.mode != new.server.sockets.mode),
            ("server.share_addresses", old.server.sockets.shared != new.server.sockets.shared),
            ("log.format", old.log.format != new.log.format),
            ("traces", old.traces != new.traces),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            warn!(key, "this key takes effect at the next start");
        }
        // A level that was set by hand outlasts whatever else is reloaded.
        if self.control.state().config.log.level != new.log.level {
            self.threshold.set(new.log.level);
        }
        self.control.replace(state);
        counter!(RELOADS, "outcome" => "accepted").increment(1);
        in_force();
        info!("configuration reloaded");
        *self.fault.borrow_mut() = None;
    }
}

fn told<E: Error>(faults: &[E]) -> Vec<String> {
    faults.iter().map(|fault| chain(fault)).collect()
}

/// What tells one state of a file from another: device, inode, size, and time of change in nanoseconds.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &Path| {
        let file = fs::metadata(file).ok()?;
        Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    };
    files.iter().map(|file| stamp(file)).collect()
}
