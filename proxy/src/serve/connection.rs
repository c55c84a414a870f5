//! One client's connection, from its first byte to its last.

use std::{future::poll_fn, pin::Pin, rc::Rc, sync::Arc, task::Poll, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::{
    exchange::exchange,
    reply,
    transport::{Heard, Transport},
    watch::{Phase, Watch},
    worker::Worker,
};
use crate::decide::{Client, Code};

/// What an exchange knows of the connection that it came by.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) watch: Arc<Watch>,
    heard: Heard,
}

impl Link {
    /// The exchange is over: the connection may stay for another.
    pub(super) fn rest(&self, keep_alive: Duration) {
        self.heard.clear();
        self.watch.set(Phase::Idle, keep_alive);
    }
}

/// How a connection ended.
enum End {
    Closed,
    /// Nothing more came in time, or nobody took the answer.
    Silent,
    /// A request's head began and did not end.
    HeadUnfinished,
}

/// Serves a connection's requests until either side has enough.
pub(super) async fn serve(worker: Rc<Worker>, transport: Transport, client: Client) {
    let state = worker.state();
    let (timeouts, limits) = (state.config.timeouts, state.config.limits);
    drop(state);
    let heard = transport.heard();
    let (key, watch) = worker.watches.add();
    watch.set(Phase::Idle, timeouts.request_head);
    let link = Rc::new(Link { client, watch: Arc::clone(&watch), heard: heard.clone() });
    let service = {
        let worker = Rc::clone(&worker);
        service_fn(move |request| exchange(Rc::clone(&worker), Rc::clone(&link), request))
    };
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        // Larger than what is accepted, so that the refusal is ours and says why.
        .max_buf_size(limits.head_bytes.saturating_mul(2).max(8192))
        .serve_connection(TokioIo::new(transport), service)
        .with_upgrades();
    let mut draining = false;
    let end = poll_fn(|context| {
        if Pin::new(&mut connection).poll(context).is_ready() {
            return Poll::Ready(End::Closed);
        }
        if worker.is_draining() && !draining {
            draining = true;
            Pin::new(&mut connection).graceful_shutdown();
            context.waker().wake_by_ref();
        }
        if watch.phase() == Phase::Idle && heard.anything() {
            watch.set(Phase::Head, timeouts.request_head);
        }
        match (watch.poll_passed(context), watch.phase()) {
            (Poll::Ready(()), Phase::Idle | Phase::Body) => Poll::Ready(End::Silent),
            (Poll::Ready(()), Phase::Head) => Poll::Ready(End::HeadUnfinished),
            // The exchange has its own answer to that.
            (Poll::Ready(()), Phase::Answer) | (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await;
    if let End::HeadUnfinished = end
        && let Some(parts) = connection.into_parts()
    {
        let mut transport = parts.io.into_inner();
        // Whoever does not take even this is not waited for.
        let telling = async { transport.write_all(&reply::raw(Code::RequestTimeout)).await };
        drop(tokio::time::timeout(Duration::from_secs(1), telling).await);
        drop(transport.shutdown().await);
    }
    worker.watches.remove(key);
}
