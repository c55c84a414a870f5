//! Taking connections, as many as the limit allows.

use std::{
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::watch;
use tokio_rustls::TlsStream;

use super::{
    connection::{serve, tell},
    listen::Listener,
    proxy::Shared,
    transport::{Socket, Stream},
    watch::{Watch, Watched},
    worker::Worker,
};
use crate::decide::{Client, Code};

/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(50);

/// One place among the connections; given back when dropped.
pub(super) struct Seat {
    watched: Watched,
    shared: Arc<Shared>,
}

/// Accepts until told to stop, and then whoever was waiting already.
pub(super) async fn accept(worker: Rc<Worker>, listener: Listener, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, client)) => welcome(&worker, socket, client),
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of file descriptors, most likely: others must end first, and asking at once again would only spin.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(PAUSE).await;
}

fn welcome(worker: &Rc<Worker>, socket: Socket, client: Client) {
    match Seat::take(worker) {
        Some(seat) => drop(tokio::task::spawn_local(host(Rc::clone(worker), socket, client, seat))),
        None => drop(tokio::task::spawn_local(tell(socket, Code::Overloaded))),
    }
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
            return None;
        }
        Some(Self { watched: worker.clock.watch(&config.timeouts), shared })
    }

    pub(super) fn watch(&self) -> &Arc<Watch> {
        self.watched.watch()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Relaxed);
    }
}
