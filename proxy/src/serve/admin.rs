//! Health, readiness and metrics, on a listener of their own.
//!
//! - `/livez`: 200 as long as the process turns around.
//! - `/readyz`: 200 when requests should be sent here, else 503; why, as JSON, either way. Ready means serving, and
//!   keys that at least one issuer has been asked for: one issuer's outage must not take the others' users down. An
//!   issuer that was asked and has no key yet is ready: Better Auth makes its first key with its first token.
//! - `/metrics`: Prometheus text.
//! - `/log-level`: the least severe level that is logged, which `PUT` with another as the body changes.
//! - `/jwks`: the key set that signed identities verify with, where they are configured.
//!
//! A web page in an operator's browser can make requests to this address under a name of its own choice (DNS
//! rebinding), and would be let read the answers; so a `Host` that public DNS could answer is refused. Addresses, as
//! Kubernetes' probes send them, and names of one label or under a reserved suffix, as containers have them, are not.
//! What changes something is refused to every browser: there is no page here that could ask for it, and browsers name
//! the `Origin` of each such request (Fetch standard, "append a request `Origin` header").

use std::{convert::Infallible, io, net::IpAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::info;

use super::{
    Threshold,
    accept::pause,
    guests::{Asked, Guests},
    jwks::IssuerReport,
    listen::{self, Listener, Place},
    metrics::Metrics,
    systemd::Inherited,
    unix_socket::SocketFile,
};
use crate::config::{Address, LogLevel, Sockets};

/// Connections at once: probes and a scraper or two. One more takes the place of the one that was quiet for longest.
const CONNECTIONS: usize = 64;

/// For a request head, also the first, and for a body.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The largest body, in bytes: the name of a level.
const BODY_BYTES: usize = 64;

/// How far the proxy's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waiting for the backend that it started.
    Starting,
    /// Serving.
    Serving,
    /// Finishing what is in flight.
    Draining,
}

/// What `/readyz` tells.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// How far the proxy's life has come.
    pub phase: Phase,
    /// How each issuer's keys stand.
    pub issuers: Vec<IssuerReport>,
    /// Why the last reload was refused; the configuration before it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration_fault: Option<String>,
}

impl Readiness {
    /// Judges what was found.
    pub fn new(phase: Phase, issuers: Vec<IssuerReport>, configuration_fault: Option<String>) -> Self {
        let keys = issuers.is_empty() || issuers.iter().any(IssuerReport::was_fetched);
        Self { ready: keys && phase == Phase::Serving, phase, issuers, configuration_fault }
    }
}

/// What the listener answers with.
pub struct Admin<R, K> {
    /// The state at the moment that it is asked.
    pub readiness: R,
    /// What was counted.
    pub metrics: Metrics,
    /// What the log has.
    pub threshold: Threshold,
    /// The key set that signed identities verify with, if there are any.
    pub jwks: K,
}

/// Binds the address that operators use.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: &Address, sockets: Sockets) -> io::Result<AdminListener> {
    let place = listen::bind(address, sockets, 1, &mut Inherited::default())?.pop();
    let Place { mut sockets, file, .. } = place.ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = sockets.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(AdminListener { listener: Listener::open(socket)?, _file: file })
}

/// The socket that it listens on.
#[derive(Debug)]
pub struct AdminListener {
    listener: Listener,
    /// Removed with the listener.
    _file: Option<SocketFile>,
}

impl<R: Fn() -> Readiness + 'static, K: Fn() -> Option<String> + 'static> Admin<R, K> {
    /// Answers until it is dropped. Runs on the current thread's [`tokio::task::LocalSet`].
    pub async fn serve(self, listener: AdminListener) {
        let admin = Rc::new(self);
        let mut guests = Guests::new(CONNECTIONS);
        loop {
            match listener.listener.accept().await {
                Ok((socket, _)) => {
                    let admin = Rc::clone(&admin);
                    guests.seat(async move |asked: Asked| admin.converse(socket, &asked).await).await;
                }
                Err(error) => pause(&listener.listener, &error).await,
            }
        }
    }

    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin, asked: &Asked) {
        let answer = service_fn(async |request| {
            asked.note();
            Ok::<_, Infallible>(self.answer(request).await)
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME).max_buf_size(16 << 10);
        // A prober that breaks off has nobody to tell.
        let _ = server.serve_connection(TokioIo::new(stream), answer).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if !head.headers.get_all(header::HOST).iter().all(is_ours) {
            return text(StatusCode::MISDIRECTED_REQUEST, "this Host is not served here; use the address");
        }
        match (head.method, head.uri.path()) {
            (Method::PUT, "/log-level") if head.headers.contains_key(header::ORIGIN) => {
                text(StatusCode::FORBIDDEN, "browsers may not change anything here")
            }
            (Method::PUT, "/log-level") => self.set_level(body).await,
            (Method::GET | Method::HEAD, path) => self.show(path),
            (_, "/log-level") => only("GET, HEAD, PUT"),
            _ => only("GET, HEAD"),
        }
    }

    fn show(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/livez" => text(StatusCode::OK, "ok"),
            "/readyz" => self.readiness(),
            "/metrics" => typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.render()),
            "/log-level" => text(StatusCode::OK, self.threshold.level().as_str()),
            "/jwks" => match (self.jwks)() {
                Some(keys) => typed(StatusCode::OK, "application/jwk-set+json", keys),
                None => text(StatusCode::NOT_FOUND, "identities are not signed; set identity.signed"),
            },
            _ => text(StatusCode::NOT_FOUND, "try /livez, /readyz, /metrics, /log-level or /jwks"),
        }
    }

    async fn set_level(&self, body: Incoming) -> Response<Full<Bytes>> {
        let Ok(Ok(body)) = timeout(REQUEST_TIME, Limited::new(body, BODY_BYTES).collect()).await else {
            return text(StatusCode::BAD_REQUEST, "the body could not be read");
        };
        let body = body.to_bytes();
        let level = str::from_utf8(&body).unwrap_or_default().trim().parse::<LogLevel>();
        let Ok(level) = level else {
            return text(StatusCode::BAD_REQUEST, "the body must be error, warn, info, debug or trace");
        };
        self.threshold.set(level);
        info!(%level, "log level set");
        text(StatusCode::OK, level.as_str())
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let readiness = (self.readiness)();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match serde_json::to_string(&readiness) {
            Ok(body) => typed(status, "application/json", body),
            Err(fault) => text(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()),
        }
    }
}

fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether no public name server could have led a browser here by this `Host`.
fn is_ours(host: &HeaderValue) -> bool {
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    if name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.to_ascii_lowercase();
    !name.contains('.') || [".localhost", ".local", ".internal", ".svc"].iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_108_a_host_that_public_dns_could_answer_is_refused() {
        for (host, ours) in [
            ("127.0.0.1:9901", true),
            ("10.244.0.17:9901", true),
            ("[::1]:9901", true),
            ("localhost:9901", true),
            ("proxy:9901", true),
            ("ownergate.default.svc:9901", true),
            ("ownergate.default.svc.cluster.local", true),
            ("gate.LOCALHOST", true),
            ("evil.com", false),
            ("evil.com:9901", false),
            ("127.0.0.1.nip.io:9901", false),
            ("127.0.0.1@evil.com", false),
            ("evil.com.", false),
            ("local.evil.com", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(is_ours(&HeaderValue::from_static(host)), ours, "{host}");
        }
    }

    #[test]
    fn readiness_needs_one_issuer_that_was_asked_and_a_proxy_that_serves() {
        let issuer = |standing| IssuerReport { issuer: "id".into(), keys: 0, standing, fault: None };
        for (phase, standings, ready) in [
            (Phase::Serving, &[][..], true),
            (Phase::Serving, &["current"][..], true),
            (Phase::Serving, &["unreachable"][..], true),
            (Phase::Serving, &["unfetched"][..], false),
            (Phase::Serving, &["unfetched", "current"][..], true),
            (Phase::Starting, &["current"][..], false),
            (Phase::Draining, &["current"][..], false),
        ] {
            let issuers = standings.iter().copied().map(issuer).collect();
            assert_eq!(Readiness::new(phase, issuers, None).ready, ready, "{phase:?} {standings:?}");
        }
    }
}
