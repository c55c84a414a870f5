//! An answer's body on its way to the client, never gathered.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{answer_fields::clean_trailers, capacity::Slot, pace::Pace, tally::Tally, upstream::Lease};
use crate::decide::{Code, Denial, RouteId};

/// An answer's body on its way to the client.
pub(super) struct ResponseBody {
    source: Source,
    /// What was taken of the source before. On the heap, so that idle connections keep no room for it.
    first: Option<Box<Frame<Bytes>>>,
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

impl ResponseBody {
    /// The upstream's body, of which the first frame may have been taken; its connection is kept for the next request
    /// once the body has ended.
    pub(super) fn upstream(
        incoming: Incoming,
        first: Option<Box<Frame<Bytes>>>,
        lease: Option<Lease>,
        slot: Option<Slot>,
        tally: Box<Tally>,
    ) -> Self {
        tally.link().watch().answer_begins();
        let body = Self::new(Source::Upstream(incoming, lease), first, slot, tally);
        if body.is_end_stream() {
            body.tally.abandon_request();
        }
        body
    }

    /// The route of the exchange, where one was found.
    pub(super) fn route(&self) -> Option<RouteId> {
        self.tally.route()
    }

    /// The id of the exchange.
    pub(super) fn request_id(&self) -> &HeaderValue {
        self.tally.request_id()
    }

    /// A body of the proxy's own.
    pub(super) fn own(bytes: Bytes, tally: Box<Tally>) -> Self {
        tally.link().watch().refusal_begins();
        Self::new(Source::Own(Some(bytes).filter(|bytes| !bytes.is_empty())), None, None, tally)
    }

    fn new(source: Source, first: Option<Box<Frame<Bytes>>>, slot: Option<Slot>, tally: Box<Tally>) -> Self {
        Self { source, first, pace: tally.pace(), handed: 0, tally, _slot: slot }
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

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if !this.may_go_on() {
            return Poll::Pending;
        }
        let mut frame = match (this.first.take(), &mut this.source) {
            (Some(first), _) => Some(Ok(*first)),
            (None, Source::Upstream(incoming, _)) => ready!(Pin::new(incoming).poll_frame(cx)),
            (None, Source::Own(bytes)) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
        };
        this.tally.link().watch().answer_moves();
        match &mut frame {
            Some(Ok(frame)) => {
                this.hand(frame.data_ref().map_or(0, Bytes::len));
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
            }
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
            Source::Upstream(incoming, _) => self.first.is_none() && incoming.is_end_stream(),
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
