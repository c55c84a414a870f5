//! A text and where it was given.

use super::{
    Place,
    fault::{Fault, quoted},
};

/// A text from a flag, a variable or the file, not yet understood.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    /// The path of its key.
    pub(super) key: String,
    pub(super) place: Place,
}

impl Text {
    /// A fault that shows the text.
    pub(super) fn fault(&self, wanted: impl Into<Box<str>>) -> Fault {
        self.fault_finding(quoted(&self.value), wanted)
    }

    /// A fault that tells of the text in other words, where it may hold what no log should.
    pub(super) fn fault_finding(&self, found: impl Into<Box<str>>, wanted: impl Into<Box<str>>) -> Fault {
        Fault::new(self.place.clone(), self.key.as_str(), found, wanted)
    }

    /// Reads it as a type that knows its own rules.
    pub(super) fn parse<T: std::str::FromStr>(&self, wanted: &str) -> Result<T, Fault> {
        self.value.parse().map_err(|_| self.fault(wanted))
    }

    /// Whatever is not empty.
    pub(super) fn not_empty(&self) -> Result<Box<str>, Fault> {
        if self.value.is_empty() { Err(self.fault("a text that is not empty")) } else { Ok(self.value.as_str().into()) }
    }
}
