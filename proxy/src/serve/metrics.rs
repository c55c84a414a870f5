//! What is counted, under names that dashboards rely on. Labels are the configuration's names and fixed words, never
//! what a client sent.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Requests answered, by route and code.
pub const REQUESTS: &str = "ownergate_requests_total";
/// Seconds from a request's head to the end of its response, by route.
pub const DURATION: &str = "ownergate_request_duration_seconds";
/// Seconds from sending a request to the upstream's response head, by upstream.
pub const UPSTREAM_DURATION: &str = "ownergate_upstream_duration_seconds";
/// Client connections open now.
pub const CONNECTIONS: &str = "ownergate_connections";
/// Tokens found verified, or not, by result.
pub const VERIFIED: &str = "ownergate_verified_tokens_total";
/// Key sets fetched, by issuer and outcome.
pub const KEY_FETCHES: &str = "ownergate_key_fetches_total";
/// Keys held, by issuer.
pub const KEYS: &str = "ownergate_keys";
/// Reloads, by outcome.
pub const RELOADS: &str = "ownergate_reloads_total";

/// Seconds: from an upstream on the same machine to one that is about to time out.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Everything counted so far.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts counting, for the whole process.
    ///
    /// # Errors
    /// When the process counts already.
    pub fn start() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
        describe_counter!(REQUESTS, "Requests answered, by route and refusal code");
        describe_histogram!(DURATION, Unit::Seconds, "From a request's head to the end of its response");
        describe_histogram!(UPSTREAM_DURATION, Unit::Seconds, "From sending a request to the upstream's response head");
        describe_gauge!(CONNECTIONS, "Client connections open now");
        describe_counter!(VERIFIED, "Tokens looked up among the verified ones, by result");
        describe_counter!(KEY_FETCHES, "Key sets fetched, by issuer and outcome");
        describe_gauge!(KEYS, "Keys held, by issuer");
        describe_counter!(RELOADS, "Reloads of the configuration, by outcome");
        Ok(Self(handle))
    }

    /// The Prometheus text.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Sums up what histograms gathered. To be called every few seconds, or they grow with the traffic.
    pub fn sum_up(&self) {
        self.0.run_upkeep();
    }
}
