//! Connections in, until told to stop; then what is in flight is finished.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use crate::listen::{Connection, Listener};

/// How long a request head may take, and a connection stay idle: longer than a proxy keeps one, so that it is the proxy
/// that closes it, and no request meets a connection that is just going.
const HEAD_TIME: Duration = Duration::from_secs(120);

/// How long requests in flight may take once the service is to stop.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` at `listener` until `shutdown` is done, then finishes what is in flight.
pub async fn run(listener: Listener, router: Router, shutdown: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok(Connection::Tcp(stream)) => serve(stream, &router, connections.watcher()),
            Ok(Connection::Unix(stream)) => serve(stream, &router, connections.watcher()),
            Err(error) => pause(&error).await,
        }
    }
    drop(listener);
    if timeout(DRAIN_TIME, connections.shutdown()).await.is_err() {
        tracing::warn!(seconds = DRAIN_TIME.as_secs(), "some requests did not finish in time and were cut off");
    }
}

fn serve<S>(stream: S, router: &Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let connection = watcher.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended badly");
        }
    });
}

/// A connection that is gone before it was accepted is no reason to wait; running out of descriptors is.
async fn pause(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::error!(%error, "cannot accept connections; trying again");
    sleep(ACCEPT_PAUSE).await;
}
