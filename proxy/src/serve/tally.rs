//! What is gathered about an exchange on its way, and told when its last byte has gone.

use std::{
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, StatusCode, Uri, Version, request::Parts};

use super::{Exchange, connection::Link, log, state::State, worker::Worker};
use crate::decide::{Code, Denial, Identity, Permit, RouteId, UpstreamId};

/// One exchange so far. Dropped, it is told, and its connection may rest.
pub(super) struct Tally {
    worker: Rc<Worker>,
    link: Rc<Link>,
    state: Arc<State>,
    started: Instant,
    client: Option<IpAddr>,
    method: Method,
    target: Uri,
    version: Version,
    pub(super) request_id: HeaderValue,
    pub(super) route: Option<RouteId>,
    identity: Option<Arc<Identity>>,
    denial: Option<Denial>,
    shadowed: Option<Denial>,
    pub(super) status: StatusCode,
    upstream: Option<UpstreamId>,
    upstream_time: Option<Duration>,
    request_bytes: u64,
    response_bytes: u64,
    complete: bool,
}

impl Tally {
    pub(super) fn begin(
        (worker, link): (&Rc<Worker>, &Rc<Link>),
        state: &Arc<State>,
        parts: &Parts,
        request_id: HeaderValue,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            link: Rc::clone(link),
            state: Arc::clone(state),
            started: Instant::now(),
            client: state.gate.client_address(&parts.headers, &link.client),
            method: parts.method.clone(),
            target: parts.uri.clone(),
            version: parts.version,
            request_id,
            route: None,
            identity: None,
            denial: None,
            shadowed: None,
            status: StatusCode::OK,
            upstream: None,
            upstream_time: None,
            request_bytes: 0,
            response_bytes: 0,
            complete: false,
        }
    }

    pub(super) fn permitted(&mut self, permit: &Permit) {
        self.route = Some(permit.route());
        self.upstream = Some(permit.upstream());
        self.identity = permit.identity().cloned();
        self.shadowed = permit.shadowed().cloned();
    }

    pub(super) fn denied(&mut self, denial: Denial) {
        self.route = denial.route.or(self.route);
        self.status = denial.code.status();
        self.denial = Some(denial);
    }

    pub(super) fn answered(&mut self, status: StatusCode, upstream_time: Duration) {
        self.status = status;
        self.upstream_time = Some(upstream_time);
    }

    pub(super) fn received(&mut self, bytes: u64) {
        self.request_bytes = bytes;
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// The answer was sent to its end.
    pub(super) fn completed(&mut self) {
        self.complete = true;
    }

    /// The upstream broke off in the middle of its answer, or a deadline passed.
    pub(super) fn broke_off(&mut self, why: &dyn std::error::Error) {
        self.denial.get_or_insert_with(|| Denial::from(Code::UpstreamBroken).because(log::chain(why)));
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.link.rest(self.state.config.timeouts.keep_alive);
        let upstream = self.upstream.filter(|_| self.upstream_time.is_some());
        self.worker.shared.observer.exchange(&Exchange {
            request_id: self.request_id.to_str().unwrap_or_default(),
            client: self.client,
            method: &self.method,
            path: self.target.path(),
            version: self.version,
            route: self.route.and_then(|id| self.state.route(id)),
            identity: self.identity.as_deref(),
            denial: self.denial.as_ref(),
            shadowed: self.shadowed.as_ref(),
            status: self.status,
            upstream: upstream.and_then(|id| self.state.config.upstreams.get(id.0)).map(|upstream| &*upstream.name),
            upstream_time: self.upstream_time,
            duration: self.started.elapsed(),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            complete: self.complete,
        });
    }
}
