//! Binding, running, reloading and draining.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::{Observer, State};
use crate::config::Address;

/// Listeners that are bound and wait to be served.
pub struct Proxy {
    control: Control,
}

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address:?}")]
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
    #[expect(dead_code, reason = "read by the workers")]
    pub(super) observer: Arc<dyn Observer>,
    pub(super) connections: AtomicUsize,
    pub(super) addresses: Vec<Address>,
}

impl Proxy {
    /// Binds every listener of the state's configuration.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn bind(state: State, observer: Arc<dyn Observer>) -> Result<Self, BindFault> {
        let shared = Shared {
            state: ArcSwap::from_pointee(state),
            observer,
            connections: AtomicUsize::new(0),
            addresses: Vec::new(),
        };
        Ok(Self { control: Control { shared: Arc::new(shared) } })
    }

    /// A handle to the running proxy.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until `shutdown` ends, then takes no new connections and finishes what is in flight, for as long as the
    /// configuration's drain time allows.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        shutdown.await;
        Drained::Whole
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
