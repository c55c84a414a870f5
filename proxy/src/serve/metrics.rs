//! What is counted, under names that dashboards rely on. Labels are the configuration's names and fixed words, never
//! what a client sent.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use http::StatusCode;
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use rustc_hash::FxHashMap;
use tracing::debug;

use super::{
    Control, Exchange,
    counts::{self, Count},
    log::{LostLines, chain},
    process,
};

pub(super) const KEY_FETCHES: &str = "ownergate_key_fetches_total";
pub(super) const KEYS_FETCHED: &str = "ownergate_keys_fetched_timestamp_seconds";
pub(super) const RELOADS: &str = "ownergate_reloads_total";
pub(super) const LAST_RELOAD_GOOD: &str = "ownergate_last_reload_successful";
pub(super) const TRACES: &str = "ownergate_traces_total";
const IN_FORCE: &str = "ownergate_configuration_timestamp_seconds";
const KEYS: &str = "ownergate_keys";
const REQUESTS: &str = "ownergate_requests_total";
const SHADOWED: &str = "ownergate_shadowed_total";
const DURATION: &str = "ownergate_request_duration_seconds";
const UPSTREAM_DURATION: &str = "ownergate_upstream_duration_seconds";
const CONNECTIONS: &str = "ownergate_connections";
const CONNECTIONS_TOTAL: &str = "ownergate_connections_total";
const UPSTREAM_REQUESTS: &str = "ownergate_upstream_requests";
const UPSTREAM_CONNECTIONS: &str = "ownergate_upstream_connections_total";
const TOKENS: &str = "ownergate_tokens_total";
const TOKENS_HELD: &str = "ownergate_tokens_held";
const VERIFICATIONS: &str = "ownergate_verifications_total";
const LOST_LINES: &str = "ownergate_log_lines_lost_total";
const CERTIFICATE: &str = "ownergate_certificate_expiry_timestamp_seconds";
const BUILD: &str = "ownergate_build_info";

/// What workers count by themselves: the metric and its outcome.
const COUNTED: [(Count, &str, &str); 10] = [
    (Count::ConnectionAccepted, CONNECTIONS_TOTAL, "accepted"),
    (Count::ConnectionRefused, CONNECTIONS_TOTAL, "refused"),
    (Count::UpstreamConnected, UPSTREAM_CONNECTIONS, "connected"),
    (Count::UpstreamUnreached, UPSTREAM_CONNECTIONS, "failed"),
    (Count::TokenKnown, TOKENS, "known"),
    (Count::TokenUnknown, TOKENS, "unknown"),
    (Count::VerifiedAtOnce, VERIFICATIONS, "at_once"),
    (Count::VerificationQueued, VERIFICATIONS, "queued"),
    (Count::VerificationRefused, VERIFICATIONS, "refused"),
    (Count::ExchangeUnrecorded, TRACES, "dropped"),
];

/// Seconds: from an upstream on the same machine to one that is about to time out.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Everything counted so far.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// What is looked at from time to time.
pub struct Sight<'a> {
    /// The running proxy.
    pub control: &'a Control,
    /// The log's losses.
    pub lost: &'a LostLines,
}

impl Metrics {
    /// Starts counting, for the whole process.
    ///
    /// # Errors
    /// When the process counts already.
    pub fn start() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
        process::describe();
        describe();
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        in_force();
        Ok(Self(handle))
    }

    /// The Prometheus text.
    pub fn render(&self) -> String {
        if let Err(fault) = process::look() {
            debug!(error = chain(&fault), "nothing is known of the process");
        }
        self.0.render()
    }

    /// Sums up what histograms gathered. To be called every few seconds, or they grow with the traffic.
    pub fn sum_up(&self) {
        self.0.run_upkeep();
    }

    /// Takes over what is counted elsewhere, and looks at what can only be looked at.
    pub fn look(&self, sight: &Sight<'_>) {
        for (count, name, outcome) in COUNTED {
            counter!(name, "outcome" => outcome).absolute(counts::sum(count));
        }
        counter!(LOST_LINES).absolute(sight.lost.count());
        gauge!(TOKENS_HELD).set(counts::sum(Count::TokensHeld) as f64);
        gauge!(CONNECTIONS).set(sight.control.connections() as f64);
        let state = sight.control.state();
        for issuer in state.keys.report() {
            gauge!(KEYS, "issuer" => issuer.issuer.to_string()).set(issuer.keys as f64);
        }
        for (upstream, requests) in state.in_flight() {
            gauge!(UPSTREAM_REQUESTS, "upstream" => upstream.to_owned()).set(requests as f64);
        }
        if let Some(expiry) = state.certificate_expiry {
            gauge!(CERTIFICATE).set(expiry.as_secs_f64());
        }
    }
}

fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by route, refusal code and class of status");
    describe_counter!(SHADOWED, "Requests that a route with enforce = false would have refused, by route and code");
    describe_histogram!(DURATION, Unit::Seconds, "From a request's head to the end of its answer, by route");
    describe_histogram!(UPSTREAM_DURATION, Unit::Seconds, "From asking an upstream to its answer's head");
    describe_gauge!(CONNECTIONS, "Client connections that are open");
    describe_counter!(CONNECTIONS_TOTAL, "Client connections, by outcome: accepted, or refused as one too many");
    describe_gauge!(UPSTREAM_REQUESTS, "Requests in flight to an upstream that has a cap, by upstream");
    describe_counter!(UPSTREAM_CONNECTIONS, "Connections made to upstreams, by outcome: connected or failed");
    describe_counter!(TOKENS, "Tokens looked up, by outcome: known, or unknown and so to be verified");
    describe_gauge!(TOKENS_HELD, "Verified tokens that are remembered");
    describe_counter!(
        VERIFICATIONS,
        "Tokens to be verified, by what they found: at_once (nobody before them), queued (others), or refused as overload (a full line)"
    );
    describe_counter!(KEY_FETCHES, "Key sets read, by issuer and outcome");
    describe_gauge!(KEYS, "Keys held, by issuer");
    describe_gauge!(KEYS_FETCHED, "When a key set was last read with success, by issuer, in Unix time");
    describe_counter!(RELOADS, "Reloads of the configuration, by outcome");
    describe_gauge!(LAST_RELOAD_GOOD, "1 unless the last reload was refused");
    describe_gauge!(IN_FORCE, "When the configuration in force was loaded, in Unix time");
    describe_counter!(LOST_LINES, "Lines of the log that came faster than its reader took them");
    describe_counter!(
        TRACES,
        "Exchanges recorded for the collector, by outcome: exported, failed, or dropped as too many"
    );
    describe_gauge!(CERTIFICATE, "When the certificate shown to clients ends, in Unix time");
    describe_gauge!(BUILD, "1, with the version");
}

/// Tells that a configuration has just come into force.
pub(super) fn in_force() {
    gauge!(LAST_RELOAD_GOOD).set(1.0);
    gauge!(IN_FORCE).set(unix_time());
}

/// Seconds since the Unix epoch.
pub(super) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What a worker counts by, so that counting takes no lock and no allocation once a route has been seen.
#[derive(Default)]
struct Meters {
    /// By the route's pattern; the empty one is for requests that belong to none.
    routes: FxHashMap<Box<str>, RouteMeters>,
    /// By the upstream's name.
    upstreams: FxHashMap<Box<str>, Histogram>,
}

struct RouteMeters {
    duration: Histogram,
    /// By refusal code and class of status.
    requests: FxHashMap<(&'static str, &'static str), Counter>,
}

thread_local! {
    static METERS: RefCell<Meters> = RefCell::default();
}

/// Counts one exchange.
pub(super) fn count(exchange: &Exchange<'_>) {
    METERS.with_borrow_mut(|meters| meters.count(exchange));
}

impl Meters {
    fn count(&mut self, exchange: &Exchange<'_>) {
        let route = exchange.route.map_or("", |route| route.pattern.as_str());
        match self.routes.get_mut(route) {
            Some(meters) => meters.count(route, exchange),
            None => self.routes.entry(route.into()).or_insert_with(|| RouteMeters::of(route)).count(route, exchange),
        }
        let (Some(upstream), Some(time)) = (exchange.upstream, exchange.upstream_time) else { return };
        match self.upstreams.get(upstream) {
            Some(duration) => duration.record(time),
            None => self.upstreams.entry(upstream.into()).or_insert_with(|| upstream_duration(upstream)).record(time),
        }
    }
}

impl RouteMeters {
    fn of(route: &str) -> Self {
        Self { duration: histogram!(DURATION, "route" => route.to_owned()), requests: FxHashMap::default() }
    }

    fn count(&mut self, route: &str, exchange: &Exchange<'_>) {
        let code = exchange.denial.map_or("", |denial| denial.code.as_str());
        let class = class_of(exchange.status);
        let requests = self
            .requests
            .entry((code, class))
            .or_insert_with(|| counter!(REQUESTS, "route" => route.to_owned(), "code" => code, "status" => class));
        requests.increment(1);
        if let Some(denial) = exchange.shadowed {
            // Looked up by name each time: a route that only watches does so for a while.
            counter!(SHADOWED, "route" => route.to_owned(), "code" => denial.code.as_str()).increment(1);
        }
        self.duration.record(exchange.duration);
    }
}

fn upstream_duration(upstream: &str) -> Histogram {
    histogram!(UPSTREAM_DURATION, "upstream" => upstream.to_owned())
}

/// The status's first digit, as dashboards group it: an upstream may answer any of hundreds.
fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
