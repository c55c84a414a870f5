//! HTTP/1.1 messages as bytes, read strictly: what is not exactly in the grammar of RFC 9112 is an error.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::PATIENCE;
use crate::socket::Socket;

/// A start line and its fields.
#[derive(Clone, Debug)]
pub struct Head {
    /// The first line without its line end.
    pub start_line: String,
    /// Names as spelt, values without the white space around them.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Every byte, with the empty line.
    pub raw: Vec<u8>,
}

impl Head {
    /// The values of every field of this name, in order; names are compared without case.
    pub fn values(&self, name: &str) -> Vec<String> {
        values(&self.fields, name)
    }

    /// The value of a field that must not be repeated.
    pub fn value(&self, name: &str) -> Option<String> {
        let mut values = self.values(name);
        assert!(values.len() <= 1, "{name} is repeated: {values:?}");
        values.pop()
    }

    /// Every field whose name reads as `name` to a backend that folds case and takes `_` and `.` for `-`.
    pub fn aliases(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
        self.fields.iter().filter(|(spelt, _)| folded(spelt) == folded(name)).cloned().collect()
    }
}

fn values(fields: &[(String, Vec<u8>)], name: &str) -> Vec<String> {
    fields
        .iter()
        .filter(|(spelt, _)| spelt.eq_ignore_ascii_case(name))
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

/// What follows a head.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The content, without chunk framing.
    pub content: Vec<u8>,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`, or no body at all.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the peer closes: answers only.
    UntilClose,
}

/// A message that could not be read.
#[derive(Debug)]
pub enum Broken {
    /// The bytes are no message; says why.
    Grammar(String),
    /// The connection ended, or fell silent, inside the message.
    Cut(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Cut(error)
    }
}

fn grammar<T>(fault: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Grammar(fault.into()))
}

/// One side of a connection: exact bytes out, messages in.
#[derive(Debug)]
pub struct Conversation {
    socket: Socket,
    buffer: Vec<u8>,
    read: Arc<AtomicUsize>,
}

impl Conversation {
    /// Talks over `socket`; waits at most [`PATIENCE`] for each read.
    pub fn over(socket: Socket) -> Self {
        socket.set_patience(PATIENCE).expect("a connected socket takes a time limit");
        Self { socket, buffer: Vec::new(), read: Arc::default() }
    }

    /// Counts every byte read into `counter` too.
    pub fn counted_by(mut self, counter: &Arc<AtomicUsize>) -> Self {
        self.read = Arc::clone(counter);
        self
    }

    /// Sends these bytes and no others.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The socket itself, to shut a direction down or to set a time limit.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Takes what has been read and not yet consumed.
    pub fn take_buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads once more into the buffer; the number of new bytes, 0 at the end of the stream.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let count = self.socket.read(&mut chunk)?;
        self.read.fetch_add(count, Ordering::Relaxed);
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// Whether the peer has closed with nothing more to read; waits for either.
    pub fn at_end(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        match self.fill() {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Closes both directions.
    pub fn close(&self) {
        // The peer may have closed first; either way the connection is gone.
        let _ = self.socket.shut_down(Shutdown::Both);
    }

    /// The next head, or `None` when the peer closed before its first byte.
    pub fn head(&mut self) -> Result<Option<Head>, Broken> {
        if self.at_end() {
            return Ok(None);
        }
        let mut raw = self.take_line()?;
        let start_line = text(&raw)?;
        let mut fields = Vec::new();
        loop {
            let line = self.take_line()?;
            raw.extend_from_slice(&line);
            if line == b"\r\n" {
                return Ok(Some(Head { start_line, fields, raw }));
            }
            fields.push(field(&line)?);
        }
    }

    /// The body framed as `framing` says.
    pub fn body(&mut self, framing: Framing) -> Result<Body, Broken> {
        match framing {
            Framing::Length(length) => Ok(Body { content: self.take(length)?, ..Body::default() }),
            Framing::Chunked => self.chunks(),
            Framing::UntilClose => {
                while self.fill()? > 0 {}
                Ok(Body { content: self.take_buffered(), ..Body::default() })
            }
        }
    }

    /// The next chunk of a chunked body; empty for the last one.
    pub fn chunk(&mut self) -> Result<Vec<u8>, Broken> {
        let line = text(&self.take_line()?)?;
        let size = match usize::from_str_radix(&line, 16) {
            Ok(size) if !line.starts_with('+') => size,
            _ => return grammar(format!("no chunk size: {line:?}")),
        };
        if size == 0 {
            return Ok(Vec::new());
        }
        let chunk = self.take(size)?;
        match self.take(2)?.as_slice() {
            b"\r\n" => Ok(chunk),
            other => grammar(format!("a chunk ends with {other:?}")),
        }
    }

    fn chunks(&mut self) -> Result<Body, Broken> {
        let mut body = Body::default();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                break;
            }
            body.content.extend_from_slice(&chunk);
        }
        loop {
            let line = self.take_line()?;
            if line == b"\r\n" {
                return Ok(body);
            }
            body.trailers.push(field(&line)?);
        }
    }

    /// Exactly `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < count {
            self.fill_or_cut()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn take_line(&mut self) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                return Ok(self.buffer.drain(..=end).collect());
            }
            self.fill_or_cut()?;
        }
    }

    fn fill_or_cut(&mut self) -> Result<(), Broken> {
        match self.fill()? {
            0 => Err(Broken::Cut(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }
}

/// A line without its CR LF; other control characters and a missing CR are errors.
fn text(line: &[u8]) -> Result<String, Broken> {
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return grammar(format!("a line without CR LF: {:?}", line.escape_ascii().to_string()));
    };
    match String::from_utf8(line.to_vec()) {
        Ok(text) if !text.contains(char::is_control) => Ok(text),
        _ => grammar(format!("no plain line: {:?}", line.escape_ascii().to_string())),
    }
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), Broken> {
    let shown = || line.escape_ascii().to_string();
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return grammar(format!("a field without CR LF: {}", shown()));
    };
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return grammar(format!("a field without a colon: {}", shown()));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return grammar(format!("no field name: {}", shown()));
    }
    if value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        return grammar(format!("a control character in a field: {}", shown()));
    }
    Ok((String::from_utf8_lossy(name).into_owned(), value.trim_ascii().to_vec()))
}

/// The framing that a head announces; `none` when it says nothing. Two announcements are an error.
pub fn framing(head: &Head, none: Framing) -> Result<Framing, Broken> {
    let lengths = head.values("content-length");
    let codings = head.values("transfer-encoding");
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(none),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).or_else(|_| grammar(format!("no Content-Length: {length:?}")))
        }
        _ => grammar(format!("framed twice or oddly: length {lengths:?}, coding {codings:?}")),
    }
}
