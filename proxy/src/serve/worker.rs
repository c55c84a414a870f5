//! One core's share of the work: a single-threaded runtime with listeners, upstream pools and a cache of its own.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use fastrand::Rng;
use http::HeaderValue;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
};

use super::{
    Observer, State,
    accept::accept,
    listen::{Bound, Listener},
    proxy::Shared,
    tls::UpstreamConnector,
    upstream::Pool,
    verified::{Fingerprint, Verified},
    watch::Clock,
};
use crate::{
    config::Upstream,
    decide::{Admission, Decision, Denial, Head, Identity, UpstreamId},
};

/// What one worker's connections share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Rc<Clock>,
    local: RefCell<Rc<Local>>,
    generation: Cell<u64>,
    random: RefCell<Rng>,
}

/// One load of the configuration with what a worker keeps for it.
pub(super) struct Local {
    pub(super) state: Arc<State>,
    pub(super) observer: Arc<dyn Observer>,
    clock: Rc<Clock>,
    pools: Box<[Rc<Pool>]>,
    verified: RefCell<Verified>,
}

/// Serves on the current thread until told to stop, then drains. Returns how many connections had to be cut.
///
/// # Errors
/// When the system gives no runtime, or a socket cannot be part of it.
pub(super) fn run(sockets: Vec<Bound>, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) -> io::Result<usize> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(shared));
        tokio::task::spawn_local({
            let worker = Rc::clone(&worker);
            async move { worker.clock.run(|| worker.sweep()).await }
        });
        for socket in sockets {
            tokio::task::spawn_local(accept(Rc::clone(&worker), Listener::open(socket)?, stop.clone()));
        }
        // The other end is dropped only when the process is about to end as well.
        let _ = stop.wait_for(|stop| *stop).await;
        let limit = worker.local().state.config.timeouts.drain;
        // What is left then ends with the runtime.
        drop(tokio::time::timeout(limit, worker.clock.drain()).await);
        Ok(worker.clock.watched())
    })
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let clock = Rc::new(Clock::new());
        let generation = shared.generation.load(Ordering::Acquire);
        let local = Rc::new(Local::new(&shared, &clock, &[]));
        Self {
            shared,
            clock,
            local: RefCell::new(local),
            generation: Cell::new(generation),
            random: RefCell::new(Rng::new()),
        }
    }

    /// What requests are decided and carried by from now on.
    pub(super) fn local(&self) -> Rc<Local> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation.get() {
            let renewed = Rc::new(Local::new(&self.shared, &self.clock, &self.local.borrow().pools));
            self.local.replace(renewed);
            self.generation.set(generation);
        }
        Rc::clone(&self.local.borrow())
    }

    /// 128 random bits in hexadecimal, the form of a W3C trace id too.
    pub(super) fn next_request_id(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bits = self.random.borrow_mut().u128(..);
        let mut text = [0; 32];
        for digit in &mut text {
            *digit = DIGITS[(bits & 15) as usize];
            bits >>= 4;
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }

    fn sweep(&self) {
        for pool in &self.local.borrow().pools {
            pool.sweep();
        }
    }
}

impl Local {
    /// Upstreams that stayed as they were keep their connections.
    fn new(shared: &Shared, clock: &Rc<Clock>, previous: &[Rc<Pool>]) -> Self {
        let state = shared.state.load_full();
        let pool = |(upstream, tls): (&Upstream, &Option<UpstreamConnector>)| {
            let connect = state.config.timeouts.connect;
            let kept = previous.iter().find(|pool| pool.serves(upstream, connect));
            kept.cloned()
                .unwrap_or_else(|| Rc::new(Pool::new(upstream.clone(), tls.clone(), connect, Rc::clone(clock))))
        };
        let pools = state.config.upstreams.iter().zip(&state.connectors).map(pool).collect();
        let observer = Arc::clone(&shared.observer);
        Self { state, observer, clock: Rc::clone(clock), pools, verified: RefCell::new(Verified::new()) }
    }

    pub(super) fn pool(&self, upstream: UpstreamId) -> Option<&Rc<Pool>> {
        self.pools.get(upstream.0)
    }

    /// Decides one request: the gate's three steps, with the cache of verified tokens and a look for new keys between
    /// them.
    pub(super) async fn decide(&self, head: &Head<'_>) -> Decision {
        match self.state.gate.admit(head) {
            Admission::Decided(decision) => decision,
            Admission::Pending(pending) => {
                let identity = self.verify(pending.token()).await;
                pending.conclude(identity)
            }
        }
    }

    async fn verify(&self, token: &str) -> Result<Arc<Identity>, Denial> {
        let (keys, now) = (&self.state.keys, self.clock.timestamp());
        let fingerprint = Fingerprint::of(token);
        if let Some(identity) = self.verified.borrow().find(&fingerprint, keys.generation(), now) {
            return Ok(identity);
        }
        let mut snapshot = keys.snapshot();
        let mut verdict = self.state.gate.verify(token, &snapshot.keys, now);
        if let Some(issuer) = verdict.as_ref().err().and_then(Denial::stale_keys) {
            keys.refresh(issuer).await;
            let renewed = keys.snapshot();
            if !Arc::ptr_eq(&snapshot, &renewed) {
                snapshot = renewed;
                verdict = self.state.gate.verify(token, &snapshot.keys, self.clock.timestamp());
            }
        }
        if let Ok(identity) = &verdict {
            self.verified.borrow_mut().keep(fingerprint, snapshot.generation, identity);
        }
        verdict
    }
}
