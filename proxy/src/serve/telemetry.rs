//! Who sees every exchange: the log, the metrics and, where they are configured, the traces.

use super::{Exchange, Observer, log, metrics, trace::Spans};

/// Logs, counts and records.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// The way to the collector of traces, if there is one.
    pub spans: Option<Spans>,
}

impl Observer for Telemetry {
    fn exchange(&self, exchange: &Exchange<'_>) {
        log::exchange(exchange);
        metrics::count(exchange);
        if let Some(spans) = &self.spans {
            spans.tell(exchange);
        }
    }
}
