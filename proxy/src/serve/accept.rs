//! Taking connections, as many as the limit allows.

use std::{
    io,
    net::IpAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::watch;
use tokio_rustls::TlsStream;

use super::{
    census::Household,
    connection::{serve, tell},
    counts::{self, Count},
    listen::{Heir, Listener},
    proxy::Shared,
    proxy_protocol,
    transport::{Socket, Stream},
    watch::{Watch, Watched},
    worker::Worker,
};
use crate::decide::{Client, Code};

/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(50);

/// For connections that have begun as the listener stops, where another process has taken over: to end their handshake
/// and to ask something. Under a second, after which the system of a client that was turned away asks again.
pub(super) const HANDOVER: Duration = Duration::from_millis(250);

/// One place among the connections; given back when dropped.
pub(super) struct Seat {
    watched: Watched,
    shared: Arc<Shared>,
    /// Whose connections this one is counted among.
    household: Option<Household>,
}

/// Accepts until told to stop, and then whoever was waiting already.
pub(super) async fn accept(worker: Rc<Worker>, listener: Listener, mut stop: watch::Receiver<bool>) {
    accept_until(stop.wait_for(|stop| *stop), &worker, &listener).await;
    if listener.heir == Heir::Sharer {
        if let Err(error) = listener.turn_away() {
            tracing::warn!(%error, "connections that begin while this listener closes may be reset");
        }
        accept_until(tokio::time::sleep(HANDOVER), &worker, &listener).await;
    }
}

async fn accept_until<T>(end: impl Future<Output = T>, worker: &Rc<Worker>, listener: &Listener) {
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = &mut end => return,
        };
        match accepted {
            Ok((socket, peer)) => welcome(worker, socket, peer),
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of file descriptors, most likely: others must end first, and asking at once again would only spin.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(PAUSE).await;
}

fn welcome(worker: &Rc<Worker>, socket: Socket, peer: Client) {
    match Seat::take(worker) {
        Some(seat) => drop(tokio::task::spawn_local(open(Rc::clone(worker), socket, peer, seat))),
        None => drop(tokio::task::spawn_local(tell(socket, Code::Overloaded))),
    }
}

/// Finds out who the client is, where the peer is a load balancer that says so, and whether it has a place.
async fn open(worker: Rc<Worker>, mut socket: Socket, peer: Client, mut seat: Seat) {
    let mut client = peer;
    let expected = worker.local().state.config.server.proxy_protocol.include(peer.address);
    if expected {
        // On the heap, so that no other connection carries it about.
        client = match Box::pin(introduce(&worker, &mut socket, peer)).await {
            Ok(client) => client,
            Err(code) => return tell(socket, code).await,
        };
    }
    if seat.join(client.address) {
        host(worker, socket, client, seat).await;
    } else {
        drop(seat);
        tell(socket, Code::Overloaded).await;
    }
}

async fn introduce(worker: &Worker, socket: &mut Socket, peer: Client) -> Result<Client, Code> {
    let limit = worker.local().state.config.timeouts.request_head;
    let header = tokio::time::timeout(limit, proxy_protocol::read(socket, peer)).await;
    header.map_err(|_| Code::RequestTimeout)?.map_err(|fault| {
        tracing::debug!(peer = ?peer.address, %fault, "a listed peer did not say who its client is");
        Code::RequestMalformed
    })
}

async fn host(worker: Rc<Worker>, socket: Socket, client: Client, seat: Seat) {
    // Not kept for as long as the connection is: there may be a newer one meanwhile.
    let (acceptor, limit) = {
        let local = worker.local();
        (local.state.acceptor.clone(), local.state.config.timeouts.request_head)
    };
    let Some(acceptor) = acceptor else {
        return serve(worker, Stream::Plain(socket), client, seat).await;
    };
    match tokio::time::timeout(limit, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => {
            let stream = Stream::Tls(Box::new(TlsStream::Server(stream)));
            serve(worker, stream, Client { tls: true, ..client }, seat).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
        Err(_) => tracing::debug!("no TLS came about in time"),
    }
}

impl Seat {
    /// `None` when there are as many connections as the limit allows.
    fn take(worker: &Worker) -> Option<Self> {
        let local = worker.local();
        let config = &local.state.config;
        let shared = Arc::clone(&worker.shared);
        if shared.connections.fetch_add(1, Relaxed) >= config.limits.connections {
            shared.connections.fetch_sub(1, Relaxed);
            counts::add(Count::ConnectionRefused);
            return None;
        }
        Some(Self { watched: worker.clock.watch(&config.timeouts), shared, household: None })
    }

    /// Counts the connection among those of its address; `false` when that has as many as the limit allows.
    fn join(&mut self, address: Option<IpAddr>) -> bool {
        let limit = self.shared.state.load().config.limits.connections_per_address;
        let household = address.filter(|_| limit > 0).map(Household::from);
        let free = household.is_none_or(|household| self.shared.census.enter(household, limit));
        self.household = household.filter(|_| free);
        counts::add(if free { Count::ConnectionAccepted } else { Count::ConnectionRefused });
        free
    }

    pub(super) fn watch(&self) -> &Arc<Watch> {
        self.watched.watch()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Relaxed);
        if let Some(household) = self.household {
            self.shared.census.leave(household);
        }
    }
}
