//! What a client's first bytes say: HTTP/2 begins with a preface (RFC 9113 §3.4) that is no request of HTTP/1.
//!
//! HTTP/1 pays nothing for the question: its parser reads from the socket as ever, and the bytes are looked at where it
//! has them. Only what begins like the preface, and what exceeds the largest head, is held back from it.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    tls::HTTP2,
    transport::{Inbound, Stream, Tapped},
    watch::Watch,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read of a request before there is a parser: most heads as a whole.
const FIRST_BYTES: usize = 2048;

/// A client's stream. Reading HTTP/1 from one that turns out to be HTTP/2 fails, and leaves it open: it can then be read
/// anew, from its first byte.
pub(super) struct Opening {
    stream: Tapped<Inbound>,
    protocol: Protocol,
    /// The most that is read of one head of HTTP/1, in bytes.
    readable_head_bytes: usize,
    /// Whether more of it was asked for.
    held_back: bool,
}

enum Protocol {
    /// So much of a preface has come, as a rule nothing.
    Unknown(Vec<u8>),
    /// With the bytes that came before there was a parser, as a rule none.
    Http1(Bytes),
    /// With the bytes that came before this was known.
    Http2(Bytes),
}

impl Opening {
    /// TLS agrees on the protocol (RFC 7301); in the clear the first bytes tell.
    pub(super) fn new(stream: Stream, watch: Arc<Watch>, readable_head_bytes: usize) -> Self {
        let protocol = match &stream {
            Stream::Plain(_) => Protocol::Unknown(Vec::new()),
            Stream::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(HTTP2) => Protocol::Http2(Bytes::new()),
            Stream::Tls(_) => Protocol::Http1(Bytes::new()),
        };
        Self { stream: Tapped::new(stream, Inbound::new(watch)), protocol, readable_head_bytes, held_back: false }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::Http2(_))
    }

    pub(super) fn readable_head_bytes(&self) -> usize {
        self.readable_head_bytes
    }

    /// Whether as much as is read of a head has come, and its end has not.
    pub(super) fn has_large_head(&self) -> bool {
        matches!(self.protocol, Protocol::Http1(_)) && self.room() == 0
    }

    /// How many bytes may come before that is so.
    fn room(&self) -> usize {
        self.stream.tap().unfinished_head().map_or(usize::MAX, |came| self.readable_head_bytes.saturating_sub(came))
    }

    /// The parser's own refusal of a large head does not say why: so much of one does not reach it.
    fn poll_http1(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = self.room();
        if room >= buf.remaining() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        if room == 0 {
            // Nobody has to be woken: the parser flushes after each turn of reading, and `let_go` goes on from there.
            self.held_back = true;
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        buf.advance(count);
        Poll::Ready(Ok(()))
    }

    /// All has gone out that came before a head of which more was held back: only now is it time to end with it. If it
    /// was no head, the reading goes on.
    fn let_go(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if std::mem::take(&mut self.held_back) {
            if self.has_large_head() {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Ends the connection with an error instead of an end, where it can.
    pub(super) fn reset(&self) {
        self.stream.reset();
    }

    /// Has the next parser of HTTP/1 begin with bytes that have been read already. Says whether there are any.
    pub(super) fn put_back(&mut self, bytes: &[u8]) -> bool {
        // A copy: what the last parser left is a part of its buffer.
        self.protocol = Protocol::Http1(Bytes::copy_from_slice(bytes));
        !bytes.is_empty()
    }

    /// Ready once the next parser of HTTP/1 has something to read: bytes, the end or a fault. It takes a read to know:
    /// TLS may have deciphered bytes already, and not all that comes in by it is for us.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [MaybeUninit::uninit(); FIRST_BYTES];
        let mut buf = ReadBuf::uninit(&mut bytes);
        // A fault ends the stream, which is read again.
        let _ = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
        self.put_back(buf.filled());
        Poll::Ready(())
    }

    fn poll_first(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        loop {
            if let Protocol::Unknown(held) = &self.protocol {
                buf.put_slice(held);
            }
            let before = buf.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buf)?;
            let (ended, came) = (buf.filled().len() == before, &buf.filled()[start..]);
            if came.starts_with(PREFACE) {
                self.protocol = Protocol::Http2(Bytes::copy_from_slice(came));
                buf.set_filled(start);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if read.is_ready() && (ended || !PREFACE.starts_with(came)) {
                self.protocol = Protocol::Http1(Bytes::new());
                return Poll::Ready(Ok(()));
            }
            if !ended {
                self.protocol = Protocol::Unknown(came.to_vec());
            }
            buf.set_filled(start);
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncRead for Opening {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.protocol {
            Protocol::Unknown(_) => this.poll_first(cx, buf),
            Protocol::Http1(held) | Protocol::Http2(held) if !held.is_empty() => {
                let count = held.len().min(buf.remaining());
                buf.put_slice(&held[..count]);
                held.advance(count);
                Poll::Ready(Ok(()))
            }
            Protocol::Http1(_) => this.poll_http1(cx, buf),
            Protocol::Http2(_) => Pin::new(&mut this.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Opening {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        Poll::Ready(this.let_go(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &this.protocol {
            // It is HTTP/1 alone that ends here: nobody has read the preface yet.
            Protocol::Http2(held) if !held.is_empty() => Poll::Ready(Ok(())),
            // A parser ends here, and not the connection, which falls asleep.
            Protocol::Http1(_) if this.stream.tap().is_kept() => Poll::Ready(Ok(())),
            _ => Pin::new(&mut this.stream).poll_shutdown(cx),
        }
    }
}
