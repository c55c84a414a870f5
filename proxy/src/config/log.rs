//! How the log is written.

use std::{fmt, str::FromStr};

use super::{dump::Dump, section::Section};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least severe events that are written.
    pub level: LogLevel,
}

/// For whom the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// One event per exchange, and what changes.
    #[default]
    Info,
    /// Details for finding faults.
    Debug,
    /// Everything.
    Trace,
}

/// A name that is none of those known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no known name")]
pub struct UnknownName;

impl Log {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let format = section.parsed("format", |text| text.parse("text or json"));
        let level = section.parsed("level", |text| text.parse("error, warn, info, debug or trace"));
        Self { format: format.unwrap_or_default(), level: level.unwrap_or_default() }
    }

    pub(super) fn write(self, dump: &mut Dump<'_>) {
        dump.table("[log]");
        dump.entry("format", self.format.as_str());
        dump.entry("level", self.level.as_str());
    }
}

impl LogFormat {
    const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The name in flags, variables and the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or(UnknownName)
    }
}

impl LogLevel {
    /// Every level, the most severe first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name in flags, variables and the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|level| level.as_str() == name).ok_or(UnknownName)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
