//! One core's share of the work: a single-threaded runtime with listeners, upstream pools and a cache of its own.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, HeaderValue};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::watch,
};

use super::{
    Observer, State, Trace,
    accept::{HANDOVER, accept},
    capacity::{Capacity, Slot},
    clock::Clock,
    listen::{Bound, Heir, Listener},
    proxy::Shared,
    tls::UpstreamConnector,
    upstream::Pool,
    verified::Verified,
    verifier::Verifier,
};
use crate::{
    config::{Endpoint, Upstream},
    decide::{Client, Denial, Permit, UpstreamId},
};

/// What one worker's connections share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Rc<Clock>,
    verifier: Rc<Verifier>,
    local: RefCell<Rc<Local>>,
    generation: Cell<u64>,
    random: RefCell<Rng>,
}

/// One load of the configuration with what a worker keeps for it.
pub(super) struct Local {
    pub(super) state: Arc<State>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) clock: Rc<Clock>,
    pub(super) verified: RefCell<Verified>,
    pub(super) verifier: Rc<Verifier>,
    pools: Box<[Rc<Pool>]>,
    capacities: Box<[Rc<Capacity>]>,
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
        let hands_over = sockets.iter().any(|socket| socket.heir() != Heir::Nobody);
        for socket in sockets {
            tokio::task::spawn_local(accept(Rc::clone(&worker), Listener::open(socket)?, stop.clone()));
        }
        // The other end is dropped only when the process is about to end as well.
        let _ = stop.wait_for(|stop| *stop).await;
        if hands_over {
            // A drain ends connections that have asked nothing, and these may be about to.
            tokio::time::sleep(HANDOVER).await;
        }
        let limit = worker.local().state.config.timeouts.drain;
        // What is left then ends with the runtime.
        drop(tokio::time::timeout(limit, worker.clock.drain()).await);
        Ok(worker.clock.watched())
    })
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let verifier = Rc::new(Verifier::start());
        let clock = Rc::new(Clock::new());
        let generation = shared.generation.load(Ordering::Acquire);
        let local = Rc::new(Local::new(&shared, &clock, &verifier, &[]));
        Self {
            shared,
            clock,
            verifier,
            local: RefCell::new(local),
            generation: Cell::new(generation),
            random: RefCell::new(Rng::new()),
        }
    }

    /// What requests are decided and carried by from now on.
    pub(super) fn local(&self) -> Rc<Local> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation.get() {
            let renewed = Rc::new(Local::new(&self.shared, &self.clock, &self.verifier, &self.local.borrow().pools));
            self.local.replace(renewed);
            self.generation.set(generation);
        }
        Rc::clone(&self.local.borrow())
    }

    /// 128 random bits in hexadecimal, the form of a W3C trace id too.
    pub(super) fn next_request_id(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = self.random.borrow_mut().u128(..).to_le_bytes();
        let mut text = [0; 32];
        for (digits, byte) in text.as_chunks_mut().0.iter_mut().zip(bytes) {
            *digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        // Bytes that have an owner count their copies from the start; others allocate once more for the first one, and
        // client, upstream and log each get one.
        HeaderValue::from_maybe_shared(Bytes::from_owner(text)).unwrap_or(HeaderValue::from_static("0"))
    }

    /// The place of an exchange in a trace, where traces are configured.
    pub(super) fn trace(&self, local: &Local, client: &Client, headers: &HeaderMap) -> Option<Box<Trace>> {
        let sampler = self.shared.sampler?;
        let trusted = local.state.gate.trusts(client);
        Some(Box::new(sampler.place(headers, client, trusted, &mut self.random.borrow_mut())))
    }

    fn sweep(&self) {
        let local = self.local.borrow();
        local.pools.iter().for_each(|pool| pool.sweep());
        local.state.rates.sweep();
    }
}

impl Local {
    /// Upstreams that stayed as they were keep their connections.
    fn new(shared: &Shared, clock: &Rc<Clock>, verifier: &Rc<Verifier>, previous: &[Rc<Pool>]) -> Self {
        let state = shared.state.load_full();
        let pool = |(upstream, tls): (&Upstream, &Option<UpstreamConnector>)| {
            let connect = state.config.timeouts.connect;
            let kept = previous.iter().find(|pool| pool.serves(upstream, connect));
            kept.cloned()
                .unwrap_or_else(|| Rc::new(Pool::new(upstream.clone(), tls.clone(), connect, Rc::clone(clock))))
        };
        let pools = state.config.upstreams.iter().zip(&state.connectors).map(pool).collect();
        let capacities = state.capacities.iter().cloned().map(Rc::new).collect();
        Self {
            state,
            observer: Arc::clone(&shared.observer),
            clock: Rc::clone(clock),
            verified: RefCell::new(Verified::new()),
            verifier: Rc::clone(verifier),
            pools,
            capacities,
        }
    }

    /// What decides by this state, and carries nothing.
    #[cfg(test)]
    pub(super) fn deciding(state: State, verifier: Verifier) -> Self {
        Self {
            state: Arc::new(state),
            observer: Arc::new(super::Silent),
            clock: Rc::new(Clock::new()),
            verified: RefCell::new(Verified::new()),
            verifier: Rc::new(verifier),
            pools: Box::default(),
            capacities: Box::default(),
        }
    }

    /// The signed identity for a permitted request, where the configuration wants one and somebody calls.
    pub(super) fn proof(&self, permit: &Permit) -> Option<HeaderValue> {
        let (signer, caller) = (self.state.signer.as_ref()?, permit.identity()?);
        let upstream = self.state.config.upstreams.get(permit.upstream().0)?;
        signer.sign(caller, &upstream.name, self.clock.timestamp())
    }

    /// The upstream's own authority.
    pub(super) fn host_of(&self, upstream: UpstreamId) -> HeaderValue {
        let endpoint = self.state.config.upstreams.get(upstream.0).and_then(|upstream| upstream.endpoints.first());
        let authority = match endpoint {
            Some(Endpoint::Tcp { .. }) => {
                endpoint.and_then(|endpoint| HeaderValue::try_from(endpoint.to_string()).ok())
            }
            Some(Endpoint::Unix(_)) | None => None,
        };
        authority.unwrap_or(HeaderValue::from_static("localhost"))
    }

    /// Room for one more request to the upstream; `None` where any number may be in flight.
    ///
    /// # Errors
    /// `overloaded` when it has as many as it may have.
    pub(super) fn slot(&self, upstream: UpstreamId) -> Result<Option<Slot>, Denial> {
        self.capacities.get(upstream.0).map_or(Ok(None), Capacity::take)
    }

    pub(super) fn pool(&self, upstream: UpstreamId) -> Option<&Rc<Pool>> {
        self.pools.get(upstream.0)
    }
}
