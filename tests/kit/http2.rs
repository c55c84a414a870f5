//! HTTP/2 as frames (RFC 9113): exact bytes out, frames in, for either side of a connection.

use std::collections::HashMap;

use loona_hpack::Decoder;

use crate::PATIENCE;
use crate::answer::Answer;
use crate::message::{Body, Broken, Conversation, Head};
use crate::socket::{Address, Socket};

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 §6).
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags.
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod flag {
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Of [`flag`].
    pub flags: u8,
    /// The stream; 0 for the connection.
    pub stream: u32,
    /// What follows the frame's head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of any content.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Self {
        Self { kind, flags, stream, payload: payload.as_ref().to_vec() }
    }

    /// A whole header block, as the last frame of its stream or not.
    pub fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Self {
        let end = if end { flag::END_STREAM } else { 0 };
        Self::new(kind::HEADERS, flag::END_HEADERS | end, stream, block(fields))
    }

    /// A header block that may be too large for one frame, with a frame for every 16 KiB (RFC 9113 §6.10).
    pub fn large_headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<Self> {
        let block = block(fields);
        let pieces = block.chunks(16_384).enumerate();
        let mut frames: Vec<_> = pieces
            .map(|(number, piece)| match number {
                0 => Self::new(kind::HEADERS, if end { flag::END_STREAM } else { 0 }, stream, piece),
                _ => Self::new(kind::CONTINUATION, 0, stream, piece),
            })
            .collect();
        if let Some(last) = frames.last_mut() {
            last.flags |= flag::END_HEADERS;
        }
        frames
    }

    /// Content, as the last frame of its stream or not.
    pub fn data(stream: u32, content: impl AsRef<[u8]>, end: bool) -> Self {
        Self::new(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, content)
    }

    /// The end of a stream for this reason.
    pub fn reset(stream: u32, reason: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, reason.to_be_bytes())
    }

    /// The end of a connection: streams above `last` were not looked at.
    pub fn go_away(last: u32, reason: u32) -> Self {
        Self::new(kind::GOAWAY, 0, 0, [last.to_be_bytes(), reason.to_be_bytes()].concat())
    }

    /// Room for so many bytes.
    pub fn window(stream: u32, bytes: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
    }

    /// Settings by their numbers.
    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let entry = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        Self::new(kind::SETTINGS, 0, 0, settings.iter().map(entry).collect::<Vec<_>>().concat())
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame's length has 24 bits").to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }

    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }
}

/// A header block: every field literal, unindexed and uncompressed, whatever is in it (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            write_length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn write_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// What has come on one stream.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The fields of the first header block, pseudo-fields too.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The content.
    pub content: Vec<u8>,
    /// The fields of the last header block, if that is another.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Whether the peer has ended the stream in order.
    pub ended: bool,
    /// Why the peer has reset the stream.
    pub reset: Option<u32>,
}

impl Message {
    /// The values of every field of this name, in order.
    pub fn values(&self, name: &str) -> Vec<String> {
        let values = self.fields.iter().filter(|(spelt, _)| spelt == name);
        values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The value of a trailer.
    pub fn trailer(&self, name: &str) -> Option<String> {
        let found = self.trailers.iter().find(|(spelt, _)| spelt == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// As an answer.
    #[track_caller]
    pub fn answer(self) -> Answer {
        let status = self.values(":status").pop().and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {self:?}"));
        let fields = self.fields.into_iter().filter(|(name, _)| !name.starts_with(':')).collect();
        let head = Head { start_line: format!("HTTP/2 {status}"), fields, raw: Vec::new() };
        Answer { status, head, body: Body { content: self.content, trailers: self.trailers } }
    }
}

/// One side of an HTTP/2 connection. It acknowledges settings and pings, and makes room for what it reads.
pub struct Frames {
    conversation: Conversation,
    decoder: Decoder<'static>,
    streams: HashMap<u32, Message>,
    /// The peer's GOAWAY: the last stream, and the reason.
    pub go_away: Option<(u32, u32)>,
    next: u32,
}

impl Frames {
    /// A client with no particular settings.
    #[track_caller]
    pub fn to(address: &Address) -> Self {
        Self::with_settings(address, &[])
    }

    /// A client with these settings.
    #[track_caller]
    pub fn with_settings(address: &Address, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self::silent(address);
        frames.send_bytes(PREFACE);
        frames.send(&Frame::settings(settings));
        frames
    }

    /// A client that has not said a word.
    #[track_caller]
    pub fn silent(address: &Address) -> Self {
        let socket = Socket::connect(address).unwrap_or_else(|fault| panic!("cannot connect to {address}: {fault}"));
        Self::over(Conversation::over(socket))
    }

    /// The server of a connection whose client begins as it must; `None` where it says nothing.
    pub fn serving(mut conversation: Conversation, settings: &[(u16, u32)]) -> Option<Self> {
        let preface = conversation.take(PREFACE.len()).ok()?;
        assert_eq!(preface, PREFACE, "no preface: {}", preface.escape_ascii());
        let mut frames = Self::over(conversation);
        frames.send(&Frame::settings(settings));
        Some(frames)
    }

    fn over(conversation: Conversation) -> Self {
        let (decoder, streams) = (Decoder::new(), HashMap::new());
        Self { conversation, decoder, streams, go_away: None, next: 1 }
    }

    /// The connection below.
    pub fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// Sends these bytes and no others, and tells whether the connection took them.
    pub fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.conversation.send(bytes.as_ref()).is_ok()
    }

    /// Sends a frame, and tells whether the connection took it.
    pub fn send(&mut self, frame: &Frame) -> bool {
        self.send_bytes(frame.bytes())
    }

    /// The number of the client's next stream.
    pub fn open(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Opens a stream with a header block that ends it or not.
    pub fn ask(&mut self, fields: &[(&str, &str)], end: bool) -> u32 {
        let stream = self.open();
        for frame in Frame::large_headers(stream, fields, end) {
            self.send(&frame);
        }
        stream
    }

    /// Reads until the stream has ended, in order or not.
    #[track_caller]
    pub fn message(&mut self, stream: u32) -> Message {
        self.until(stream, |message| message.ended || message.reset.is_some());
        self.streams.remove(&stream).unwrap_or_default()
    }

    /// Reads until the stream is so far, and shows it.
    #[track_caller]
    pub fn until(&mut self, stream: u32, is_enough: impl Fn(&Message) -> bool) -> &Message {
        while !self.streams.get(&stream).is_some_and(&is_enough) {
            match self.frame() {
                Ok(Some(_)) => {}
                other => panic!("{other:?} instead of more of stream {stream}: {:?} {:?}", self.streams, self.go_away),
            }
        }
        &self.streams[&stream]
    }

    /// What has come on a stream so far.
    pub fn so_far(&self, stream: u32) -> Message {
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    /// A peer that begins a stream: its number, once its first header block is whole.
    pub fn accept(&mut self) -> Option<u32> {
        loop {
            let frame = self.frame().ok()??;
            if matches!(frame.kind, kind::HEADERS | kind::CONTINUATION) && frame.is(flag::END_HEADERS) {
                return Some(frame.stream);
            }
        }
    }

    /// Reads until the connection ends; whether it has in the kit's time.
    pub fn is_ended(&mut self) -> bool {
        loop {
            match self.frame() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(Broken::Cut(fault)) => return fault.kind() != std::io::ErrorKind::WouldBlock,
                Err(Broken::Grammar(fault)) => panic!("{fault}"),
            }
        }
    }

    /// The next frame, taken note of; `None` at the end of the connection.
    pub fn frame(&mut self) -> Result<Option<Frame>, Broken> {
        if self.conversation.at_end() {
            return Ok(None);
        }
        let head = self.conversation.take(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload: self.conversation.take(length)? };
        self.note(&frame)?;
        Ok(Some(frame))
    }

    fn note(&mut self, frame: &Frame) -> Result<(), Broken> {
        let message = self.streams.entry(frame.stream).or_default();
        message.ended |= matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.is(flag::END_STREAM);
        match frame.kind {
            kind::HEADERS | kind::CONTINUATION => {
                let fields = self.decoder.decode(&frame.payload);
                let fields = fields.map_err(|fault| Broken::Grammar(format!("no header block: {fault:?}")))?;
                let fields = fields.into_iter().map(|(name, value)| (String::from_utf8_lossy(&name).into(), value));
                let interim = message.fields.first().is_some_and(|(_, status)| status.starts_with(b"1"));
                let known =
                    if message.fields.is_empty() || interim { &mut message.fields } else { &mut message.trailers };
                *known = fields.collect();
            }
            kind::DATA => {
                message.content.extend_from_slice(&frame.payload);
                let bytes = frame.payload.len() as u32;
                for stream in [0, frame.stream] {
                    if bytes > 0 {
                        self.send(&Frame::window(stream, bytes));
                    }
                }
            }
            kind::RST_STREAM => message.reset = Some(frame.word(0)),
            kind::SETTINGS | kind::PING if !frame.is(flag::ACK) => {
                let content = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
                self.send(&Frame::new(frame.kind, flag::ACK, 0, content));
            }
            kind::GOAWAY => self.go_away = Some((frame.word(0), frame.word(4))),
            _ => {}
        }
        Ok(())
    }

    /// Waits at most so long for each later read, instead of [`PATIENCE`].
    pub fn set_patience(&mut self, limit: std::time::Duration) {
        let limit = limit.min(PATIENCE);
        self.conversation.socket().set_patience(limit).expect("a connected socket takes a time limit");
    }
}

/// The name of an error code (RFC 9113 §7).
pub fn reason(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("an unknown code")
}
