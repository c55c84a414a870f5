//! `traceparent`: which trace, and which span of it, a request belongs to (W3C Trace Context §3.2).

use std::fmt;

use http::{HeaderMap, HeaderValue};

use super::TRACEPARENT;

/// The trace was recorded by whoever sent this.
const SAMPLED: u8 = 1;

/// The trace id is random: passed on with it (Level 2, §3.2.2.5.2).
const RANDOM: u8 = 2;

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A trace, a span of it, and what is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    trace: u128,
    span: u64,
    flags: u8,
}

impl Context {
    /// What a request says, if it says one valid thing.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next()?;
        if lines.next().is_some() { None } else { Self::parse(line.as_bytes()) }
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (known, rest) = line.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = fields(known)?;
        // A later version may say more after another dash.
        let whole = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|next| *next == b'-') };
        let valid = whole && version != 0xff && trace != 0 && span != 0;
        valid.then_some(Self {
            trace,
            span: u64::try_from(span).ok()?,
            flags: u8::try_from(flags).ok()? & (SAMPLED | RANDOM),
        })
    }

    /// A trace that nobody knows yet; its id is random.
    pub(super) fn begin(trace: u128, span: u64, sampled: bool) -> Self {
        Self { trace, span, flags: RANDOM | u8::from(sampled) }
    }

    /// Another span of the same trace.
    pub(super) fn child(self, span: u64, sampled: bool) -> Self {
        Self { span, flags: (self.flags & RANDOM) | u8::from(sampled), ..self }
    }

    pub(super) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(super) fn span(self) -> u64 {
        self.span
    }

    pub(super) fn flags(self) -> u8 {
        self.flags
    }

    pub(super) fn trace(self) -> u128 {
        self.trace
    }

    /// The trace's id in hexadecimal.
    pub(super) fn trace_id(self) -> TraceId {
        TraceId(self.trace)
    }
}

/// Version, trace, span and flags.
fn fields(line: &[u8]) -> Option<[u128; 4]> {
    let mut fields = [0; 4];
    let mut parts = line.split(|byte| *byte == b'-');
    for (field, length) in fields.iter_mut().zip([2, 32, 16, 2]) {
        let part = parts.next().filter(|part| part.len() == length)?;
        for digit in part {
            let value = DIGITS.iter().position(|known| known == digit)?;
            *field = (*field << 4) | value as u128;
        }
    }
    Some(fields)
}

/// A trace's id in hexadecimal.
#[derive(Clone, Copy)]
pub(super) struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<&Context> for HeaderValue {
    fn from(context: &Context) -> Self {
        let Context { trace, span, flags } = context;
        let line = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
        Self::try_from(line).unwrap_or(Self::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn one_valid_line_is_read_and_written_back() {
        let context = Context::parse(VALID.as_bytes()).unwrap();
        assert_eq!(HeaderValue::from(&context), VALID);
        assert!(context.is_sampled());
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for later in ["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &format!("01{}-more", &VALID[2..])] {
            assert!(Context::parse(later.as_bytes()).is_some(), "{later}");
        }
        let all_flags = Context::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff").unwrap();
        assert_eq!(all_flags.flags, 3, "flags that nobody has defined are not passed on");
    }

    #[test]
    fn anything_else_is_none() {
        for line in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            " 0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn two_lines_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert!(Context::read(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(Context::read(&headers), None);
    }
}
