//! Traces: one trace from the client through the proxy to the backend, and an exchange that no collector can hold up.

use std::time::{Duration, Instant};

use e2e::collector::{Collector, attribute, hexadecimal};
use e2e::key::Key;
use e2e::port;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::stack::{Proxy, SECRET};
use e2e::token::Token;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::configured::{MAIN, OWNER};
use crate::gate::Gate;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CLIENT_SPAN}-{flags}")
}

fn traced_to(otlp: &str) -> Gate {
    let backend = Recorder::start();
    let proxy = Proxy::before(&backend).file("secret", SECRET).flag("--secret-file", "secret");
    let proxy = proxy.flag("--log-format", "json").flag("--otlp", otlp).start();
    Gate::of(backend, proxy, Key::shared(SECRET))
}

fn traced(collector: &Collector) -> Gate {
    traced_to(&collector.url())
}

/// The span of an exchange and that of its request to the upstream.
fn pair(spans: &[Span]) -> (&Span, &Span) {
    let of = |kind: SpanKind| spans.iter().find(|span| span.kind == i32::from(kind)).expect("a span of each kind");
    (of(SpanKind::Server), of(SpanKind::Client))
}

#[test]
fn one_trace_leads_from_the_client_through_the_proxy_to_the_backend() {
    let collector = Collector::start();
    let gate = traced(&collector);
    let request = gate.by_alice("/api/alice/x?q=hidden");
    let received = gate.forwards(&request.field("traceparent", traceparent("01")).field("tracestate", "vendor=1"));
    let spans = collector.wait_for(2);
    let (server, client) = pair(&spans);

    assert_eq!(hexadecimal(&server.parent_span_id), CLIENT_SPAN);
    assert_eq!(client.parent_span_id, server.span_id);
    for span in [server, client] {
        assert_eq!(hexadecimal(&span.trace_id), TRACE);
        assert!(server.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano);
    }
    let told = format!("00-{TRACE}-{}-01", hexadecimal(&client.span_id));
    assert_eq!(received.head.value("traceparent"), Some(told));
    assert_eq!(received.head.value("tracestate").as_deref(), Some("vendor=1"));

    assert_eq!(server.name, "GET /api/{user_id}/**");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/api/{user_id}/**"),
        ("http.response.status_code", "200"),
        ("url.path", "/api/alice/x"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(attribute(&server.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&client.attributes, "server.address").as_deref(), Some("127.0.0.1"));
    assert_eq!(attribute(&client.attributes, "ownergate.upstream").as_deref(), Some("default"));
    let text = format!("{spans:?}");
    assert!(!text.contains("hidden") && !text.contains(&gate.token("alice")), "{text}");

    let request_id = attribute(&server.attributes, "ownergate.request_id").expect("a request id");
    let event: serde_json::Value = serde_json::from_str(&gate.proxy.process.wait_for_line(&request_id)).expect("JSON");
    assert_eq!(event["trace_id"], TRACE);
    let resource = collector.requests().remove(0).resource_spans.remove(0).resource.expect("a resource");
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("ownergate"));
}

#[test]
fn a_refusal_is_a_span_without_a_request_to_the_upstream() {
    let collector = Collector::start();
    let gate = traced(&collector);
    assert_eq!(gate.verdict(&gate.by_alice("/api/bob/x")), "403 not_owner");
    let spans = collector.wait_for(1);
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(attribute(&spans[0].attributes, "ownergate.code").as_deref(), Some("not_owner"));
    assert_eq!(spans[0].parent_span_id, Vec::<u8>::new());
    let status = spans[0].status.as_ref().expect("a status");
    assert_eq!(status.code(), StatusCode::Unset, "what a client does wrong is no error of the proxy's");
}

#[test]
fn a_dead_upstream_is_an_error_of_both_spans() {
    let collector = Collector::start();
    let proxy = Proxy::before_url(&format!("http://{}", port::free()))
        .environment("OWNERGATE_OTLP", &collector.url())
        .environment("OWNERGATE_SECRET", SECRET)
        .start();
    let token = Token::of("alice").signed_by(&Key::shared(SECRET));
    proxy.ask(&Request::get("/api/alice/x").bearer(&token)).refused(502, "upstream_unreachable");
    let spans = collector.wait_for(2);
    let (server, client) = pair(&spans);
    for span in [server, client] {
        assert_eq!(attribute(&span.attributes, "error.type").as_deref(), Some("upstream_unreachable"));
        assert_eq!(span.status.as_ref().expect("a status").code(), StatusCode::Error);
    }
}

#[test]
fn an_invalid_traceparent_begins_a_new_trace() {
    let collector = Collector::start();
    let gate = traced(&collector);
    for invalid in
        ["", "00-0-0-01", &traceparent("01").to_uppercase(), &format!("00-{}-{CLIENT_SPAN}-01", "0".repeat(32))]
    {
        let request = gate.by_alice("/api/alice/x").field("traceparent", invalid).field("tracestate", "vendor=1");
        let received = gate.forwards(&request);
        let told = received.head.value("traceparent").expect("a new one");
        assert!(!told.contains(TRACE) && !told.contains(CLIENT_SPAN), "{invalid}: {told}");
        assert_eq!(received.head.value("tracestate"), None, "{invalid}");
    }
}

#[test]
fn a_strangers_flag_has_nothing_recorded_and_a_trusted_proxys_has() {
    let config = |collector: &Collector, trusted: &str| {
        let (otlp, traces) = (collector.url(), "[traces]\nsample_ratio = 0\n");
        format!("[server]\ntrusted_proxies = [{trusted}]\n{traces}otlp = \"{otlp}\"\n{MAIN}{OWNER}")
    };
    for (trusted, flags, spans) in [("", "00", 0), ("\"127.0.0.1\"", "01", 2)] {
        let collector = Collector::start();
        let mut gate = crate::configured::configured(&config(&collector, trusted));
        let received = gate.forwards(&gate.by_alice("/api/alice/x").field("traceparent", traceparent("01")));
        let told = received.head.value("traceparent").expect("the trace goes on");
        assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with(flags), "{told}");
        assert_eq!(gate.proxy.stop(Duration::from_secs(10)), 0);
        assert_eq!(collector.spans().len(), spans, "what waited was sent before the end");
    }
}

#[test]
fn where_traces_are_off_the_headers_go_through_as_they_are() {
    let gate = Gate::open();
    let request = gate.by_alice("/api/alice/x").field("traceparent", "as it is").field("tracestate", "a=1");
    let received = gate.forwards(&request);
    assert_eq!(received.head.value("traceparent").as_deref(), Some("as it is"));
    assert_eq!(received.head.value("tracestate").as_deref(), Some("a=1"));
    assert_eq!(gate.forwards(&gate.by_alice("/api/alice/x")).head.value("traceparent"), None);
}

#[test]
fn a_collector_that_is_dead_or_silent_holds_up_neither_exchanges_nor_the_stop() {
    let silent = Recorder::by_hand(|conversation, _| {
        let mut conversation = conversation;
        while conversation.fill().is_ok_and(|count| count > 0) {}
    });
    for url in [format!("http://{}", port::free()), silent.url()] {
        let mut gate = traced_to(&url);
        let mut wire = gate.proxy.connect();
        for _ in 0..100 {
            wire.ask(&gate.by_alice("/api/alice/x")).expect(200);
        }
        gate.proxy.process.wait_for_line("traces could not be sent");
        let lines = gate.proxy.process.log().matches("traces could not be sent").count();
        assert_eq!(lines, 1, "an outage is told calmly");
        let started = Instant::now();
        assert_eq!(gate.proxy.stop(Duration::from_secs(10)), 0);
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
}
