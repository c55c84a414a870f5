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
    method: Method,
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
        Self {
            trace: trace.clone(),
            ended: SystemTime::now(),
            duration: exchange.duration,
            upstream_time: exchange.upstream_time,
            request_id: exchange.request_id.into(),
            client: exchange.client,
            method: exchange.method.clone(),
            path: exchange.path.into(),
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
        let method = method_name(&self.method);
        let name = match (&self.route, method) {
            (Some(route), Some(method)) => format!("{method} {route}"),
            (Some(route), None) => format!("HTTP {route}"),
            (None, method) => method.unwrap_or("HTTP").to_owned(),
        };
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
            name: method_name(&self.method).unwrap_or("HTTP").to_owned(),
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
        match method_name(&self.method) {
            Some(method) => vec![text("http.request.method", method)],
            None => {
                vec![text("http.request.method", "_OTHER"), text("http.request.method_original", self.method.as_str())]
            }
        }
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
