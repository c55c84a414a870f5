//! One client's connection, from its first byte to its last.
//!
//! What an idle connection of HTTP/1 costs is its parser: two buffers, and what it knows of the last request. So after a
//! while the parser is taken apart, the connection sleeps over its stream alone, and the next bytes get a parser anew.

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
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};

use super::{
    accept::Seat,
    clock::Watched,
    exchange::exchange,
    http2,
    opening::Opening,
    reply,
    transport::Stream,
    verifier::Repute,
    watch::{Phase, Watch},
    worker::Worker,
};
use crate::decide::{Client, Code};

/// So much more of a head is read than is accepted: one that is a little too large is refused as an exchange, which is
/// logged and counted; one that is larger still, unread.
pub(super) const SPARE_BYTES: usize = 16 << 10;

/// The most that is read, and thrown away, after a head that was refused.
const DISCARDED_BYTES: u64 = 1 << 20;

/// For a client to take the last words said to it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What an exchange knows of the connection, or of the stream of one, that it came by.
pub(super) struct Link {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Client,
    pub(super) repute: Repute,
    hold: Hold,
}

/// What ends with the last that needs it.
enum Hold {
    Connection(Seat),
    Stream(Watched),
}

/// How a connection ended, or its parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There is no more to say.
    Done,
    /// A request's head began and did not end.
    HeadUnfinished,
    /// It goes on, and needs no parser until more comes.
    Asleep,
    /// It goes on, with the beginning of a request that has come already.
    Restless,
}

impl Link {
    pub(super) fn watch(&self) -> &Arc<Watch> {
        match &self.hold {
            Hold::Connection(seat) => seat.watch(),
            Hold::Stream(watched) => watched.watch(),
        }
    }

    /// One more stream of this connection, with deadlines of its own.
    pub(super) fn stream(&self) -> Self {
        let watched = self.worker.clock.watch_stream(self.watch());
        Self {
            worker: Rc::clone(&self.worker),
            client: self.client.clone(),
            repute: self.repute.clone(),
            hold: Hold::Stream(watched),
        }
    }
}

/// Serves a connection's requests until either side has enough.
pub(super) fn serve(worker: Rc<Worker>, stream: Stream, client: Client, seat: Seat) -> impl Future<Output = ()> {
    let readable_head_bytes = worker.local().state.config.limits.head_bytes + SPARE_BYTES;
    let opening = Opening::new(stream, Arc::clone(seat.watch()), readable_head_bytes);
    let link = Rc::new(Link { worker, client, repute: Repute::default(), hold: Hold::Connection(seat) });
    // An asynchronous function would keep room for its arguments beside what has become of them.
    async move {
        let http2 = if opening.is_http2() { Some(opening) } else { serve_http1(&link, opening).await };
        if let Some(opening) = http2 {
            // On the heap, so that HTTP/1 carries nothing of it about.
            Box::pin(http2::serve(link, opening)).await;
        }
    }
}

/// Serves HTTP/1, and gives the stream back where that is not what came.
async fn serve_http1(link: &Rc<Link>, mut opening: Opening) -> Option<Opening> {
    let watch = link.watch();
    loop {
        let end;
        // On the heap, so that a connection keeps no room while it sleeps for what it does not do then.
        (end, opening) = Box::pin(converse(link, opening)).await?;
        match end {
            End::Done if opening.has_large_head() => {
                Box::pin(refuse_head(link, opening)).await;
                return None;
            }
            End::Done => {
                if watch.is_broken_off() {
                    opening.reset();
                }
                return opening.is_http2().then_some(opening);
            }
            End::HeadUnfinished => {
                Box::pin(tell(opening, Code::RequestTimeout)).await;
                return None;
            }
            End::Asleep => {
                sleep(&mut opening, watch).await;
                watch.wake_up();
            }
            // It came in one piece with the request before, and its time begins only now.
            End::Restless => watch.begin_head(),
        }
    }
}

/// Parses and answers requests. The stream is given back unless it was upgraded.
async fn converse(link: &Rc<Link>, opening: Opening) -> Option<(End, Opening)> {
    let watch = link.watch();
    // On the heap, so that an idle connection keeps no room for an exchange.
    let service = service_fn(|request| Box::pin(exchange(Rc::clone(link), request)));
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        // One more than comes of a head, so that the parser refuses none for its size.
        .max_buf_size(opening.readable_head_bytes() + 1)
        .serve_connection(TokioIo::new(opening), service)
        .with_upgrades();
    let mut ending = false;
    let mut end = poll_fn(|context| {
        loop {
            if let Poll::Ready(served) = Pin::new(&mut connection).poll(context) {
                if let Err(fault) = served {
                    unread(&link.client, &fault);
                    return Poll::Ready(End::Done);
                }
                return Poll::Ready(if watch.phase() == Phase::Asleep { End::Asleep } else { End::Done });
            }
            let sleepy = watch.is_sleepy();
            if ending || !(sleepy || watch.is_draining()) {
                return poll_overdue(watch, context);
            }
            ending = true;
            if sleepy {
                watch.fall_asleep();
            }
            // Of a connection that is idle, this is the end. It falls asleep only if the parser agrees that it is.
            Pin::new(&mut connection).graceful_shutdown();
        }
    })
    .await;
    let parts = connection.into_parts()?;
    let mut opening = parts.io.into_inner();
    if end == End::Asleep && opening.put_back(&parts.read_buf) {
        end = End::Restless;
    }
    Some((end, opening))
}

/// Waits without a parser, until there is something to read or a reason to end: whoever serves next finds either.
async fn sleep(opening: &mut Opening, watch: &Watch) {
    poll_fn(|context| {
        let expired = watch.poll_expired(context);
        if expired.is_ready() || watch.is_draining() {
            return Poll::Ready(());
        }
        opening.poll_more(context)
    })
    .await;
}

/// What the parser refuses is no exchange, and no other line tells of it.
fn unread(client: &Client, fault: &hyper::Error) {
    if fault.is_parse() {
        tracing::debug!(client = client.address().map(display), %fault, "refused what is no request");
    }
}

/// Refuses a head that did not end within what is read of one. Its client may still be sending, and would lose the answer
/// with a connection that is closed on unread bytes.
async fn refuse_head(link: &Link, mut opening: Opening) {
    let (client, code) = (link.client.address(), Code::HeadTooLarge);
    tracing::info!(client = client.map(display), %code, status = code.status().as_u16(), "refused a head unread");
    tell(&mut opening, code).await;
    // From here on no head is awaited, of which `Opening` would read no more.
    link.watch().refusal_begins();
    let rest = async { copy(&mut opening.take(DISCARDED_BYTES), &mut sink()).await };
    drop(tokio::time::timeout(LAST_WORDS, rest).await);
}

/// Whether the connection has waited for too long. An exchange that waits for its upstream answers by itself.
fn poll_overdue(watch: &Watch, context: &Context<'_>) -> Poll<End> {
    ready!(watch.poll_expired(context));
    match watch.phase() {
        Phase::Idle | Phase::Asleep | Phase::Answer => Poll::Ready(End::Done),
        Phase::Head => Poll::Ready(End::HeadUnfinished),
        Phase::Exchange | Phase::Streams | Phase::Tunnel => Poll::Pending,
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
