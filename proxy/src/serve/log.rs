//! What operators read: text for people, JSON for machines.

use std::{error::Error, fmt::Write, io};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::fmt;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Sends the log to standard error from a thread of its own, so that a slow reader of it holds up no exchange. What
/// is still waiting is written when the guard is dropped.
pub fn start(format: Format, level: LevelFilter) -> WorkerGuard {
    let (writer, guard) = NonBlocking::new(io::stderr());
    let builder = fmt().with_max_level(level).with_writer(writer).with_target(false);
    match format {
        Format::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
    guard
}

/// An error and its causes in one line.
pub fn chain(fault: &dyn Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(fault) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {fault}");
        cause = fault.source();
    }
    text
}
