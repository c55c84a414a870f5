//! Taking connections, as many as the limit allows.

use std::{
    io,
    net::IpAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::watch, task::spawn_local, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{
    census::Household,
    clock::Watched,
    connection::{serve, tell},
    counts::{self, Count},
    listen::{Heir, Listener},
    proxy::Shared,
    proxy_protocol::{self, HeaderFault},
    transport::{Socket, Stream},
    watch::Watch,
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
            Err(error) => pause(listener, &error).await,
        }
    }
}

/// Out of file descriptors, most likely: others must end first, and asking at once again would only spin.
pub(super) async fn pause(listener: &Listener, error: &io::Error) {
    let listener = listener.address().ok().map(tracing::field::display);
    tracing::warn!(listener, %error, "a connection could not be accepted");
    tokio::time::sleep(PAUSE).await;
}

/// Begins with a connection. Each step is a task of its own: the last one, which stays for as long as the connection,
/// keeps nothing of those before it.
fn welcome(worker: &Rc<Worker>, socket: Socket, peer: Client) {
    let Some(seat) = Seat::take(worker) else { return refuse(socket) };
    if worker.local().state.config.server.proxy_protocol.include(peer.address()) {
        spawn_local(introduce(Rc::clone(worker), socket, peer, seat));
    } else {
        admit(worker, socket, peer, seat);
    }
}

fn refuse(socket: Socket) {
    spawn_local(tell(socket, Code::Overloaded));
}

/// Has a load balancer say who its client is.
async fn introduce(worker: Rc<Worker>, mut socket: Socket, peer: Client, seat: Seat) {
    let (limit, address) = (worker.local().state.config.timeouts.request_head, peer.address());
    match timeout(limit, proxy_protocol::read(&mut socket, peer)).await {
        Ok(Ok(client)) => admit(&worker, socket, client, seat),
        Ok(Err(fault)) => {
            not_introduced(address, &fault);
            tell(socket, Code::RequestMalformed).await;
        }
        Err(_) => tell(socket, Code::RequestTimeout).await,
    }
}

/// A balancer that is set up otherwise would have all its clients refused. One that only looks whether somebody listens
/// sends nothing, as a rule over and over.
fn not_introduced(peer: Option<IpAddr>, fault: &HeaderFault) {
    let peer = peer.map(tracing::field::display);
    match fault {
        HeaderFault::Invalid => {
            tracing::warn!(peer, %fault, "a peer that server.proxy_protocol lists was refused");
        }
        HeaderFault::Cut(_) => tracing::debug!(peer, %fault, "a connection was refused"),
    }
}

fn admit(worker: &Rc<Worker>, socket: Socket, client: Client, mut seat: Seat) {
    if !seat.join(client.address()) {
        return refuse(socket);
    }
    let acceptor = worker.local().state.acceptor.clone();
    let worker = Rc::clone(worker);
    match acceptor {
        Some(acceptor) => spawn_local(secure(worker, acceptor, socket, client, seat)),
        None => spawn_local(serve(worker, Stream::Plain(socket), client, seat)),
    };
}

async fn secure(worker: Rc<Worker>, acceptor: TlsAcceptor, socket: Socket, client: Client, seat: Seat) {
    let limit = worker.local().state.config.timeouts.request_head;
    match timeout(limit, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => {
            let stream = Stream::Tls(Box::new(TlsStream::Server(stream)));
            spawn_local(serve(worker, stream, client.over_tls(), seat));
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
