//! Taking connections, as many as the limit allows.

use std::{io, rc::Rc, time::Duration};

use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsStream;

use super::{
    connection,
    listen::{Accepted, Listener},
    reply,
    transport::{Carrier, Transport},
    worker::{Seat, Worker},
};
use crate::decide::{Client, Code};

/// Accepts until the task is aborted.
pub(super) async fn run(worker: Rc<Worker>, listener: Listener) {
    loop {
        match listener.accept().await {
            Ok(accepted) => welcome(&worker, accepted),
            Err(error) => pause(&error).await,
        }
    }
}

/// Out of file descriptors, most likely: others must end first, and asking at once again would only spin.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn welcome(worker: &Rc<Worker>, accepted: Accepted) {
    let limit = worker.state().config.limits.connections;
    match worker.seat(limit) {
        Some(seat) => drop(tokio::task::spawn_local(host(Rc::clone(worker), seat, accepted))),
        None => drop(tokio::task::spawn_local(turn_away(accepted))),
    }
}

async fn host(worker: Rc<Worker>, seat: Seat, accepted: Accepted) {
    let tls = worker.state().acceptor.clone();
    let client = Client { address: accepted.peer(), tls: tls.is_some() };
    let carrier = match (accepted, tls) {
        (Accepted::Unix(stream), _) => Carrier::Unix(stream),
        (Accepted::Tcp(stream, _), None) => Carrier::Tcp(stream),
        (Accepted::Tcp(stream, _), Some(tls)) => {
            let limit = worker.state().config.timeouts.request_head;
            match tokio::time::timeout(limit, tls.accept(stream)).await {
                Ok(Ok(stream)) => Carrier::Tls(Box::new(TlsStream::Server(stream))),
                Ok(Err(error)) => return tracing::debug!(%error, "no TLS came about"),
                Err(_) => return tracing::debug!("no TLS came about in time"),
            }
        }
    };
    connection::serve(worker, Transport::new(carrier), client).await;
    drop(seat);
}

/// One connection too many: told so at once, in as few steps as there are.
async fn turn_away(accepted: Accepted) {
    let answer = reply::raw(Code::Overloaded);
    let telling = async {
        match accepted {
            Accepted::Tcp(mut stream, _) => stream.write_all(&answer).await,
            Accepted::Unix(mut stream) => stream.write_all(&answer).await,
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(1), telling).await);
}
