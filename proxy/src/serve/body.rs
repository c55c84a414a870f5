//! Bodies on their way through, in both directions, never gathered.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Version, request::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    capacity::Slot,
    connection::Link,
    consent::{self, Asking, Consent},
    pace::Pace,
    tally::Tally,
    upstream::Lease,
    watch::{Overrun, Phase, Watch},
    worker::Local,
};
use crate::decide::{Code, Denial, RouteId};

/// Of a request that was refused early, so much is read and thrown away to keep its connection.
const DISCARDED_BYTES: u64 = 1 << 20;

/// And for so long.
const DISCARDING: Duration = Duration::from_secs(5);

/// A request's body on its way to the upstream.
pub(super) enum RequestBody {
    /// There is none.
    Empty,
    /// As it comes in.
    Streaming(Box<Upload>),
}

pub(super) struct Upload {
    link: Rc<Link>,
    local: Rc<Local>,
    progress: Rc<Progress>,
    limit: u64,
    pace: Pace,
    consent: Option<Asking>,
}

/// A request's body, and how far it has come.
pub(super) struct Progress {
    incoming: RefCell<Option<Incoming>>,
    /// Whether what follows on the connection does not depend on it: HTTP/2.
    apart: bool,
    bytes: Cell<u64>,
    state: Cell<Upstate>,
}

/// Why a request's body is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstate {
    /// The upstream has not asked for more.
    Offered,
    /// The client waits to be asked for it, and the upstream has not asked.
    Unasked,
    /// The upstream asked, the client has not sent.
    Awaited,
    /// All of it went on.
    Whole,
    /// The client's connection or its framing broke off.
    Cut,
    /// It has more bytes than are allowed.
    TooLarge,
    /// It came at a trickle.
    TooSlow,
}

/// Why a body broke off. The other side must not take what it has for whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyFault {
    #[error("the body is larger than is allowed")]
    TooLarge,
    #[error("the client falls behind the rate at which a body must move")]
    TooSlow,
    #[error("the body broke off")]
    Cut(#[source] hyper::Error),
    #[error("the exchange has ended before the body")]
    Abandoned,
}

/// An answer's body on its way to the client.
pub(super) struct ResponseBody {
    source: Source,
    pace: Pace,
    /// Bytes that the client has yet to make room for.
    handed: usize,
    tally: Box<Tally>,
    /// The upstream has no other request in its place before this has ended.
    _slot: Option<Slot>,
}

enum Source {
    /// The upstream's, with the connection that it comes from.
    Upstream(Incoming, Option<Lease>),
    /// The proxy's own.
    Own(Option<Bytes>),
}

impl Progress {
    pub(super) fn of(incoming: Incoming, head: &Parts) -> Self {
        let state = match (incoming.is_end_stream(), consent::is_expected(head)) {
            (true, _) => Upstate::Whole,
            (false, true) => Upstate::Unasked,
            (false, false) => Upstate::Offered,
        };
        let apart = head.version == Version::HTTP_2;
        Self { incoming: RefCell::new(Some(incoming)), apart, bytes: Cell::default(), state: Cell::new(state) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn state(&self) -> Upstate {
        self.state.get()
    }

    /// The bytes that are certain to come, before any has; `None` if there is no body.
    pub(super) fn declared(&self) -> Option<u64> {
        let incoming = self.incoming.borrow();
        incoming.as_ref().filter(|incoming| !incoming.is_end_stream()).map(|incoming| incoming.size_hint().lower())
    }

    /// Nobody will take the rest of it. A client that waits to be asked for it is not asked.
    pub(super) fn abandon(&self, watch: &Arc<Watch>) {
        let unread = self.incoming.take().filter(|unread| !unread.is_end_stream());
        if let Some(unread) = unread.filter(|_| !self.apart && self.state.get() != Upstate::Unasked) {
            discard(unread, Arc::clone(watch));
        }
    }
}

impl Upload {
    /// `limit` in bytes; with `consent`, not a byte before the upstream has asked for it.
    pub(super) fn new(
        link: &Rc<Link>,
        local: &Rc<Local>,
        progress: &Rc<Progress>,
        limit: u64,
        consent: Option<&Consent>,
    ) -> Self {
        Self {
            link: Rc::clone(link),
            local: Rc::clone(local),
            progress: Rc::clone(progress),
            limit,
            pace: Pace::of(&local.state.config),
            consent: consent.map(Consent::ask),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(asking) = &mut self.consent {
            ready!(asking.poll(cx));
            self.consent = None;
        }
        self.progress.state.set(Upstate::Awaited);
        self.pace.wait(self.link.watch().millis());
        let polled = match self.progress.incoming.borrow_mut().as_mut() {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => return Poll::Ready(Some(Err(BodyFault::Abandoned))),
        };
        Poll::Ready(match ready!(polled) {
            Some(Ok(frame)) => Some(self.pass(frame)),
            Some(Err(error)) => {
                self.progress.state.set(Upstate::Cut);
                Some(Err(BodyFault::Cut(error)))
            }
            None => {
                self.end();
                None
            }
        })
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyFault> {
        let frame = match frame.into_data() {
            Ok(data) => {
                if !self.keeps_up(data.len()) {
                    self.progress.state.set(Upstate::TooSlow);
                    return Err(BodyFault::TooSlow);
                }
                let bytes = self.progress.bytes.get() + data.len() as u64;
                if bytes > self.limit {
                    self.progress.state.set(Upstate::TooLarge);
                    return Err(BodyFault::TooLarge);
                }
                self.progress.bytes.set(bytes);
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    self.local.state.gate.clean_trailers(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            },
        };
        if frame.is_trailers() || self.is_end_stream() {
            self.end();
        } else {
            self.progress.state.set(Upstate::Offered);
            self.link.watch().await_request_body();
        }
        Ok(frame)
    }

    /// Once the answer has begun, the two sides talk at their own pace.
    fn keeps_up(&mut self, bytes: usize) -> bool {
        let watch = self.link.watch();
        watch.phase() != Phase::Exchange || self.pace.moved(bytes, watch.millis())
    }

    fn is_end_stream(&self) -> bool {
        self.progress.incoming.borrow().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.progress.incoming.borrow().as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }

    fn end(&self) {
        self.progress.state.set(Upstate::Whole);
        self.link.watch().request_sent();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(upload) => upload.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(upload) => upload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(upload) => upload.size_hint(),
        }
    }
}

impl ResponseBody {
    /// The upstream's body; its connection is kept for the next request once the body has ended.
    pub(super) fn upstream(incoming: Incoming, lease: Option<Lease>, slot: Option<Slot>, tally: Box<Tally>) -> Self {
        tally.link().watch().answer_begins();
        if incoming.is_end_stream() {
            tally.abandon_request();
        }
        Self::new(Source::Upstream(incoming, lease), slot, tally)
    }

    /// The route of the exchange, where one was found.
    pub(super) fn route(&self) -> Option<RouteId> {
        self.tally.route()
    }

    /// A body of the proxy's own.
    pub(super) fn own(bytes: Bytes, tally: Box<Tally>) -> Self {
        tally.link().watch().refusal_begins();
        Self::new(Source::Own(Some(bytes).filter(|bytes| !bytes.is_empty())), None, tally)
    }

    fn new(source: Source, slot: Option<Slot>, tally: Box<Tally>) -> Self {
        Self { source, pace: tally.pace(), handed: 0, tally, _slot: slot }
    }

    /// Whether the exchange has time for more, and the client has taken what it was given soon enough. If not, the
    /// watch's deadline has passed, and whoever serves the exchange cuts it off.
    fn may_go_on(&mut self) -> bool {
        let watch = self.tally.link().watch();
        if watch.overrun().is_some() {
            return false;
        }
        let keeps_up = self.pace.moved(std::mem::take(&mut self.handed), watch.millis());
        if !keeps_up {
            watch.give_up();
            self.tally
                .cut_short(Denial::from(Code::RequestTimeout).because("the client takes its answer at a trickle"));
        }
        keeps_up
    }

    fn hand(&mut self, bytes: usize) {
        self.handed = bytes;
        self.pace.wait(self.tally.link().watch().millis());
        self.tally.sent(bytes);
    }
}

/// Reads a request's body that nobody wants, so that its connection can be kept. A large or slow one is not worth it:
/// its connection is closed.
fn discard(mut unread: Incoming, watch: Arc<Watch>) {
    let request = watch.reading();
    let all = async move {
        let mut bytes = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut unread).poll_frame(cx)).await {
            bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
            if bytes > DISCARDED_BYTES {
                return;
            }
        }
        watch.all_read(request);
    };
    tokio::task::spawn_local(tokio::time::timeout(DISCARDING, all));
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if !this.may_go_on() {
            return Poll::Pending;
        }
        let frame = match &mut this.source {
            Source::Upstream(incoming, _) => ready!(Pin::new(incoming).poll_frame(cx)),
            Source::Own(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
        };
        this.tally.link().watch().answer_moves();
        match &frame {
            Some(Ok(frame)) => this.hand(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(error)) => this.tally.broke_off(error),
            None => this.tally.complete(),
        }
        if this.is_end_stream() || frame.is_none() {
            this.tally.abandon_request();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream(incoming, _) => incoming.is_end_stream(),
            Source::Own(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Upstream(incoming, _) => incoming.size_hint(),
            Source::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.tally.complete();
        }
        if !self.tally.is_complete() {
            self.tally.break_off();
        }
        if let Source::Upstream(_, lease) = &mut self.source
            && let Some(lease) = lease.take()
            && self.tally.is_complete()
        {
            lease.keep();
        }
        self.tally.link().watch().rest();
    }
}

impl From<Overrun> for Denial {
    fn from(overrun: Overrun) -> Self {
        match overrun {
            Overrun::Exchange => Denial::from(Code::UpstreamTimeout).because("the exchange takes too long"),
            Overrun::Token => Denial::from(Code::TokenExpired).because("the token's time ended in the middle"),
        }
    }
}
