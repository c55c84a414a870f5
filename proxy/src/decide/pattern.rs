//! Route patterns such as `/api/{user_id}/**`, parsed once.

/// A pattern of whole segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        Ok(Self { text: text.into() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has a capture of this name.
    pub fn has_capture(&self, _name: &str) -> bool {
        false
    }
}
