//! Deadlines without a timer each: a worker looks at all of them a few times a second.
//!
//! A timer that is set and cancelled for every request costs more than the check that it guards. Deadlines here are
//! seconds; being late by a tick harms nobody.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use slab::Slab;

/// How often deadlines are looked at.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// What a connection or exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a request's head.
    Head,
    /// The response's head, or more of the request's body.
    Answer,
    /// More of the response's body, or the client to take it.
    Body,
}

/// The deadline of one connection or exchange. Shared with what the HTTP library wants to be `Send`; touched by one
/// thread.
#[derive(Debug)]
pub(super) struct Watch {
    clock: Arc<AtomicU64>,
    phase: AtomicU8,
    /// Milliseconds of the clock; `u64::MAX` for none.
    deadline: AtomicU64,
    passed: AtomicBool,
    waker: AtomicWaker,
}

impl Watch {
    /// Waits for what the phase says, so long at most; zero waits for ever.
    pub(super) fn set(&self, phase: Phase, limit: Duration) {
        self.phase.store(phase as u8, Relaxed);
        self.passed.store(false, Relaxed);
        self.extend(limit);
    }

    /// Something moved: the same wait begins anew.
    pub(super) fn extend(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let deadline = if limit == 0 { u64::MAX } else { self.clock.load(Relaxed).saturating_add(limit) };
        self.deadline.store(deadline, Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Answer,
            _ => Phase::Body,
        }
    }

    /// Ready once the deadline has passed.
    pub(super) fn poll_passed(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.passed.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn look(&self, now: u64) {
        if now >= self.deadline.load(Relaxed) && !self.passed.swap(true, Relaxed) {
            self.waker.wake();
        }
    }
}

/// All deadlines of one worker.
#[derive(Debug)]
pub(super) struct Watches {
    epoch: Instant,
    clock: Arc<AtomicU64>,
    watches: RefCell<Slab<Arc<Watch>>>,
}

impl Watches {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), clock: Arc::default(), watches: RefCell::default() }
    }

    /// A new deadline, looked at until the key is given back.
    pub(super) fn add(&self) -> (usize, Arc<Watch>) {
        let watch = Arc::new(Watch {
            clock: Arc::clone(&self.clock),
            phase: AtomicU8::new(Phase::Idle as u8),
            deadline: AtomicU64::new(u64::MAX),
            passed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        (self.watches.borrow_mut().insert(Arc::clone(&watch)), watch)
    }

    pub(super) fn remove(&self, key: usize) {
        self.watches.borrow_mut().try_remove(key);
    }

    /// Lets every waiting task look around.
    pub(super) fn wake_all(&self) {
        for (_, watch) in self.watches.borrow().iter() {
            watch.waker.wake();
        }
    }

    /// Looks at every deadline.
    pub(super) fn tick(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.clock.store(now, Relaxed);
        for (_, watch) in self.watches.borrow().iter() {
            watch.look(now);
        }
    }
}
