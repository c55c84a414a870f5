//! Text of strangers in the log's sentences.

use std::fmt;

/// A text that nobody vouches for, quoted and escaped so that it cannot break out of the log's line, and cut short.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

/// How many characters are shown.
const SHOWN: usize = 64;

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{:?}…", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_115_strange_text_stays_in_its_quotes_and_is_cut_short() {
        assert_eq!(Excerpt("a\r\n\"b\u{1b}[31m\u{202e}").to_string(), r#""a\r\n\"b\u{1b}[31m\u{202e}""#);
        assert_eq!(Excerpt("").to_string(), "\"\"");
        assert_eq!(Excerpt(&"é".repeat(64)).to_string(), format!("\"{}\"", "é".repeat(64)));
        assert_eq!(Excerpt(&"é".repeat(65)).to_string(), format!("\"{}\"…", "é".repeat(64)));
    }
}
