//! Who sees every exchange: the log and the metrics.

use super::{Exchange, Observer, log, metrics};

/// Logs and counts.
#[derive(Clone, Copy, Debug)]
pub struct Telemetry;

impl Observer for Telemetry {
    fn exchange(&self, exchange: &Exchange<'_>) {
        log::exchange(exchange);
        metrics::count(exchange);
    }
}
