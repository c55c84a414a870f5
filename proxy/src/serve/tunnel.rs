//! Two connections that have become one: bytes go through in both directions until either side, or the proxy, ends it.
//!
//! An idle tunnel holds no buffer: bytes pass through one on the stack, and what the other side does not take at once
//! is kept until it does.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::websocket::{Farewell, Frames};

/// The most that is read at once.
const BUFFER_BYTES: usize = 16 << 10;

type Side = TokioIo<Upgraded>;

/// Both sides, and what flows between them.
pub(super) struct Tunnel {
    client: Side,
    upstream: Side,
    /// From the client to the upstream.
    up: Flow,
    down: Flow,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Where frames end, of a WebSocket.
    frames: Option<Frames>,
    /// What has been read and not yet been taken.
    rest: Bytes,
    farewell: Option<Vec<u8>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// More may be read.
    #[default]
    Open,
    /// What was read goes out yet.
    Ending,
    /// The other side has been told that there is no more.
    Ended,
}

impl Tunnel {
    pub(super) fn new(client: Upgraded, upstream: Upgraded, is_websocket: bool) -> Self {
        let flow = || Flow { frames: is_websocket.then(Frames::default), ..Flow::default() };
        Self { client: TokioIo::new(client), upstream: TokioIo::new(upstream), up: flow(), down: flow() }
    }

    /// Moves what there is; ready when both directions have ended, or one broke off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = self.up.poll(cx, &mut self.client, &mut self.upstream)?;
        let down = self.down.poll(cx, &mut self.upstream, &mut self.client)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Begins to end a WebSocket: each direction at the end of the frame that it is in, with a close frame unless its
    /// sender has closed it already. `false` if this is none.
    pub(super) fn close(&mut self, farewell: Farewell) -> bool {
        let mut masking_key = [0; 4];
        if self.up.frames.is_none() || aws_lc_rs::rand::fill(&mut masking_key).is_err() {
            return false;
        }
        self.up.farewell = Some(farewell.frame(Some(masking_key)));
        self.down.farewell = Some(farewell.frame(None));
        true
    }

    /// Ready when both sides know of the end and have nothing more to say: what nobody has read would take the
    /// farewell away again (RFC 9112 §9.6).
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll(cx))?;
        ready!(poll_discard(cx, &mut self.client))?;
        poll_discard(cx, &mut self.upstream)
    }
}

impl Flow {
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<io::Result<()>> {
        loop {
            while self.rest.has_remaining() {
                let taken = ready!(Pin::new(&mut *to).poll_write(cx, &self.rest))?;
                self.rest.advance(taken);
            }
            self.take_leave();
            match self.stage {
                // What the proxy has yet to say goes out first.
                Stage::Ending if !self.rest.is_empty() => {}
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Open => {
                    if self.poll_read(cx, from, to)?.is_pending() {
                        // What a side has taken may wait there, in a TLS record.
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Puts the farewell, if there is one to say, behind the last whole frame.
    fn take_leave(&mut self) {
        if self.stage == Stage::Open
            && let Some(frames) = self.frames.as_ref().filter(|frames| frames.at_boundary())
            && let Some(farewell) = self.farewell.take()
        {
            self.rest = if frames.is_closed() { Bytes::new() } else { farewell.into() };
            self.stage = Stage::Ending;
        }
    }

    /// Reads once and passes on what the other side takes at once.
    fn poll_read(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<io::Result<()>> {
        let mut bytes = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            self.stage = Stage::Ending;
            return Poll::Ready(Ok(()));
        }
        let kept = match (&mut self.frames, &self.farewell) {
            (Some(frames), Some(_)) => read.get(..frames.pass_frame(read)).unwrap_or(read),
            (Some(frames), None) => {
                frames.pass(read);
                read
            }
            (None, _) => read,
        };
        let taken = match Pin::new(to).poll_write(cx, kept)? {
            Poll::Ready(taken) => taken,
            Poll::Pending => 0,
        };
        self.rest = Bytes::copy_from_slice(kept.get(taken..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

/// Reads to the end of a stream that nobody listens to.
fn poll_discard(cx: &mut Context<'_>, side: &mut Side) -> Poll<io::Result<()>> {
    let mut bytes = [MaybeUninit::uninit(); BUFFER_BYTES];
    loop {
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *side).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}
