//! What an exchange gathers on its way, told to the observer when it ends, however it ends.

use std::{
    error::Error,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, request::Parts};

use super::{Exchange, Trace, connection::Link, log, pace::Pace, request_body::Progress, worker::Local};
use crate::{
    config::Endpoint,
    decide::{Code, Denial, Identity, Permit, RouteId, UpstreamId},
};

/// The exchange so far. Dropping it tells the observer. On the heap, because it goes through many hands.
pub(super) struct Tally {
    link: Rc<Link>,
    local: Rc<Local>,
    started: Instant,
    request_id: HeaderValue,
    trace: Option<Box<Trace>>,
    client: Option<IpAddr>,
    method: Method,
    target: Uri,
    version: Version,
    route: Option<RouteId>,
    identity: Option<Arc<Identity>>,
    denial: Option<Box<Denial>>,
    shadowed: Option<Box<Denial>>,
    status: StatusCode,
    upstream: Option<UpstreamId>,
    upstream_time: Option<Duration>,
    progress: Rc<Progress>,
    response_bytes: u64,
    complete: bool,
}

/// The name under which client, proxy and upstream speak of one exchange.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Of an exchange whose client left before there was an answer; the number is nginx's.
const CLIENT_LEFT: u16 = 499;

impl Tally {
    pub(super) fn begin(link: &Rc<Link>, local: &Rc<Local>, head: &Parts, progress: &Rc<Progress>) -> Box<Self> {
        Box::new(Self {
            link: Rc::clone(link),
            local: Rc::clone(local),
            started: Instant::now(),
            request_id: request_id(link, local, head),
            trace: link.worker.trace(local, &link.client, &head.headers),
            client: local.state.gate.client_address(&head.headers, &link.client),
            method: head.method.clone(),
            target: head.uri.clone(),
            version: head.version,
            route: None,
            identity: None,
            denial: None,
            shadowed: None,
            status: StatusCode::from_u16(CLIENT_LEFT).unwrap_or(StatusCode::BAD_REQUEST),
            upstream: None,
            upstream_time: None,
            progress: Rc::clone(progress),
            response_bytes: 0,
            complete: false,
        })
    }

    pub(super) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// The pace at which the client must take its answer.
    pub(super) fn pace(&self) -> Pace {
        Pace::of(&self.local.state.config)
    }

    /// Whether the answer is a head without its body (RFC 9110 §9.3.2).
    pub(super) fn is_head_alone(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Nobody will take the rest of the request's body.
    pub(super) fn abandon_request(&self) {
        self.progress.abandon(self.link.watch());
    }

    pub(super) fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    pub(super) fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    pub(super) fn route(&self) -> Option<RouteId> {
        self.route
    }

    /// The client's address, as trusted proxies tell it.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    pub(super) fn permitted(&mut self, permit: &Permit) {
        self.route = Some(permit.route());
        self.upstream = Some(permit.upstream());
        self.identity = permit.identity().cloned();
        self.shadowed = permit.shadowed().cloned().map(Box::new);
    }

    /// The upstream broke off in the middle of its answer.
    pub(super) fn broke_off(&mut self, why: &dyn Error) {
        self.cut_short(Denial::from(Code::UpstreamBroken).because(log::chain(why)));
    }

    /// The answer ends before its end.
    pub(super) fn break_off(&mut self) {
        if let Some(overrun) = self.link.watch().overrun() {
            self.cut_short(overrun.into());
        }
        // Its clients know the end of an answer by the connection's.
        if self.version == Version::HTTP_10 {
            self.link.watch().break_off();
        }
    }

    /// The answer must not go on.
    pub(super) fn cut_short(&mut self, why: Denial) {
        self.denial.get_or_insert_with(|| Box::new(why));
    }

    pub(super) fn denied(&mut self, denial: Denial) {
        self.route = self.route.or(denial.route);
        self.denial = Some(Box::new(denial));
    }

    pub(super) fn routed(&mut self, route: RouteId) {
        self.route = Some(route);
    }

    /// The upstream is being asked.
    pub(super) fn asks(&mut self, since: Instant) {
        if let Some(trace) = &mut self.trace {
            trace.asks(since.duration_since(self.started));
        }
    }

    /// The upstream's response head has come, so long after it was asked.
    pub(super) fn upstream_answered(&mut self, endpoint: &Endpoint, status: StatusCode, after: Duration) {
        if let Some(trace) = &mut self.trace {
            trace.answered_by(endpoint);
        }
        self.status = status;
        self.upstream_time = Some(after);
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}

/// A new id, but a trusted proxy may have given one already.
fn request_id(link: &Link, local: &Local, head: &Parts) -> HeaderValue {
    let given = Some(&head.headers).filter(|_| local.state.gate.trusts(&link.client));
    let given = given.and_then(|headers| headers.get(REQUEST_ID)).filter(|id| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
    });
    let mut id = given.cloned().unwrap_or_else(|| link.worker.next_request_id());
    // No other message has it: HTTP/2 is to spare it the table of what is repeated (RFC 7541 §6.2.3).
    id.set_sensitive(true);
    id
}

impl Drop for Tally {
    fn drop(&mut self) {
        let config = &self.local.state.config;
        self.local.observer.exchange(&Exchange {
            request_id: self.request_id.to_str().unwrap_or_default(),
            trace: self.trace.as_deref(),
            client: self.client,
            method: &self.method,
            path: self.target.path(),
            version: self.version,
            route: self.route.and_then(|route| config.policy.route(route)),
            identity: self.identity.as_deref(),
            denial: self.denial.as_deref(),
            shadowed: self.shadowed.as_deref(),
            status: self.status,
            upstream: self.upstream.and_then(|upstream| config.upstreams.get(upstream.0)).map(|found| &*found.name),
            upstream_time: self.upstream_time,
            duration: self.started.elapsed(),
            request_bytes: self.progress.bytes(),
            response_bytes: self.response_bytes,
            complete: self.complete,
        });
    }
}
