//! A collector of traces: takes OTLP over HTTP and keeps every span.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::PATIENCE;
use crate::process::poll;
use crate::recorder::{Received, Recorder, Reply};

/// An empty message, the answer to what was taken whole.
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    recorder: Recorder,
}

impl Collector {
    /// A collector that takes everything.
    pub fn start() -> Self {
        Self { recorder: Recorder::answering(|_| Reply::send(TAKEN)) }
    }

    /// Its address, as the `--otlp` flag wants it.
    pub fn url(&self) -> String {
        self.recorder.url()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.recorder.received().iter().map(read).collect()
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Waits for so many spans in all.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Span> {
        let spans = poll(PATIENCE, || Some(self.spans()).filter(|spans| spans.len() >= count));
        spans.unwrap_or_else(|| panic!("{} spans arrived, not {count}", self.spans().len()))
    }
}

#[track_caller]
fn read(request: &Received) -> ExportTraceServiceRequest {
    assert_eq!((request.method(), request.target()), ("POST", "/v1/traces"));
    assert_eq!(request.head.value("content-type").as_deref(), Some("application/x-protobuf"));
    ExportTraceServiceRequest::decode(request.body.content.as_slice()).expect("a request of OTLP")
}

/// An attribute's text or number, as text.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

/// An id in hexadecimal.
pub fn hexadecimal(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
