//! Bodies on their way through: streamed with back-pressure, capped, never buffered.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{
    state::State,
    tally::Tally,
    upstream::Lease,
    watch::{Phase, Watch},
};

/// Why a request's body did not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyFault {
    /// More bytes than the route takes.
    #[error("the request's body is larger than the limit")]
    TooLarge,
    /// The client broke off or sent what is no body.
    #[error("the client did not send its body whole")]
    CutOff,
    /// A deadline passed.
    #[error("the body stood still for too long")]
    Stalled,
}

/// How a request's body is doing, for the exchange that waits for the answer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    fault: Cell<Option<BodyFault>>,
    waiting_for_client: Cell<bool>,
    received: Cell<u64>,
}

impl Progress {
    pub(super) fn fault(&self) -> Option<BodyFault> {
        self.fault.get()
    }

    /// Bytes that went on to the upstream.
    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn is_waiting_for_client(&self) -> bool {
        self.waiting_for_client.get()
    }
}

/// A request's body on its way to the upstream.
pub(super) enum RequestBody {
    Empty,
    Streamed(Streamed),
}

pub(super) struct Streamed {
    pub(super) inner: Incoming,
    /// Bytes that may still come.
    pub(super) left: u64,
    pub(super) state: Arc<State>,
    pub(super) watch: Arc<Watch>,
    pub(super) progress: Rc<Progress>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(body) => body.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(body) => body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(body) => body.inner.size_hint(),
        }
    }
}

impl Streamed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        self.progress.waiting_for_client.set(polled.is_pending());
        let timeouts = &self.state.config.timeouts;
        let frame = match ready!(polled) {
            None => {
                self.watch.extend(timeouts.response_head);
                return Poll::Ready(None);
            }
            Some(Err(_)) => return self.fail(BodyFault::CutOff),
            Some(Ok(frame)) => frame,
        };
        self.watch.extend(timeouts.body_idle);
        Poll::Ready(Some(match frame.into_trailers() {
            Ok(mut trailers) => {
                self.state.gate.clean_trailers(&mut trailers);
                Ok(Frame::trailers(trailers))
            }
            Err(frame) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.left.checked_sub(length) {
                    Some(left) => {
                        self.left = left;
                        self.progress.received.set(self.progress.received() + length);
                    }
                    None => return self.fail(BodyFault::TooLarge),
                }
                Ok(frame)
            }
        }))
    }

    /// The upstream's connection is broken off by the error, so that the body never looks whole there.
    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.progress.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }
}

/// A response's body on its way to the client. The tally is told when it is dropped.
pub(super) enum ResponseBody {
    /// One of our own answers.
    Own(Option<Bytes>, Tally),
    /// The upstream's, with its connection, which is given back at the end.
    Upstream(Relayed),
}

pub(super) struct Relayed {
    pub(super) inner: Incoming,
    pub(super) lease: Option<Lease>,
    pub(super) watch: Arc<Watch>,
    pub(super) body_idle: Duration,
    pub(super) progress: Rc<Progress>,
    pub(super) tally: Tally,
}

/// What a response's body fails with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Own(bytes, tally) => Poll::Ready(bytes.take().map(|bytes| {
                tally.sent(bytes.len());
                Ok(Frame::data(bytes))
            })),
            Self::Upstream(relayed) => relayed.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes, _) => bytes.is_none(),
            Self::Upstream(relayed) => relayed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes, _) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Upstream(relayed) => relayed.inner.size_hint(),
        }
    }
}

impl Relayed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if polled.is_pending() && self.watch.poll_passed(context).is_ready() {
            return self.break_off(BodyFault::Stalled.into());
        }
        match ready!(polled) {
            None => {
                self.complete();
                Poll::Ready(None)
            }
            Some(Err(error)) => self.break_off(error.into()),
            Some(Ok(frame)) => {
                self.watch.set(Phase::Body, self.body_idle);
                self.tally.sent(frame.data_ref().map_or(0, Bytes::len));
                if self.inner.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// The whole answer was read: the connection can take another request.
    pub(super) fn complete(&mut self) {
        self.tally.received(self.progress.received());
        self.tally.completed();
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// The connection is closed with the lease, and the client's with the error: no half answer looks whole.
    fn break_off(&mut self, why: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.lease = None;
        self.tally.broke_off(&*why);
        Poll::Ready(Some(Err(why)))
    }
}

/// Reads a body that nobody wants, to its end or to a cap or a deadline.
pub(super) async fn drain(mut body: Incoming, cap: u64, watch: &Watch) {
    let mut left = cap;
    std::future::poll_fn(|context| {
        loop {
            match Pin::new(&mut body).poll_frame(context) {
                Poll::Pending => return watch.poll_passed(context),
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    match left.checked_sub(length) {
                        Some(remaining) => left = remaining,
                        None => return Poll::Ready(()),
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
            }
        }
    })
    .await;
}
