//! Binding, running, reloading and draining.

use std::{
    future::ready,
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use arc_swap::ArcSwap;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream::FuturesUnordered};
use tokio::sync::{oneshot, watch};

use super::{
    Observer, State,
    census::Census,
    listen::{self, Bound},
    systemd::Inherited,
    trace::Sampler,
    unix_socket::SocketFile,
    worker,
};
use crate::config::Address;

/// Listeners that are bound and wait to be served.
pub struct Proxy {
    control: Control,
    /// For each worker, its sockets.
    sockets: Vec<Vec<Bound>>,
    files: Vec<SocketFile>,
}

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindFault {
    /// The address.
    pub address: Address,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every exchange in flight was finished.
    Whole,
    /// The drain deadline passed and this many connections were cut.
    Cut(usize),
}

/// A running proxy, as its operators see it.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// What all workers see.
pub(super) struct Shared {
    pub(super) state: ArcSwap<State>,
    /// Counts the states: a worker sees with one load whether its own is the latest.
    pub(super) generation: AtomicU64,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) connections: AtomicUsize,
    pub(super) census: Census,
    pub(super) sampler: Option<Sampler>,
    addresses: Vec<Address>,
}

impl Proxy {
    /// Binds every listener of the state's configuration, or takes it from the service manager, for as many workers as
    /// the configuration says, or one a core.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn bind(state: State, observer: Arc<dyn Observer>, mut inherited: Inherited) -> Result<Self, BindFault> {
        let server = &state.config.server;
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let workers = server.workers.unwrap_or_else(cores).get();
        let mut sockets: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
        let (mut addresses, mut files) = (Vec::new(), Vec::new());
        for wanted in &server.listen {
            let places = listen::bind(wanted, server.sockets, workers, &mut inherited);
            for place in places.map_err(|source| BindFault { address: wanted.clone(), source })? {
                addresses.push(place.address);
                files.extend(place.file);
                for (own, socket) in sockets.iter_mut().zip(place.sockets) {
                    own.push(socket);
                }
            }
        }
        let sampler = state.config.traces.as_ref().map(|traces| Sampler::new(traces.sample_ratio));
        let shared = Shared {
            state: ArcSwap::from_pointee(state),
            generation: AtomicU64::new(0),
            sampler,
            observer,
            connections: AtomicUsize::new(0),
            census: Census::default(),
            addresses,
        };
        Ok(Self { control: Control { shared: Arc::new(shared) }, sockets, files })
    }

    /// A handle to the running proxy.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until `shutdown` ends, then takes no new connections and finishes what is in flight, for as long as the
    /// configuration's drain time allows.
    ///
    /// # Errors
    /// When the system gives no thread, runtime or socket for a worker, or a worker panics.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<Drained> {
        let (stop, stopped) = watch::channel(false);
        let mut ends = FuturesUnordered::new();
        for (place, sockets) in self.sockets.into_iter().enumerate() {
            let (end, ended) = oneshot::channel();
            let (shared, stopped) = (Arc::clone(&self.control.shared), stopped.clone());
            let work = move || drop(end.send(worker::run(sockets, shared, stopped)));
            thread::Builder::new().name(format!("worker-{place}")).spawn(work)?;
            ends.push(ended.map(|end| end.unwrap_or_else(|_| Err(io::Error::other("a worker ended in a panic")))));
        }
        tokio::select! {
            () = shutdown => {}
            // Before its time: the others cannot take its share over.
            Some(Err(fault)) = ends.next() => return Err(fault),
        }
        drop(self.files);
        // Fails only when every worker has ended already; then their ends say why.
        let _ = stop.send(true);
        let cut = ends.try_fold(0, |sum, cut| ready(Ok(sum + cut))).await?;
        Ok(if cut == 0 { Drained::Whole } else { Drained::Cut(cut) })
    }
}

impl Control {
    /// What requests are decided by at the moment.
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// Decides and carries by `state` from the next request on. Connections stay.
    pub fn replace(&self, state: State) {
        self.shared.state.store(Arc::new(state));
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// The addresses that are listened on, with the ports that were given out for port 0.
    pub fn addresses(&self) -> &[Address] {
        &self.shared.addresses
    }

    /// Client connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}
