//! What is counted, in OpenMetrics.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The counters of one service; clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Family<Route, Histogram>,
}

/// Labels never hold anything that a client chose: their number is bounded.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    route: String,
    status: u16,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("task_service");
        let requests = Family::default();
        let seconds = Family::new_with_constructor(durations as fn() -> Histogram);
        registry.register("requests", "Requests answered", requests.clone());
        registry.register("request_duration_seconds", "From the head to the answer", seconds.clone());
        Self(Arc::new(Inner { registry, requests, seconds }))
    }
}

impl Metrics {
    /// Counts one exchange; `route` is the pattern that matched.
    pub(crate) fn exchange(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let (method, route) = (known(method), route.unwrap_or("none").to_owned());
        self.0.seconds.get_or_create(&Route { method, route: route.clone() }).observe(took.as_secs_f64());
        self.0.requests.get_or_create(&Outcome { method, route, status: status.as_u16() }).inc();
    }

    /// The text that a scraper reads.
    pub(crate) fn exposition(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}

/// From a read out of the cache to a write that waited for a lock, in seconds.
fn durations() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5])
}

/// A client may make methods up, a label may not.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
