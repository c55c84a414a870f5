//! The path of a request: one accepted spelling; every other is refused, never repaired.
//!
//! A backend may decode, merge, cut or resolve what it is given. A path that two backends could read as two different
//! places is refused, so that the bytes that were matched can be forwarded as they came.

use std::borrow::Cow;

/// An absolute path with one reading: whole segments of RFC 3986 §3.3 characters, none of which a lenient reader could
/// take for a separator, a parameter or a step up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPath<'a> {
    raw: &'a str,
}

/// Why a path has more than one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with `/`: `*`, a bare word, nothing.
    #[error("does not begin with a slash")]
    NotAbsolute,
    /// `//`: some merge, some do not.
    #[error("has an empty segment")]
    EmptySegment,
    /// `.` or `..` in any encoding, white space around it or not: some file systems drop that.
    #[error("has a dot segment")]
    DotSegment,
    /// A byte that RFC 3986 §3.3 gives no place in a path, or `;`, which begins a parameter to some readers.
    #[error("has a character that has no place in a path")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("has a bad percent escape")]
    BadEscape,
    /// What is left after decoding holds an escape again, as with `%25` before two hexadecimal digits: a second decoding would see another path.
    #[error("is doubly encoded")]
    DoubleEscape,
    /// An escape that decodes to `/`, `\`, `;` or a control character.
    #[error("has an escaped separator or control character")]
    EscapedSeparator,
    /// Escapes that decode to no UTF-8.
    #[error("decodes to invalid UTF-8")]
    NotUtf8,
}

impl<'a> RequestPath<'a> {
    /// Accepts a path as it is or not at all.
    ///
    /// # Errors
    /// The first [`PathFault`] met, from left to right.
    pub fn parse(raw: &'a str) -> Result<Self, PathFault> {
        let mut segments = Segments { rest: Some(raw.strip_prefix('/').ok_or(PathFault::NotAbsolute)?) };
        while let Some(segment) = segments.next() {
            // The last segment may be empty: that is a trailing slash.
            if segment.is_empty() && segments.rest.is_some() {
                return Err(PathFault::EmptySegment);
            }
            check_segment(segment)?;
        }
        Ok(Self { raw })
    }

    /// The path as it came and as it is forwarded.
    pub fn as_str(&self) -> &'a str {
        self.raw
    }

    /// The segments as they came; a trailing slash gives a last, empty one.
    pub fn segments(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        Segments { rest: self.raw.strip_prefix('/') }
    }

    /// The segment at a place, percent-decoded exactly once.
    pub fn decoded(&self, place: usize) -> Option<Cow<'a, str>> {
        self.segments().nth(place).map(decode)
    }
}

/// What stands between the slashes that are still to come. Segments are short: looking at each byte in turn costs less
/// than a search that is made for long texts.
#[derive(Clone)]
struct Segments<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let here = self.rest?;
        let (segment, rest) = match here.bytes().position(|byte| byte == b'/') {
            Some(slash) => (here.get(..slash)?, here.get(slash + 1..)),
            None => (here, None),
        };
        self.rest = rest;
        Some(segment)
    }
}

fn check_segment(segment: &str) -> Result<(), PathFault> {
    let mut escaped = false;
    for byte in segment.bytes() {
        if !PATH_BYTES[usize::from(byte)] {
            return Err(PathFault::Character);
        }
        escaped |= byte == b'%';
    }
    if !escaped {
        return if matches!(segment, "." | "..") { Err(PathFault::DotSegment) } else { Ok(()) };
    }
    let decoded = decode_bytes(segment.as_bytes())?;
    if holds_escape(&decoded) {
        return Err(PathFault::DoubleEscape);
    }
    let decoded = str::from_utf8(&decoded).map_err(|_| PathFault::NotUtf8)?;
    if decoded.chars().any(|character| matches!(character, '/' | '\\' | ';') || character.is_control()) {
        return Err(PathFault::EscapedSeparator);
    }
    if matches!(decoded.trim(), "." | "..") { Err(PathFault::DotSegment) } else { Ok(()) }
}

/// The one decoding. `segment` has passed [`RequestPath::parse`], so a fault cannot occur; if it did, the bytes as they
/// came would be compared, which can only refuse.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let decoded = decode_bytes(segment.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map_or(Cow::Borrowed(segment), Cow::Owned)
}

fn decode_bytes(segment: &[u8]) -> Result<Vec<u8>, PathFault> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (value, after) = escape(after).ok_or(PathFault::BadEscape)?;
        decoded.push(value);
        rest = after;
    }
    Ok(decoded)
}

/// Whether a second decoding would find something to decode, however the first escape was spelled.
fn holds_escape(decoded: &[u8]) -> bool {
    decoded.iter().enumerate().any(|(at, byte)| *byte == b'%' && decoded.get(at + 1..).and_then(escape).is_some())
}

/// The value of two hexadecimal digits at the front, and what follows them.
fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], after) = bytes.split_first_chunk()?;
    Some((hex(high)? << 4 | hex(low)?, after))
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `pchar` of RFC 3986 §3.3 without `;`.
const PATH_BYTES: [bool; 256] = {
    let mut allowed = [false; 256];
    let plain = b"-._~!$&'()*+,=:@%";
    let mut at = 0;
    while at < plain.len() {
        allowed[plain[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() {
            allowed[byte] = true;
        }
        byte += 1;
    }
    allowed
};

/// Whether a pattern's literal can stand in a path in its plain spelling.
pub(super) fn is_plain_segment(segment: &str) -> bool {
    !segment.contains('%') && check_segment(segment).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PathFault::*, *};

    #[test]
    fn every_spelling_with_a_second_reading_is_refused() {
        let table = [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("api/bob/x", NotAbsolute),
            ("//api/bob/x", EmptySegment),
            ("/api//bob/x", EmptySegment),
            ("/api/alice//", EmptySegment),
            ("/public/../api/bob/x", DotSegment),
            ("/api/alice/..", DotSegment),
            ("/api/./alice", DotSegment),
            ("/api/alice/%2e%2e/bob", DotSegment),
            ("/api/alice/%2E./bob", DotSegment),
            ("/api/alice/.%2e", DotSegment),
            ("/api/%2e/alice", DotSegment),
            ("/api/alice/..%20/bob", DotSegment),
            ("/api/alice/%20%2e./bob", DotSegment),
            ("/api/alice\\..\\bob", Character),
            ("/api/bob;x=1/y", Character),
            ("/api;/bob", Character),
            ("/api/alice/..;/bob", Character),
            ("/api/al ice", Character),
            ("/api/\u{e9}", Character),
            ("/api/alice/{x}", Character),
            ("/api/alice/x|y", Character),
            ("/api/alice/x#y", Character),
            ("/api/alice/\"", Character),
            ("/api/alice/[x]", Character),
            ("/api/alice%", BadEscape),
            ("/api/alice%2", BadEscape),
            ("/api/alice%zz", BadEscape),
            ("/api/alice%+1", BadEscape),
            ("/api/%u0061lice", BadEscape),
            ("/api/%2561lice/x", DoubleEscape),
            ("/api/alice%252f..%252fbob", DoubleEscape),
            ("/api/alice%25%32%66", DoubleEscape),
            ("/api/alice%2f..%2fbob/x", EscapedSeparator),
            ("/api/alice%5c..%5cbob", EscapedSeparator),
            ("/api/alice%3bx", EscapedSeparator),
            ("/api/alice%00", EscapedSeparator),
            ("/api/alice%0d%0aX", EscapedSeparator),
            ("/api/alice%7f", EscapedSeparator),
            ("/api/alice%c2%85", EscapedSeparator),
            ("/api/%C0%AEbob", NotUtf8),
            ("/api/%c0%ae%c0%ae/bob", NotUtf8),
            ("/api/%FF", NotUtf8),
            ("/api/%ed%a0%80", NotUtf8),
        ];
        for (path, fault) in table {
            assert_eq!(RequestPath::parse(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn ordinary_paths_are_accepted_as_they_are() {
        for path in [
            "/",
            "/api/alice",
            "/api/alice/",
            "/api/a.b/...",
            "/api/%61lice/x",
            "/api/%C3%BC-%C3%B1",
            "/api/al%40example.com",
            "/api/a%20b/c+d",
            "/api/100%25",
            "/api/100%25z/x",
            "/a:b@c/!$&'()*,=~_-",
            "/api/what%3f",
            "/api/c%23",
        ] {
            assert_eq!(RequestPath::parse(path).map(|parsed| parsed.as_str()), Ok(path));
        }
    }

    #[test]
    fn a_segment_is_decoded_exactly_once() {
        let path = RequestPath::parse("/api/%61%6c%C3%BC/100%25/").unwrap();
        assert_eq!(path.decoded(1).as_deref(), Some("alü"));
        assert_eq!(path.decoded(2).as_deref(), Some("100%"));
        assert_eq!(path.decoded(3).as_deref(), Some(""));
        assert_eq!(path.decoded(4), None);
    }

    /// What some real server does to a path: each step that is known to be done somewhere, all of them together.
    fn most_lenient_reading(path: &str) -> Vec<String> {
        let mut text = path.to_owned();
        for _ in 0..3 {
            let bytes = decode_leniently(text.as_bytes());
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        let text = text.replace('\\', "/");
        let mut segments: Vec<String> = Vec::new();
        for segment in text.split('/') {
            let segment = segment.split(';').next().unwrap_or_default().trim_end_matches('\0');
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                plain => segments.push(plain.to_owned()),
            }
        }
        segments
    }

    fn decode_leniently(bytes: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match (byte, escape(after)) {
                (b'%', Some((value, after))) => {
                    decoded.push(value);
                    rest = after;
                }
                _ => {
                    decoded.push(byte);
                    rest = after;
                }
            }
        }
        decoded
    }

    proptest! {
        #[test]
        fn any_text_is_accepted_or_refused_without_panic(text in any::<String>()) {
            let _ = RequestPath::parse(&text);
        }

        #[test]
        fn the_most_lenient_reader_sees_the_same_segments(
            path in "(/(\\.|%2e|%2f|%5c|%25|%3b|%00|;|\\\\|%c0%ae|[ab]|api|%61|//)){1,8}/?"
        ) {
            if let Ok(parsed) = RequestPath::parse(&path) {
                let ours: Vec<String> = (0..parsed.segments().count())
                    .filter_map(|place| parsed.decoded(place))
                    .map(Cow::into_owned)
                    .filter(|segment| !segment.is_empty())
                    .collect();
                prop_assert_eq!(most_lenient_reading(&path), ours);
            }
        }
    }
}
