//! What a connection, or one stream of it, waits for, and until when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;

use crate::{
    config::Timeouts,
    decide::{Code, Denial},
};

/// Milliseconds for an HTTP/2 client to take its leave: its answer to a ping, as a rule (RFC 9113 §6.8).
const LEAVE: u64 = 1_000;

/// Milliseconds that an answer has to end which begins as its caller's token does.
const GRACE: u64 = 1_000;

/// Milliseconds without a request after which a connection gives up its parser's memory. A client that asks more often
/// pays nothing for that.
const SLEEP_AFTER: u64 = 1_000;

/// The bit of a request of which nothing more is to come.
const ALL_READ: u64 = 1;

/// The deadline of what may take as long as it likes.
const FOREVER: u64 = u64::MAX;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The first byte of a request; the connection may be closed at any time.
    Idle,
    /// The same, without a parser.
    Asleep,
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
    /// When a connection that is still idle falls asleep.
    sleep: AtomicU64,
    /// Whether all that was to be said has gone out.
    flushed: AtomicBool,
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

impl From<Overrun> for Denial {
    fn from(overrun: Overrun) -> Self {
        match overrun {
            Overrun::Exchange => Denial::from(Code::UpstreamTimeout).because("the exchange takes too long"),
            Overrun::Token => Denial::from(Code::TokenExpired).because("the token's time ended in the middle"),
        }
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
    /// Over a connection that has just opened. `now` is the clock's, in milliseconds.
    pub(super) fn over_connection(now: Arc<AtomicU64>, timeouts: &Timeouts, draining: bool) -> Self {
        Self::new(now, Limits::new(timeouts), draining)
    }

    /// Over one stream of this connection, with the same limits.
    pub(super) fn over_stream(&self, draining: bool) -> Self {
        Self::new(Arc::clone(&self.now), self.limits, draining)
    }

    fn new(now: Arc<AtomicU64>, limits: Limits, draining: bool) -> Self {
        let watch = Self {
            deadline: AtomicU64::new(FOREVER),
            end: AtomicU64::new(FOREVER),
            expiry: AtomicU64::new(FOREVER),
            response_head: AtomicU64::new(limits.response_head),
            phase: AtomicU8::new(Phase::Idle as u8),
            reading: AtomicU64::new(ALL_READ),
            sleep: AtomicU64::new(FOREVER),
            flushed: AtomicBool::new(false),
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

    /// Bytes have come in. Those of a body that is thrown away begin no head.
    pub(super) fn heard(&self) {
        if self.is_between_requests() && self.expects_head() {
            self.enter(Phase::Head, self.limits.request_head);
        }
    }

    /// Bytes of an answer have gone out.
    pub(super) fn told(&self) {
        if self.phase() == Phase::Answer {
            self.answer_moves();
        }
    }

    /// There are bytes that are to go out.
    pub(super) fn telling(&self) {
        self.flushed.store(false, Relaxed);
    }

    /// All bytes that were to go out have.
    pub(super) fn all_told(&self) {
        self.flushed.store(true, Relaxed);
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
        matches!(self.phase(), Phase::Idle | Phase::Asleep | Phase::Head) && self.reading() & ALL_READ != 0
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
        self.sleep.store(self.now.load(Relaxed) + SLEEP_AFTER, Relaxed);
    }

    /// Whether no head has begun since the last exchange.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.phase(), Phase::Idle | Phase::Asleep)
    }

    /// Whether the connection has been idle for a while, with nothing left to be sent, or to be read of the last request.
    pub(super) fn is_sleepy(&self) -> bool {
        self.phase() == Phase::Idle
            && self.sleep.load(Relaxed) <= self.now.load(Relaxed)
            && self.flushed.load(Relaxed)
            && self.expects_head()
    }

    /// The connection gives up its parser, and may be closed when it would have been.
    pub(super) fn fall_asleep(&self) {
        self.phase.store(Phase::Asleep as u8, Relaxed);
    }

    /// The connection has a parser anew, and the beginning of a head for it.
    pub(super) fn begin_head(&self) {
        self.sleep.store(FOREVER, Relaxed);
        self.enter(Phase::Head, self.limits.request_head);
    }

    /// The connection has a parser again, and keeps it until after the next exchange.
    pub(super) fn wake_up(&self) {
        self.sleep.store(FOREVER, Relaxed);
        if self.phase() == Phase::Asleep {
            self.phase.store(Phase::Idle as u8, Relaxed);
        }
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
            1 => Phase::Asleep,
            2 => Phase::Head,
            3 => Phase::Exchange,
            4 => Phase::Answer,
            5 => Phase::Tunnel,
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

    /// The connection is to end with the exchange that it is in.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
        self.task.wake();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Ready once the deadline has passed. The task is woken then, when it is time to sleep, and when draining begins.
    pub(super) fn poll_expired(&self, context: &Context<'_>) -> Poll<()> {
        self.task.register(context.waker());
        if self.has_expired() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Time has gone on.
    pub(super) fn tick(&self) {
        if self.has_expired() || self.is_sleepy() {
            self.task.wake();
        }
    }

    fn has_expired(&self) -> bool {
        self.deadline.load(Relaxed) <= self.now.load(Relaxed)
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

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(FOREVER)
}

/// A timeout's milliseconds; none means that there is none.
fn limit(timeout: Duration) -> u64 {
    if timeout.is_zero() { FOREVER } else { millis(timeout) }
}
