//! The log: where it goes, and one event for each exchange.

use std::io::IsTerminal;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use clap::ValueEnum;
use http::HeaderMap;
use tracing::{Level, event};
use tracing_subscriber::EnvFilter;

use crate::metrics::Metrics;
use crate::problem::Code;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Sends the log to standard error. `TASK_SERVICE_LOG` filters it; `info` is the default.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env("TASK_SERVICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
}

/// Counts and logs one exchange: a success at `debug`, a refusal at `info`, a failure of ours at `error`.
///
/// The caller's id and the query stay out: they are personal.
pub(crate) async fn exchange(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let path = request.uri().path().to_owned();
    let ids = Correlation::of(request.headers());
    let response = next.run(request).await;
    let (status, took) = (response.status(), started.elapsed());
    metrics.exchange(&method, route.as_ref().map(MatchedPath::as_str), status, took);
    // As a number: JSON has none of 128 bits.
    let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let code = response.extensions().get::<Code>().map(|code| code.name());
    macro_rules! log {
        ($level:expr) => {
            event!(
                $level, %method, path, status = status.as_u16(), code, microseconds,
                request_id = ids.request_id, traceparent = ids.traceparent, "exchange"
            )
        };
    }
    if status.is_server_error() {
        log!(Level::ERROR);
    } else if status.is_client_error() {
        log!(Level::INFO);
    } else {
        log!(Level::DEBUG);
    }
    response
}

/// The names by which the proxy and its peers know this exchange.
struct Correlation {
    request_id: Option<String>,
    traceparent: Option<String>,
}

impl Correlation {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { request_id: text("x-request-id"), traceparent: text("traceparent") }
    }
}
