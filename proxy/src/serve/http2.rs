//! One client's HTTP/2 connection: every stream is an exchange with a task and deadlines of its own.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::{rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;

use super::{
    connection::{Link, SPARE_BYTES},
    exchange::exchange,
    opening::Opening,
    watch::{Phase, Watch},
};

/// What a client may send on one stream before its upstream takes it: the protocol's own initial window.
const STREAM_BYTES: u32 = 65_535;

/// And on all streams of a connection together.
const CONNECTION_BYTES: u32 = 1 << 20;

/// What is held of an answer that its client does not take.
const ANSWER_BYTES: usize = 64 << 10;

/// Streams that a client opened and reset before they were looked at: more are an attack (CVE-2023-44487).
const RESET_STREAMS: usize = 20;

/// Streams that a client made the proxy reset: more are an attack (CVE-2025-8671).
const FAULTY_STREAMS: usize = 128;

/// Exchanges that a client may leave before there is an answer, if it leaves more than it stays for: each has cost its
/// upstream a request, and the client nothing.
const LEFT_STREAMS: usize = 200;

/// The exchanges of one connection.
#[derive(Clone)]
struct Streams(Rc<Shared>);

struct Shared {
    connection: Rc<Link>,
    open: Cell<usize>,
    /// How many there were.
    begun: Cell<usize>,
    /// How many of them were left before there was an answer.
    left: Cell<usize>,
    /// Whether the client was told that no more streams are taken.
    parting: Cell<bool>,
    /// The watch of the exchange that is about to become a task.
    next: RefCell<Option<Arc<Watch>>>,
}

/// Counts a stream as long as it is served.
struct Open(Rc<Shared>);

/// Serves a connection's streams until either side has enough.
pub(super) async fn serve(link: Rc<Link>, stream: Opening) {
    let limits = link.worker.local().state.config.limits;
    let watch = Arc::clone(link.watch());
    let streams = Streams::of(link);
    // On the heap, so that it is not moved about with the task that it becomes a part of.
    let service = service_fn(|request| Box::pin(exchange(streams.begin(), request)));
    let mut connection = pin!(
        http2::Builder::new(streams.clone())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes + SPARE_BYTES).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_BYTES)
            .initial_connection_window_size(CONNECTION_BYTES)
            .max_send_buf_size(ANSWER_BYTES)
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(FAULTY_STREAMS)
            .serve_connection(TokioIo::new(stream), service)
    );
    poll_fn(|context| {
        loop {
            if connection.as_mut().poll(context).is_ready() || streams.is_flood() {
                return Poll::Ready(());
            }
            let expired = watch.poll_expired(context);
            if streams.is_parting() || !watch.is_draining() {
                ready!(expired);
            }
            if streams.is_parting() {
                return Poll::Ready(());
            }
            streams.part();
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
}

impl Streams {
    fn of(connection: Rc<Link>) -> Self {
        Self(Rc::new(Shared {
            connection,
            open: Cell::default(),
            begun: Cell::default(),
            left: Cell::default(),
            parting: Cell::default(),
            next: RefCell::default(),
        }))
    }

    fn is_flood(&self) -> bool {
        let left = self.0.left.get();
        left > LEFT_STREAMS && left > self.0.begun.get() / 2
    }

    fn is_parting(&self) -> bool {
        self.0.parting.get()
    }

    /// What is open is finished; a client that has nothing open has little time to take its leave.
    fn part(&self) {
        self.0.parting.set(true);
        self.0.rest();
    }

    fn begin(&self) -> Rc<Link> {
        let link = Rc::new(self.0.connection.stream());
        self.0.next.replace(Some(Arc::clone(link.watch())));
        link
    }
}

/// How hyper starts an exchange, right after the service was called for it.
impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, exchange: F) {
        let watch = self.0.next.take();
        let open = Open::new(&self.0);
        tokio::task::spawn_local(async move {
            let mut exchange = pin!(exchange);
            // Leaving it resets the stream.
            poll_fn(|context| match exchange.as_mut().poll(context) {
                Poll::Pending => watch.as_ref().map_or(Poll::Pending, |watch| poll_stuck(watch, context)),
                ended => ended,
            })
            .await;
            open.end(watch.is_some_and(|watch| watch.phase() == Phase::Exchange));
        });
    }
}

/// Whether the answer has not moved for too long. An exchange that waits for its upstream answers by itself.
fn poll_stuck(watch: &Watch, context: &Context<'_>) -> Poll<()> {
    ready!(watch.poll_expired(context));
    match watch.phase() {
        Phase::Idle | Phase::Answer => Poll::Ready(()),
        Phase::Asleep | Phase::Head | Phase::Exchange | Phase::Streams | Phase::Tunnel => Poll::Pending,
    }
}

impl Shared {
    fn rest(&self) {
        if self.open.get() == 0 {
            self.connection.watch().no_streams(self.parting.get());
        }
    }
}

impl Open {
    fn new(shared: &Rc<Shared>) -> Self {
        if shared.open.replace(shared.open.get() + 1) == 0 {
            shared.connection.watch().streams();
        }
        shared.begun.set(shared.begun.get() + 1);
        Self(Rc::clone(shared))
    }

    /// The exchange has ended, before an answer began or not.
    fn end(self, left: bool) {
        if left {
            self.0.left.set(self.0.left.get() + 1);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.rest();
    }
}
