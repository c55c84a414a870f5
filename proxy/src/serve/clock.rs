//! A worker's coarse clock: deadlines that cost nothing while they are kept.
//!
//! A runtime's timer would be armed and disarmed several times per exchange. Here a deadline is a number that each
//! step overwrites ([`Watch`]), and one task looks over all of them ten times a second.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use slab::Slab;
use tokio::sync::Notify;

use super::watch::{Watch, millis};
use crate::{config::Timeouts, decide::Timestamp};

/// How late a deadline may be noticed.
const TICK: Duration = Duration::from_millis(100);

/// Milliseconds between sweeps.
const SWEEP: u64 = 1_000;

/// Time as one worker sees it, at most a tick old.
pub(super) struct Clock {
    started: Instant,
    /// Milliseconds since `started`.
    now: Arc<AtomicU64>,
    unix: AtomicU64,
    watches: RefCell<Slab<Arc<Watch>>>,
    /// How many of them watch over streams.
    streams: Cell<usize>,
    draining: Cell<bool>,
    swept: Cell<u64>,
    occupied: Notify,
    emptied: Notify,
}

/// Keeps a watch in the clock's list.
pub(super) struct Watched {
    clock: Rc<Clock>,
    place: usize,
    watch: Arc<Watch>,
    stream: bool,
}

impl Clock {
    pub(super) fn new() -> Self {
        let clock = Self {
            started: Instant::now(),
            now: Arc::default(),
            unix: AtomicU64::new(0),
            watches: RefCell::default(),
            streams: Cell::new(0),
            draining: Cell::new(false),
            swept: Cell::new(0),
            occupied: Notify::new(),
            emptied: Notify::new(),
        };
        clock.read();
        clock
    }

    /// Seconds since the epoch, for claims.
    pub(super) fn timestamp(&self) -> Timestamp {
        Timestamp::from_unix(self.unix.load(Relaxed))
    }

    /// Milliseconds since the worker started.
    pub(super) fn millis(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// Watches over a connection that has just opened.
    pub(super) fn watch(self: &Rc<Self>, timeouts: &Timeouts) -> Watched {
        if self.watches.borrow().is_empty() {
            self.read();
            self.occupied.notify_one();
        }
        self.keep(Watch::over_connection(Arc::clone(&self.now), timeouts, self.draining.get()), false)
    }

    /// Watches over one stream of a connection, with the same limits.
    pub(super) fn watch_stream(self: &Rc<Self>, connection: &Watch) -> Watched {
        self.streams.set(self.streams.get() + 1);
        self.keep(connection.over_stream(self.draining.get()), true)
    }

    fn keep(self: &Rc<Self>, watch: Watch, stream: bool) -> Watched {
        let watch = Arc::new(watch);
        let place = self.watches.borrow_mut().insert(Arc::clone(&watch));
        Watched { clock: Rc::clone(self), place, watch, stream }
    }

    /// Tells every connection to end with the exchange that it is in; returns when all have.
    pub(super) async fn drain(&self) {
        self.draining.set(true);
        for (_, watch) in self.watches.borrow().iter() {
            watch.drain();
        }
        while self.watched() > 0 {
            self.emptied.notified().await;
        }
    }

    /// Connections that are watched over.
    pub(super) fn watched(&self) -> usize {
        self.watches.borrow().len() - self.streams.get()
    }

    /// Ticks as long as there is something to watch over, and sweeps every second.
    pub(super) async fn run(&self, sweep: impl Fn()) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.watches.borrow().is_empty() {
                self.occupied.notified().await;
            }
            ticks.tick().await;
            self.read();
            for (_, watch) in self.watches.borrow().iter() {
                watch.tick();
            }
            let now = self.millis();
            if self.swept.get() + SWEEP <= now {
                self.swept.set(now);
                sweep();
            }
        }
    }

    fn read(&self) {
        self.now.store(millis(self.started.elapsed()), Relaxed);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.unix.store(unix, Relaxed);
    }
}

impl Watched {
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.clock.watches.borrow_mut().try_remove(self.place);
        if self.stream {
            self.clock.streams.set(self.clock.streams.get() - 1);
        }
        if self.clock.watches.borrow().is_empty() {
            self.clock.emptied.notify_one();
        }
    }
}
