//! Route patterns such as `/api/{user_id}/**`, parsed once.

use super::path::is_plain_segment;

/// A pattern of whole segments: literals, `{captures}`, and at most one `**` at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
}

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// Matches its own plain spelling.
    Literal(Box<str>),
    /// Matches any one segment that is not empty.
    Capture(Box<str>),
    /// `**`: matches zero or more segments, a trailing slash included.
    Rest,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// Patterns are absolute, like the paths they match.
    #[error("must begin with \"/\"")]
    NotAbsolute,
    /// No path with an empty segment is ever accepted.
    #[error("has an empty segment")]
    EmptySegment,
    /// Nothing could follow what matches everything.
    #[error("has \"**\" before its end")]
    RestNotLast,
    /// A capture is a whole segment with a name of letters, digits and `_`.
    #[error("has a bad capture {0:?}; a capture is a whole segment such as {{user_id}}")]
    BadCapture(Box<str>),
    /// The two could differ.
    #[error("has the capture {0:?} twice")]
    RepeatedCapture(Box<str>),
    /// No accepted path has this segment in its plain spelling.
    #[error("has the segment {0:?}, which no accepted path can have; write it in letters, digits and -._~!$&'()*+,=:@")]
    BadLiteral(Box<str>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The first rule that the text breaks, from left to right.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        let body = text.strip_prefix('/').ok_or(PatternFault::NotAbsolute)?;
        let mut segments = Vec::new();
        let mut parts = body.split('/').peekable();
        while let Some(part) = parts.next() {
            let segment = Segment::parse(part, parts.peek().is_none())?;
            if let Segment::Capture(name) = &segment
                && segments.contains(&segment)
            {
                return Err(PatternFault::RepeatedCapture(name.clone()));
            }
            segments.push(segment);
        }
        Ok(Self { text: text.into(), segments: segments.into() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has a capture of this name.
    pub fn has_capture(&self, name: &str) -> bool {
        self.place_of(name).is_some()
    }

    /// The segment, from 0, at which a capture stands.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| matches!(segment, Segment::Capture(capture) if **capture == *name))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl Segment {
    fn parse(part: &str, last: bool) -> Result<Self, PatternFault> {
        if part == "**" {
            return if last { Ok(Self::Rest) } else { Err(PatternFault::RestNotLast) };
        }
        if part.is_empty() && !last {
            return Err(PatternFault::EmptySegment);
        }
        if part.contains(['{', '}']) {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            return match name {
                Some(name) if is_capture_name(name) => Ok(Self::Capture(name.into())),
                _ => Err(PatternFault::BadCapture(part.into())),
            };
        }
        // `*` alone is a glob elsewhere; as a literal it would surprise.
        if part == "*" || !is_plain_segment(part) {
            return Err(PatternFault::BadLiteral(part.into()));
        }
        Ok(Self::Literal(part.into()))
    }
}

fn is_capture_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{PatternFault::*, *};

    #[test]
    fn a_pattern_is_literals_captures_and_a_final_rest() {
        let pattern = Pattern::parse("/api/{user_id}/**").unwrap();
        assert_eq!(
            pattern.segments(),
            [Segment::Literal("api".into()), Segment::Capture("user_id".into()), Segment::Rest]
        );
        assert_eq!(pattern.place_of("user_id"), Some(1));
        assert!(!pattern.has_capture("api"));
    }

    #[test]
    fn a_text_that_is_no_pattern_says_why() {
        for (text, fault) in [
            ("api", NotAbsolute),
            ("", NotAbsolute),
            ("/a//b", EmptySegment),
            ("/**/a", RestNotLast),
            ("/a/{}", BadCapture("{}".into())),
            ("/a/x{y}", BadCapture("x{y}".into())),
            ("/a/{b", BadCapture("{b".into())),
            ("/a/{b-c}", BadCapture("{b-c}".into())),
            ("/{a}/{a}", RepeatedCapture("a".into())),
            ("/a/*", BadLiteral("*".into())),
            ("/a/%61", BadLiteral("%61".into())),
            ("/a/..", BadLiteral("..".into())),
            ("/a/b;c", BadLiteral("b;c".into())),
            ("/a/é", BadLiteral("é".into())),
        ] {
            assert_eq!(Pattern::parse(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn the_root_and_a_trailing_slash_are_patterns() {
        for text in ["/", "/a/", "/**"] {
            assert!(Pattern::parse(text).is_ok(), "{text}");
        }
    }
}
