//! One core's share of the work: its listeners, its connections to the upstreams, its verified tokens. Workers share
//! nothing that is written to on the way of a request.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use aws_lc_rs::rand;
use http::HeaderValue;
use tokio::sync::{Notify, watch};

use super::{
    accept,
    listen::Listener,
    proxy::Shared,
    state::State,
    upstream::Pool,
    verified::Verified,
    watch::{TICK, Watches},
};
use crate::decide::UpstreamId;

/// What one worker's tasks share.
pub(super) struct Worker {
    current: RefCell<Cache<Arc<ArcSwap<State>>, Arc<State>>>,
    pools: RefCell<(Arc<State>, Vec<Rc<Pool>>)>,
    pub(super) verified: RefCell<Verified>,
    pub(super) watches: Watches,
    pub(super) shared: Arc<Shared>,
    own_connections: Cell<usize>,
    draining: Cell<bool>,
    drained: Notify,
    emptied: Notify,
    id_prefix: u64,
    id_count: Cell<u32>,
}

/// One place among the connections; given back when dropped.
pub(super) struct Seat(Rc<Worker>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.shared.connections.fetch_sub(1, Relaxed);
        self.0.own_connections.set(self.0.own_connections.get() - 1);
        self.0.emptied.notify_waiters();
    }
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let state = shared.state.load_full();
        let pools = pools(&state);
        let mut prefix = [0; 8];
        // Ids only have to differ; without randomness the clock tells workers apart.
        let id_prefix = match rand::fill(&mut prefix) {
            Ok(()) => u64::from_be_bytes(prefix),
            Err(_) => Instant::now().elapsed().as_nanos() as u64,
        };
        Self {
            current: RefCell::new(Cache::new(Arc::clone(&shared.state))),
            pools: RefCell::new((state, pools)),
            verified: RefCell::new(Verified::new()),
            watches: Watches::new(),
            shared,
            own_connections: Cell::new(0),
            draining: Cell::new(false),
            drained: Notify::new(),
            emptied: Notify::new(),
            id_prefix,
            id_count: Cell::new(0),
        }
    }

    /// The configuration in force. After a reload, nothing that was made under the last one is used again.
    pub(super) fn state(&self) -> Arc<State> {
        let state = Arc::clone(self.current.borrow_mut().load());
        if !Arc::ptr_eq(&state, &self.pools.borrow().0) {
            *self.pools.borrow_mut() = (Arc::clone(&state), pools(&state));
            *self.verified.borrow_mut() = Verified::new();
        }
        state
    }

    pub(super) fn pool(&self, upstream: UpstreamId) -> Option<Rc<Pool>> {
        self.pools.borrow().1.get(upstream.0).cloned()
    }

    /// A name for an exchange that no other has.
    pub(super) fn request_id(&self) -> HeaderValue {
        let count = self.id_count.get();
        self.id_count.set(count.wrapping_add(1));
        let mut text = [0; 24];
        let digits = self.id_prefix.to_be_bytes().into_iter().chain(count.to_be_bytes());
        for (pair, byte) in text.chunks_exact_mut(2).zip(digits) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }

    /// A place for one more connection; `None` when there are as many as the limit allows.
    pub(super) fn seat(self: &Rc<Self>, limit: usize) -> Option<Seat> {
        if self.shared.connections.fetch_add(1, Relaxed) >= limit {
            self.shared.connections.fetch_sub(1, Relaxed);
            return None;
        }
        self.own_connections.set(self.own_connections.get() + 1);
        Some(Seat(Rc::clone(self)))
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Returns when draining begins.
    pub(super) async fn drained(&self) {
        if !self.is_draining() {
            self.drained.notified().await;
        }
    }

    /// Ends idle connections now and the others with their exchange; returns when none is left.
    async fn drain(&self) {
        self.draining.set(true);
        self.drained.notify_waiters();
        self.watches.wake_all();
        loop {
            let emptied = self.emptied.notified();
            if self.own_connections.get() == 0 {
                return;
            }
            emptied.await;
        }
    }

    async fn tick(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut swept = Instant::now();
        loop {
            ticks.tick().await;
            self.watches.tick();
            if swept.elapsed() > Duration::from_secs(1) {
                swept = Instant::now();
                self.pools.borrow().1.iter().for_each(|pool| pool.tick(swept));
            }
        }
    }
}

const HEX: [u8; 16] = *b"0123456789abcdef";

fn pools(state: &State) -> Vec<Rc<Pool>> {
    let upstreams = state.config.upstreams.iter().zip(&state.connectors);
    upstreams.map(|(upstream, tls)| Rc::new(Pool::new(upstream, tls.clone(), state.config.timeouts.connect))).collect()
}

/// Runs one worker on the current thread's [`tokio::task::LocalSet`] until it is told to stop and has drained.
/// Returns how many connections did not end in time.
pub(super) async fn run(listeners: Vec<Listener>, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) -> usize {
    let worker = Rc::new(Worker::new(shared));
    let ticking = tokio::task::spawn_local({
        let worker = Rc::clone(&worker);
        async move { worker.tick().await }
    });
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::task::spawn_local(accept::run(Rc::clone(&worker), listener)))
        .collect();
    // The other end is dropped only when the process is about to end as well.
    let _ = stop.wait_for(|stop| *stop).await;
    for task in accepting {
        // Dropping the task drops its listener: from here on connections are refused.
        task.abort();
    }
    let limit = worker.state().config.timeouts.drain;
    // What is left at the end of the drain time ends with the runtime.
    drop(tokio::time::timeout(limit, worker.drain()).await);
    ticking.abort();
    worker.own_connections.get()
}
