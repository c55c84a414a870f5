//! What is wrong with a configuration, and where.

use std::{fmt, path::Path, sync::Arc};

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere yet: the command line is where it is missing.
    CommandLine,
    /// A flag, such as `--listen`.
    Flag(&'static str),
    /// An environment variable.
    Variable(Box<str>),
    /// A configuration file.
    File {
        /// The file as it was named.
        path: Arc<Path>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
        }
    }
}

/// One thing that is wrong: its place, what was found there, what was wanted, and what to do if that is not plain.
///
/// No fault holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}found {found}, wanted {wanted}{}", subject(.place, .key), suffix(.advice.as_deref()))]
pub struct Fault {
    /// Where it was given.
    pub place: Place,
    /// The path of the key, such as `route[0].path`; empty for a whole file.
    pub key: Box<str>,
    /// What stands there.
    pub found: Box<str>,
    /// What may stand there.
    pub wanted: Box<str>,
    /// What to do about it.
    pub advice: Option<Box<str>>,
}

/// Something that works and is unwise, or was given and has no effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where it was given.
    pub place: Place,
    /// The path of the key.
    pub key: Box<str>,
    /// What is unwise about it, and what to do.
    pub message: Box<str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", subject(&self.place, &self.key), self.message)
    }
}

impl Fault {
    pub(super) fn new(
        place: Place,
        key: impl Into<Box<str>>,
        found: impl Into<Box<str>>,
        wanted: impl Into<Box<str>>,
    ) -> Self {
        Self { place, key: key.into(), found: found.into(), wanted: wanted.into(), advice: None }
    }

    /// Adds what to do about it.
    pub(super) fn advise(mut self, advice: impl Into<Box<str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// A flag or variable is its own key.
fn subject(place: &Place, key: &str) -> String {
    match place {
        Place::File { .. } | Place::CommandLine if !key.is_empty() => format!("{place}: {key}: "),
        Place::File { .. } | Place::CommandLine | Place::Flag(_) | Place::Variable(_) => format!("{place}: "),
    }
}

fn suffix(advice: Option<&str>) -> String {
    advice.map(|advice| format!("; {advice}")).unwrap_or_default()
}

/// A value as a fault shows it: quoted, and cut where it is long.
pub(super) fn quoted(value: &str) -> String {
    const LONGEST: usize = 120;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?} and so on", &value[..end]),
        None => format!("{value:?}"),
    }
}
