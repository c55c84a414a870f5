//! Byte streams of every kind, and what is learned from the bytes that pass.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::BufMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsStream;

use super::{
    lines::Lines,
    watch::{Phase, Watch},
};

/// A connection of the kernel.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection, in the clear or not.
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Pieces that are written together as one: below this, copying them costs less than telling the kernel of each.
const JOINED_BYTES: usize = 2048;

/// A stream that tells what passes.
pub(super) struct Tapped<T> {
    stream: Stream,
    tap: T,
}

/// Who is told.
pub(super) trait Tap: Unpin {
    /// These bytes have come in.
    fn heard(&mut self, bytes: &[u8]);
    /// Bytes are to go out.
    fn telling(&self);
    /// Bytes have gone out.
    fn told(&self);
    /// All bytes have gone out.
    fn all_told(&self);
}

/// Towards a client: progress moves the deadline, and the line ends and the size of heads are looked at.
pub(super) struct Inbound {
    watch: Arc<Watch>,
    lines: Lines,
    /// [`Watch::reading`] as bytes came last.
    reading: u64,
    /// Bytes that came since it changed: of the awaited head, where one is.
    came: usize,
}

impl Inbound {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        Self { reading: watch.reading(), watch, lines: Lines::default(), came: 0 }
    }

    /// What has come of a head that is awaited and has not ended, in bytes; `None` where something else is.
    pub(super) fn unfinished_head(&self) -> Option<usize> {
        let came = if self.watch.reading() == self.reading { self.came } else { 0 };
        self.watch.expects_head().then_some(came)
    }

    fn count(&mut self, bytes: usize) {
        let reading = self.watch.reading();
        if self.reading != reading {
            (self.reading, self.came) = (reading, 0);
        }
        self.came += bytes;
    }

    /// Whether the connection goes on although its parser ends.
    pub(super) fn is_kept(&self) -> bool {
        self.watch.phase() == Phase::Asleep
    }
}

impl Tap for Inbound {
    fn heard(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        if !self.watch.expects_head() {
            self.lines.pass(bytes);
        } else {
            if self.watch.is_between_requests() {
                self.lines.begin();
            }
            if self.lines.are_bare(bytes) {
                self.watch.suspect();
            }
        }
        self.watch.heard();
    }

    fn telling(&self) {
        self.watch.telling();
    }

    fn told(&self) {
        self.watch.told();
    }

    fn all_told(&self) {
        self.watch.all_told();
    }
}

/// Towards an upstream: whether any byte of an answer has come since the last request.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered(Arc<AtomicBool>);

impl Answered {
    pub(super) fn begin(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tap for Answered {
    fn heard(&mut self, _: &[u8]) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn telling(&self) {}

    fn told(&self) {}

    fn all_told(&self) {}
}

impl<T> Tapped<T> {
    pub(super) fn new(stream: Stream, tap: T) -> Self {
        Self { stream, tap }
    }

    pub(super) fn tap(&self) -> &T {
        &self.tap
    }

    /// Has the client see the coming end as an error. TLS needs no such help: it says a proper end (RFC 8446 §6.1),
    /// which is not said here.
    pub(super) fn reset(&self) {
        if let Stream::Plain(Socket::Tcp(stream)) = &self.stream {
            // Where the system cannot, an end is all there is.
            let _ = stream.set_zero_linger();
        }
    }
}

macro_rules! each {
    ($self:expr, $kind:ident :: { $($variant:ident),+ }, $stream:ident => $call:expr) => {
        match $self { $($kind::$variant($stream) => { let $stream = Pin::new($stream); $call })+ }
    };
}

macro_rules! delegate {
    ($kind:ident :: { $($variant:ident),+ }) => {
        impl AsyncRead for $kind {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                each!(self.get_mut(), $kind::{ $($variant),+ }, stream => stream.poll_read(cx, buf))
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                each!(self.get_mut(), $kind::{ $($variant),+ }, stream => stream.poll_write(cx, buf))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                each!(self.get_mut(), $kind::{ $($variant),+ }, stream => stream.poll_write_vectored(cx, bufs))
            }

            fn is_write_vectored(&self) -> bool {
                match self { $(Self::$variant(stream) => stream.is_write_vectored()),+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self.get_mut(), $kind::{ $($variant),+ }, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self.get_mut(), $kind::{ $($variant),+ }, stream => stream.poll_shutdown(cx))
            }
        }
    };
}

delegate!(Socket::{ Tcp, Unix });
delegate!(Stream::{ Plain, Tls });

impl<T: Tap> AsyncRead for Tapped<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(came @ [_, ..]) = buf.filled().get(before..) {
            this.tap.heard(came);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Tap> Tapped<T> {
    fn tell(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if matches!(written, Ok(1..)) {
            self.tap.told();
        }
        Poll::Ready(written)
    }
}

impl<T: Tap> AsyncWrite for Tapped<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.tap.telling();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
        this.tell(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.tap.telling();
        let stream = Pin::new(&mut this.stream);
        let length = bufs.iter().map(|piece| piece.len()).sum::<usize>();
        let written = match bufs {
            [piece] => ready!(stream.poll_write(cx, piece)),
            pieces if length <= JOINED_BYTES => {
                let mut joined = [0; JOINED_BYTES];
                let mut free = &mut joined[..];
                for piece in pieces {
                    free.put_slice(piece);
                }
                ready!(stream.poll_write(cx, &joined[..length]))
            }
            pieces => ready!(stream.poll_write_vectored(cx, pieces)),
        };
        this.tell(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.tap.all_told();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
