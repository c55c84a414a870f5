//! One client's connection, from its first byte to its last.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    accept::Seat,
    exchange::exchange,
    reply,
    transport::{Stream, Tapped},
    watch::{Phase, Watch},
    worker::Worker,
};
use crate::decide::{Client, Code};

/// The parser takes this much more than is accepted, so that the refusal of a large head is ours and says why.
const SPARE_BYTES: usize = 16 << 10;

/// For a client to take the last words said to it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What an exchange knows of the connection that it came by.
pub(super) struct Link {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Client,
    seat: Seat,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There is no more to say.
    Done,
    /// A request's head began and did not end.
    HeadUnfinished,
}

impl Link {
    pub(super) fn watch(&self) -> &Arc<Watch> {
        self.seat.watch()
    }
}

/// Serves a connection's requests until either side has enough.
pub(super) async fn serve(worker: Rc<Worker>, stream: Stream, client: Client, seat: Seat) {
    let head_bytes = worker.local().state.config.limits.head_bytes;
    let watch = Arc::clone(seat.watch());
    let link = Rc::new(Link { worker, client, seat });
    let service = service_fn(move |request| exchange(Rc::clone(&link), request));
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(head_bytes + SPARE_BYTES)
        .serve_connection(TokioIo::new(Tapped::new(stream, Arc::clone(&watch))), service)
        .with_upgrades();
    let mut draining = false;
    let end = poll_fn(|context| {
        loop {
            if Pin::new(&mut connection).poll(context).is_ready() {
                return Poll::Ready(End::Done);
            }
            if draining || !watch.is_draining() {
                return poll_overdue(&watch, context);
            }
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
    })
    .await;
    if end == End::HeadUnfinished
        && let Some(parts) = connection.into_parts()
    {
        tell(parts.io.into_inner(), Code::RequestTimeout).await;
    }
}

/// Whether the connection has waited for too long. An exchange that waits for its upstream answers by itself.
fn poll_overdue(watch: &Watch, context: &Context<'_>) -> Poll<End> {
    ready!(watch.poll_expired(context));
    match watch.phase() {
        Phase::Idle | Phase::Answer => Poll::Ready(End::Done),
        Phase::Head => Poll::Ready(End::HeadUnfinished),
        Phase::Exchange | Phase::Tunnel => Poll::Pending,
    }
}

/// Refuses a client that has sent no whole request, and may not be listening.
pub(super) async fn tell(mut stream: impl AsyncWrite + Unpin, code: Code) {
    let telling = async {
        stream.write_all(&reply::raw(code)).await?;
        stream.shutdown().await
    };
    // Whoever does not take even this is not waited for.
    drop(tokio::time::timeout(LAST_WORDS, telling).await);
}
