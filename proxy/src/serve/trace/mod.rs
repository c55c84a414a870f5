//! Traces of exchanges: which trace an exchange belongs to, and what a collector is told of it.
//!
//! Where no collector is configured, nothing of this is on an exchange's way, and `traceparent` and `tracestate` go
//! through as other headers do. Where one is:
//!
//! 1. Anybody's valid `traceparent` is continued, so that a trace that a browser began is one; an invalid one begins a
//!    new trace. The upstream's parent is always the proxy's own span.
//! 2. Whether an exchange is recorded is a trusted proxy's word, or else chance. A stranger's `sampled` flag decides
//!    nothing, and neither does the trace id that they chose: otherwise they could have every exchange recorded.
//! 3. What is recorded waits in a queue with an end for a task of the control plane. A slow or dead collector costs
//!    the spans that do not fit, which are counted, and holds up no exchange.

mod context;
mod export;
mod span;

use std::time::Duration;

use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue};

use self::context::Context;
pub use self::{
    export::{Export, Exporter},
    span::Spans,
};
use crate::{
    config::{Endpoint, Ratio},
    decide::Client,
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// How many exchanges are recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler(Ratio);

/// The place of one exchange in a trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What the upstream is told: the trace, and the span of the proxy's own request to it.
    onward: Context,
    /// The span of the exchange.
    span: u64,
    /// The client's span.
    parent: Option<u64>,
    /// Whether the client came by TLS.
    tls: bool,
    /// When the upstream was asked, from the exchange's beginning.
    asked: Option<Duration>,
    /// Who answered.
    endpoint: Option<Endpoint>,
}

impl Sampler {
    pub(super) fn new(ratio: Ratio) -> Self {
        Self(ratio)
    }

    /// Places an exchange, by its request's headers, in the trace that it continues or begins.
    pub(super) fn place(self, headers: &HeaderMap, client: &Client, trusted: bool, random: &mut Rng) -> Trace {
        let parent = Context::read(headers);
        let sampled = match parent {
            Some(parent) if trusted => parent.is_sampled(),
            // The number is below 1, so that a ratio of 1 records every exchange.
            Some(_) | None => random.f64() < self.0.as_f64(),
        };
        let onward = match parent {
            Some(parent) => parent.child(id(random), sampled),
            None => Context::begin(random.u128(1..), id(random), sampled),
        };
        let parent = parent.map(Context::span);
        Trace { onward, span: id(random), parent, tls: client.is_tls(), asked: None, endpoint: None }
    }
}

/// An id that is none of the invalid ones.
fn id(random: &mut Rng) -> u64 {
    random.u64(1..)
}

impl Trace {
    /// The trace id in hexadecimal.
    pub fn id(&self) -> impl std::fmt::Display + use<> {
        self.onward.trace_id()
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.onward.is_sampled()
    }

    /// Tells the upstream where it stands in the trace.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, HeaderValue::from(&self.onward));
        // The state belongs to the trace that it came with (W3C Trace Context §4.3).
        if self.parent.is_none() {
            headers.remove(TRACESTATE);
        }
    }

    pub(super) fn asks(&mut self, after: Duration) {
        self.asked = Some(after);
    }

    pub(super) fn answered_by(&mut self, endpoint: &Endpoint) {
        self.endpoint = self.is_recorded().then(|| endpoint.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    fn client() -> Client {
        Client::new(None, false)
    }
    const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn place(ratio: f64, parent: &'static str, trusted: bool) -> Trace {
        let headers = headers(&[(TRACEPARENT, parent)]);
        Sampler::new(Ratio::new(ratio).unwrap()).place(&headers, &client(), trusted, &mut Rng::with_seed(7))
    }

    #[test]
    fn a_strangers_flag_records_nothing_and_a_trusted_proxys_decides() {
        for (ratio, parent, trusted, recorded) in [
            (0.0, PARENT, false, false),
            (1.0, UNSAMPLED, false, true),
            (0.0, PARENT, true, true),
            (1.0, UNSAMPLED, true, false),
            (1.0, "", false, true),
            (0.0, "", true, false),
        ] {
            assert_eq!(place(ratio, parent, trusted).is_recorded(), recorded, "{ratio} {parent} {trusted}");
        }
    }

    #[test]
    fn a_part_of_the_exchanges_is_recorded_also_of_one_trace() {
        let (sampler, mut random) = (Sampler::new(Ratio::new(0.25).unwrap()), Rng::with_seed(7));
        let headers = headers(&[(TRACEPARENT, PARENT)]);
        let recorded =
            (0..4000).filter(|_| sampler.place(&headers, &client(), false, &mut random).is_recorded()).count();
        assert!((800..1200).contains(&recorded), "{recorded}");
    }

    #[test]
    fn the_upstream_is_told_our_span_and_the_state_of_its_own_trace_alone() {
        let mut onward = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "vendor=1")]);
        place(1.0, PARENT, false).set(&mut onward);
        let told = onward[TRACEPARENT].to_str().unwrap().to_owned();
        assert!(told.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && told.ends_with("-01"), "{told}");
        assert!(!told.contains("00f067aa0ba902b7"), "{told}");
        assert_eq!(onward[TRACESTATE], "vendor=1");

        place(1.0, "", false).set(&mut onward);
        assert!(!onward[TRACEPARENT].to_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(!onward.contains_key(TRACESTATE));
    }
}
