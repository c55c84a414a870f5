//! What operators read: text for people, JSON for machines. One event an exchange, and never a token, a secret or a
//! cookie: an event holds names of the configuration, the path without its query, and what the decision says of itself.
//! Text that a client chose is recorded as a string, which both formats quote and escape.

use std::{
    error::Error,
    fmt::Write,
    io::{self, IsTerminal},
    time::Duration,
};

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

use super::{Exchange, Threshold};
use crate::config::{Log, LogFormat};

/// Lines that may wait for a slow reader; those past it are lost. Room for them all is taken at the start.
const BUFFERED_LINES: usize = 8192;

/// The log of a running process. What is still waiting is written when it is dropped.
pub struct Logger {
    /// Which events it has.
    pub threshold: Threshold,
    /// How many lines it has lost.
    pub lost: LostLines,
    _writer: WorkerGuard,
}

/// Counts the lines that came faster than the log's reader took them.
#[derive(Clone, Debug)]
pub struct LostLines(ErrorCounter);

impl LostLines {
    /// Since the start.
    pub fn count(&self) -> u64 {
        self.0.dropped_lines() as u64
    }
}

/// Sends the log to standard error from a thread of its own, so that a slow reader of it holds up no exchange.
pub fn start(log: Log) -> Logger {
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(BUFFERED_LINES).finish(io::stderr());
    let lost = LostLines(writer.error_counter());
    let threshold = Threshold::new(log.level);
    let layer = fmt::layer().with_writer(writer).with_target(false);
    let filtered = registry().with(threshold.clone());
    match log.format {
        LogFormat::Text => filtered.with(layer.with_ansi(io::stderr().is_terminal())).init(),
        LogFormat::Json => filtered.with(layer.json().flatten_event(true)).init(),
    }
    Logger { threshold, lost, _writer: guard }
}

/// A macro because a tracing event's level is part of its static description.
macro_rules! event {
    ($level:expr, $exchange:expr) => {{
        let exchange: &Exchange<'_> = $exchange;
        let denial = exchange.denial.or(exchange.shadowed);
        tracing::event!(
            $level,
            request_id = exchange.request_id,
            trace_id = exchange.trace.map(|trace| tracing::field::display(trace.id())),
            client = exchange.client.map(tracing::field::display),
            method = exchange.method.as_str(),
            path = exchange.path,
            protocol = tracing::field::debug(exchange.version),
            route = exchange.route.map(|route| route.pattern.as_str()),
            decision = decision(exchange),
            code = denial.map(|denial| denial.code.as_str()),
            reason = denial.and_then(|denial| denial.reason.as_deref()),
            user_id = exchange.identity.map(|identity| identity.user().as_str()),
            status = exchange.status.as_u16(),
            upstream = exchange.upstream,
            upstream_ms = exchange.upstream_time.map(millis),
            duration_ms = millis(exchange.duration),
            request_bytes = exchange.request_bytes,
            response_bytes = exchange.response_bytes,
            complete = exchange.complete,
            "exchange"
        );
    }};
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

/// Tells of one exchange.
pub(super) fn exchange(exchange: &Exchange<'_>) {
    // The upstream's faults and the issuer's are the operator's business; what clients do wrong is theirs.
    if exchange.denial.is_some_and(|denial| denial.code.status().is_server_error()) {
        event!(Level::WARN, exchange);
    } else {
        event!(Level::INFO, exchange);
    }
}

/// What the gate said, whatever became of it then.
fn decision(exchange: &Exchange<'_>) -> &'static str {
    match (exchange.upstream, exchange.denial, exchange.shadowed) {
        (_, _, Some(_)) => "shadow",
        (Some(_), _, None) => "forward",
        (None, Some(_), None) => "refuse",
        (None, None, None) => "answer",
    }
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
