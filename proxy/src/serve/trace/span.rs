//! What a collector is told of one exchange: a span of the proxy's own, and one of its request to the upstream. Names
//! are those of OpenTelemetry's semantic conventions for HTTP; never a token or a query.

use std::{
    borrow::Cow,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{Method, StatusCode, Version};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{
        Span, SpanFlags, Status,
        span::SpanKind,
        status::StatusCode::{Error, Unset},
    },
};
use tokio::sync::mpsc;

use super::Trace;
use crate::{
    config::Endpoint,
    decide::Code,
    serve::{
        Exchange,
        counts::{self, Count},
    },
};

/// The longest path that is recorded: what waits for a collector must not grow with what clients send.
const PATH_BYTES: usize = 1024;

/// And the longest method.
const METHOD_BYTES: usize = 32;

/// Takes what is recorded of exchanges to the [`super::Exporter`].
#[derive(Clone, Debug)]
pub struct Spans(mpsc::Sender<Record>);

/// What is recorded of one exchange.
#[derive(Debug)]
pub(super) struct Record {
    trace: Trace,
    ended: SystemTime,
    duration: Duration,
    upstream_time: Option<Duration>,
    request_id: Box<str>,
    client: Option<IpAddr>,
    /// `None` for a method that is not common.
    method: Option<&'static str>,
    /// Then this.
    other_method: Option<Box<str>>,
    path: Box<str>,
    version: Version,
    route: Option<Box<str>>,
    code: Option<Code>,
    reason: Option<Cow<'static, str>>,
    status: StatusCode,
    upstream: Option<Box<str>>,
}

impl Spans {
    pub(super) fn new(queue: mpsc::Sender<Record>) -> Self {
        Self(queue)
    }

    /// Records an exchange if it is to be, unless too many wait already.
    pub(in crate::serve) fn tell(&self, exchange: &Exchange<'_>) {
        let Some(trace) = exchange.trace.filter(|trace| trace.is_recorded()) else { return };
        match self.0.try_reserve() {
            Ok(place) => place.send(Record::of(exchange, trace)),
            Err(_) => counts::add(Count::ExchangeUnrecorded),
        }
    }
}

impl Record {
    fn of(exchange: &Exchange<'_>, trace: &Trace) -> Self {
        let cut = |text: &str, bytes| Box::from(&text[..text.floor_char_boundary(bytes)]);
        let method = method_name(exchange.method);
        Self {
            trace: trace.clone(),
            ended: SystemTime::now(),
            duration: exchange.duration,
            upstream_time: exchange.upstream_time,
            request_id: exchange.request_id.into(),
            client: exchange.client,
            method,
            other_method: method.is_none().then(|| cut(exchange.method.as_str(), METHOD_BYTES)),
            path: cut(exchange.path, PATH_BYTES),
            version: exchange.version,
            route: exchange.route.map(|route| route.pattern.as_str().into()),
            code: exchange.denial.map(|denial| denial.code),
            reason: exchange.denial.and_then(|denial| denial.reason.clone()),
            status: exchange.status,
            upstream: exchange.upstream.map(Into::into),
        }
    }

    /// The exchange's own span, then the one of the request to the upstream, if there was one.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> + use<> {
        [Some(self.server()), self.trace.asked.map(|asked| self.client(asked))].into_iter().flatten()
    }

    fn server(&self) -> Span {
        let method = self.method.unwrap_or("HTTP");
        let name = self.route.as_ref().map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let failed = self.status.is_server_error();
        let mut attributes = self.method();
        attributes.extend([
            text("url.scheme", if self.trace.tls { "https" } else { "http" }),
            text("url.path", &*self.path),
            number("http.response.status_code", self.status.as_u16()),
            text("network.protocol.version", version_name(self.version)),
            text("ownergate.request_id", &*self.request_id),
        ]);
        attributes.extend(self.route.as_deref().map(|route| text("http.route", route)));
        attributes.extend(self.client.map(|client| text("client.address", client.to_string())));
        attributes.extend(self.code.map(|code| text("ownergate.code", code.as_str())));
        attributes.extend(failed.then(|| text("error.type", self.error_type())));
        Span {
            span_id: self.trace.span.to_be_bytes().into(),
            parent_span_id: self.trace.parent.map(|parent| parent.to_be_bytes().into()).unwrap_or_default(),
            name,
            kind: SpanKind::Server.into(),
            attributes,
            status: Some(self.outcome(failed)),
            ..self.span(Duration::ZERO, self.duration, self.trace.parent.is_some())
        }
    }

    fn client(&self, asked: Duration) -> Span {
        let failed = self.upstream_time.is_none() || self.status.is_client_error() || self.status.is_server_error();
        let mut attributes = self.method();
        attributes.push(text("url.path", &*self.path));
        attributes.extend(self.upstream_time.map(|_| number("http.response.status_code", self.status.as_u16())));
        attributes.extend(self.upstream.as_deref().map(|name| text("ownergate.upstream", name)));
        match &self.trace.endpoint {
            Some(Endpoint::Tcp { host, port }) => {
                attributes.extend([text("server.address", &**host), number("server.port", *port)]);
            }
            Some(Endpoint::Unix(path)) => attributes.push(text("server.address", path.display().to_string())),
            None => {}
        }
        attributes.extend(failed.then(|| text("error.type", self.error_type())));
        let ended = self.upstream_time.map_or(self.duration, |time| asked + time);
        Span {
            span_id: self.trace.onward.span().to_be_bytes().into(),
            parent_span_id: self.trace.span.to_be_bytes().into(),
            name: self.method.unwrap_or("HTTP").to_owned(),
            kind: SpanKind::Client.into(),
            attributes,
            status: Some(self.outcome(failed)),
            ..self.span(asked, ended, false)
        }
    }

    /// What both spans have, between two times from the exchange's beginning.
    fn span(&self, from: Duration, to: Duration, remote_parent: bool) -> Span {
        let began = self.ended.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.duration);
        let nanos = |time: Duration| u64::try_from((began + time).as_nanos()).unwrap_or(u64::MAX);
        let remote = if remote_parent { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
        Span {
            trace_id: self.trace.onward.trace().to_be_bytes().into(),
            flags: u32::from(self.trace.onward.flags()) | SpanFlags::ContextHasIsRemoteMask as u32 | remote,
            start_time_unix_nano: nanos(from),
            end_time_unix_nano: nanos(to),
            ..Span::default()
        }
    }

    fn method(&self) -> Vec<KeyValue> {
        let other = self.other_method.as_deref().map(|method| text("http.request.method_original", method));
        [text("http.request.method", self.method.unwrap_or("_OTHER"))].into_iter().chain(other).collect()
    }

    fn error_type(&self) -> String {
        self.code.map_or_else(|| self.status.as_str().to_owned(), |code| code.as_str().to_owned())
    }

    fn outcome(&self, failed: bool) -> Status {
        let message = self.reason.as_deref().filter(|_| failed).unwrap_or_default().to_owned();
        Status { message, code: if failed { Error } else { Unset }.into() }
    }
}

/// The method, if it is one that everybody knows: others would make a name of whatever clients send.
fn method_name(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u16) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{super::Sampler, *};
    use crate::{config::Ratio, decide::Client};

    fn exchange<'a>(trace: &'a Trace, method: &'a Method, path: &'a str) -> Exchange<'a> {
        Exchange {
            request_id: "1",
            trace: Some(trace),
            client: None,
            method,
            path,
            version: Version::HTTP_2,
            route: None,
            identity: None,
            denial: None,
            shadowed: None,
            status: StatusCode::OK,
            upstream: None,
            upstream_time: None,
            duration: Duration::from_millis(5),
            request_bytes: 0,
            response_bytes: 0,
            complete: true,
        }
    }

    fn trace(ratio: f64) -> Trace {
        let client = Client::new(None, true);
        Sampler::new(Ratio::new(ratio).unwrap()).place(&HeaderMap::new(), &client, false, &mut fastrand::Rng::new())
    }

    fn value(span: &Span, key: &str) -> Option<Value> {
        span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
    }

    #[test]
    fn what_a_client_makes_up_neither_names_a_span_nor_fills_the_memory() {
        let (trace, method) = (trace(1.0), Method::from_bytes(b"MADE-UP").unwrap());
        let path = format!("/{}", "\u{e9}".repeat(2000));
        let record = Record::of(&exchange(&trace, &method, &path), &trace);
        assert_eq!(record.path.len(), PATH_BYTES - 1, "a character is not cut in two");
        let span = record.spans().next().unwrap();
        assert_eq!(span.name, "HTTP");
        assert_eq!(value(&span, "http.request.method"), Some(Value::StringValue("_OTHER".into())));
        assert_eq!(value(&span, "http.request.method_original"), Some(Value::StringValue("MADE-UP".into())));
        assert_eq!(value(&span, "network.protocol.version"), Some(Value::StringValue("2".into())));
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 5_000_000);
    }

    #[test]
    fn what_does_not_fit_the_queue_is_dropped_and_what_is_not_sampled_never_gets_there() {
        let (sender, mut queue) = mpsc::channel(1);
        let spans = Spans::new(sender);
        for ratio in [0.0, 1.0, 1.0] {
            let trace = trace(ratio);
            spans.tell(&exchange(&trace, &Method::GET, "/"));
        }
        assert!(queue.try_recv().is_ok_and(|record| record.trace.is_recorded()));
        assert!(queue.try_recv().is_err());
    }
}
