//! A request's body on its way to the upstream, never gathered.

use std::{
    cell::{Cell, RefCell},
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
    connection::Link,
    consent::{self, Asking, Consent},
    pace::Pace,
    watch::{Phase, Watch},
    worker::Local,
};

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

    /// Whether the client of a connection that others' requests may follow on waits to be asked for it.
    pub(super) fn is_unasked(&self) -> bool {
        !self.apart && self.state.get() == Upstate::Unasked
    }

    /// The bytes that are certain to come, before any has; `None` if there is no body.
    pub(super) fn declared(&self) -> Option<u64> {
        let incoming = self.incoming.borrow();
        incoming.as_ref().filter(|incoming| !incoming.is_end_stream()).map(|incoming| incoming.size_hint().lower())
    }

    /// Nobody will take the rest of it. A client that waits to be asked for it is not asked.
    pub(super) fn abandon(&self, watch: &Arc<Watch>) {
        let unread = self.incoming.take().filter(|unread| !unread.is_end_stream());
        if let Some(unread) = unread.filter(|_| !self.apart && !self.is_unasked()) {
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
        let watch = self.link.watch();
        if self.progress.state.replace(Upstate::Awaited) != Upstate::Awaited {
            watch.await_request_body();
        }
        self.pace.wait(watch.millis());
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

/// Reads a request's body that nobody wants, so that its connection can be kept. A large or slow one is not worth it:
/// its connection is closed.
fn discard(mut unread: Incoming, watch: Arc<Watch>) {
    let request = watch.reading();
    let all = async move {
        let mut bytes = 0;
        // Of a body of known length, the parser tells the end itself only with the next head.
        while !unread.is_end_stream()
            && let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut unread).poll_frame(cx)).await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
            if bytes > DISCARDED_BYTES {
                return;
            }
        }
        watch.all_read(request);
    };
    tokio::task::spawn_local(tokio::time::timeout(DISCARDING, all));
}
