//! A worker's coarse clock: deadlines that cost nothing while they are kept.
//!
//! A runtime's timer would be armed and disarmed several times per exchange. Here a deadline is a number that each
//! step overwrites, and one task looks over all of them ten times a second.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::sync::Notify;

use crate::{config::Timeouts, decide::Timestamp};

/// How late a deadline may be noticed.
const TICK: Duration = Duration::from_millis(100);

/// Milliseconds for an HTTP/2 client to take its leave: its answer to a ping, as a rule (RFC 9113 §6.8).
const LEAVE: u64 = 1_000;

/// Milliseconds between sweeps.
const SWEEP: u64 = 1_000;

/// Milliseconds that an answer has to end which begins as its caller's token does.
const GRACE: u64 = 1_000;

/// The bit of a request of which nothing more is to come.
const ALL_READ: u64 = 1;

/// The deadline of what may take as long as it likes.
const FOREVER: u64 = u64::MAX;

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

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The first byte of a request; the connection may be closed at any time.
    Idle,
    /// The rest of a request head.
    Head,
    /// Whatever the exchange says; the exchange itself answers when it takes too long.
    Exchange,
    /// The client to take, or the upstream to give, more of the answer.
    Answer,
    /// Either side of an upgraded connection to end it.
    Tunnel,
    /// The streams of an HTTP/2 connection, each of which has a watch of its own, or the next one.
    Streams,
}

/// One deadline, kept by whoever makes progress, and the task that is woken when it passes.
pub(super) struct Watch {
    deadline: AtomicU64,
    /// When the exchange as a whole has taken too long.
    end: AtomicU64,
    /// When what streams ends with the caller's token.
    expiry: AtomicU64,
    /// How long the upstream may take for its response head.
    response_head: AtomicU64,
    phase: AtomicU8,
    /// The number of the latest request, twice, and one more once all of it has been read.
    reading: AtomicU64,
    suspect: AtomicBool,
    draining: AtomicBool,
    broken_off: AtomicBool,
    now: Arc<AtomicU64>,
    task: AtomicWaker,
    limits: Limits,
}

/// Milliseconds.
#[derive(Clone, Copy)]
struct Limits {
    request_head: u64,
    body_idle: u64,
    keep_alive: u64,
    response_head: u64,
    exchange: u64,
}

/// What a permitted exchange may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Until the upstream's response head.
    pub(super) response_head: Duration,
    /// Until its end; zero for as long as it likes.
    pub(super) exchange: Duration,
    /// Until what streams ends with the caller's token.
    pub(super) expires_in: Option<Duration>,
}

/// Why an exchange has no more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overrun {
    /// It has taken longer than one may.
    Exchange,
    /// Its caller's token is no longer accepted.
    Token,
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
        self.keep(Watch::new(Arc::clone(&self.now), Limits::new(timeouts), self.draining.get()), false)
    }

    /// Watches over one stream of a connection, with the same limits.
    pub(super) fn watch_stream(self: &Rc<Self>, connection: &Watch) -> Watched {
        self.streams.set(self.streams.get() + 1);
        self.keep(Watch::new(Arc::clone(&self.now), connection.limits, self.draining.get()), true)
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
            watch.draining.store(true, Relaxed);
            watch.task.wake();
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
            let now = self.millis();
            for (_, watch) in self.watches.borrow().iter() {
                if watch.deadline.load(Relaxed) <= now {
                    watch.task.wake();
                }
            }
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

impl Limits {
    fn new(timeouts: &Timeouts) -> Self {
        Self {
            request_head: limit(timeouts.request_head),
            body_idle: limit(timeouts.body_idle),
            keep_alive: limit(timeouts.keep_alive),
            response_head: limit(timeouts.response_head),
            exchange: limit(timeouts.exchange),
        }
    }
}

impl Watch {
    fn new(now: Arc<AtomicU64>, limits: Limits, draining: bool) -> Self {
        let watch = Self {
            deadline: AtomicU64::new(FOREVER),
            end: AtomicU64::new(FOREVER),
            expiry: AtomicU64::new(FOREVER),
            response_head: AtomicU64::new(limits.response_head),
            phase: AtomicU8::new(Phase::Idle as u8),
            reading: AtomicU64::new(ALL_READ),
            suspect: AtomicBool::new(false),
            draining: AtomicBool::new(draining),
            broken_off: AtomicBool::new(false),
            now,
            task: AtomicWaker::new(),
            limits,
        };
        watch.enter(Phase::Head, limits.request_head);
        watch
    }

    /// Bytes of a request have come in.
    pub(super) fn heard(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head, self.limits.request_head);
        }
    }

    /// Bytes of an answer have gone out.
    pub(super) fn told(&self) {
        if self.phase() == Phase::Answer {
            self.answer_moves();
        }
    }

    /// A request head has come, and nothing may follow it; the upstream will owe a response head.
    pub(super) fn begin(&self, is_all: bool) {
        let next = (self.reading.load(Relaxed) | ALL_READ) + 1;
        self.reading.store(if is_all { next | ALL_READ } else { next }, Relaxed);
        self.allow(self.limits.response_head, self.limits.exchange, FOREVER);
    }

    /// The request may be forwarded, on these terms.
    pub(super) fn permit(&self, terms: &Terms) {
        let expires_in = terms.expires_in.map_or(FOREVER, millis);
        self.allow(limit(terms.response_head), limit(terms.exchange), expires_in);
    }

    /// What tells the request that is being read from another.
    pub(super) fn reading(&self) -> u64 {
        self.reading.load(Relaxed)
    }

    /// All of this request has been read; what comes next is a head.
    pub(super) fn all_read(&self, request: u64) {
        if self.reading.load(Relaxed) == request {
            self.reading.store(request | ALL_READ, Relaxed);
        }
    }

    /// Whether bytes that come now are those of a head.
    pub(super) fn expects_head(&self) -> bool {
        matches!(self.phase(), Phase::Idle | Phase::Head) && self.reading() & ALL_READ != 0
    }

    /// The head that is coming may have been read in another way by whoever stands in front.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Relaxed);
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }

    /// All of the request has gone on. It came in time: that its caller's token ends meanwhile is no reason to hold
    /// back what became of it.
    pub(super) fn request_sent(&self) {
        self.all_read(self.reading());
        if self.phase() == Phase::Exchange {
            self.enter(Phase::Exchange, self.response_head.load(Relaxed));
        }
    }

    /// The client owes more of its body, or the upstream owes to take it.
    pub(super) fn await_request_body(&self) {
        // An answer that began before the request's end has its own deadline.
        if self.phase() == Phase::Exchange {
            self.stream(Phase::Exchange);
        }
    }

    /// The upstream's answer begins. One that has only just come in time is short, or a stream that ends at once.
    pub(super) fn answer_begins(&self) {
        self.expiry.fetch_max(self.now.load(Relaxed).saturating_add(GRACE), Relaxed);
        self.answer_moves();
    }

    /// An answer of the proxy's own begins: short, and told whatever has run out.
    pub(super) fn refusal_begins(&self) {
        self.release();
        self.answer_moves();
    }

    /// The answer goes on.
    pub(super) fn answer_moves(&self) {
        self.stream(Phase::Answer);
    }

    /// The answer has ended; the next request may come.
    pub(super) fn rest(&self) {
        self.release();
        self.enter(Phase::Idle, self.limits.keep_alive);
    }

    /// The connection's first stream has opened; it lives as long as its streams do.
    pub(super) fn streams(&self) {
        self.enter(Phase::Streams, FOREVER);
    }

    /// The connection's last stream has ended; the next may come, unless the connection is parting.
    pub(super) fn no_streams(&self, parting: bool) {
        self.enter(Phase::Streams, if parting { LEAVE } else { self.limits.keep_alive });
    }

    /// The connection is no longer HTTP, and ends with its caller's token.
    pub(super) fn tunnel(&self, expires_in: Option<Duration>) {
        self.enter(Phase::Tunnel, expires_in.map_or(FOREVER, millis));
    }

    /// The exchange must not go on: its end is now.
    pub(super) fn give_up(&self) {
        self.deadline.store(0, Relaxed);
    }

    /// Why the exchange must not go on streaming, if so.
    pub(super) fn overrun(&self) -> Option<Overrun> {
        let now = self.now.load(Relaxed);
        if self.end.load(Relaxed) <= now {
            return Some(Overrun::Exchange);
        }
        (self.expiry.load(Relaxed) <= now).then_some(Overrun::Token)
    }

    /// Milliseconds, at most a tick old.
    pub(super) fn millis(&self) -> u64 {
        self.now.load(Relaxed)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Exchange,
            3 => Phase::Answer,
            4 => Phase::Tunnel,
            _ => Phase::Streams,
        }
    }

    /// The connection's end would look like the end of an answer that has none.
    pub(super) fn break_off(&self) {
        self.broken_off.store(true, Relaxed);
    }

    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off.load(Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Ready once the deadline has passed. The task is woken then, and when draining begins.
    pub(super) fn poll_expired(&self, context: &Context<'_>) -> Poll<()> {
        self.task.register(context.waker());
        if self.deadline.load(Relaxed) <= self.now.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn allow(&self, response_head: u64, exchange: u64, expires_in: u64) {
        let now = self.now.load(Relaxed);
        self.response_head.store(response_head, Relaxed);
        self.end.store(now.saturating_add(exchange), Relaxed);
        self.expiry.store(now.saturating_add(expires_in), Relaxed);
        self.enter(Phase::Exchange, response_head);
    }

    fn release(&self) {
        self.end.store(FOREVER, Relaxed);
        self.expiry.store(FOREVER, Relaxed);
    }

    fn enter(&self, phase: Phase, limit: u64) {
        self.phase.store(phase as u8, Relaxed);
        let deadline = self.now.load(Relaxed).saturating_add(limit);
        self.deadline.store(deadline.min(self.end.load(Relaxed)), Relaxed);
    }

    fn stream(&self, phase: Phase) {
        self.enter(phase, self.limits.body_idle);
        let deadline = self.deadline.load(Relaxed);
        self.deadline.store(deadline.min(self.expiry.load(Relaxed)), Relaxed);
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(FOREVER)
}

/// A timeout's milliseconds; none means that there is none.
fn limit(timeout: Duration) -> u64 {
    if timeout.is_zero() { FOREVER } else { millis(timeout) }
}
