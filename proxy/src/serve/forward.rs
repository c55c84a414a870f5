//! A permitted request on its way to the upstream and back.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::body::{Body as _, Incoming};

use super::{
    body::{BodyFault, Progress, Relayed, RequestBody, ResponseBody, Streamed},
    connection::Link,
    exchange::{Answer, REQUEST_ID},
    log,
    state::State,
    tally::Tally,
    upgrade::{self, Tunnel},
    upstream::{Lease, Pool, Sent, UpstreamFault},
    watch::Phase,
    worker::Worker,
};
use crate::decide::{Code, Denial, Permit, named_by};

/// One forwarding.
pub(super) struct Forward<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) link: &'a Rc<Link>,
    pub(super) state: &'a Arc<State>,
    pub(super) tally: &'a mut Tally,
}

/// An upstream's answer, with what its body needs on the way to the client.
pub(super) struct Forwarded {
    response: Response<Incoming>,
    lease: Option<Lease>,
    body_idle: Duration,
    progress: Rc<Progress>,
    link: Rc<Link>,
}

impl Forward<'_> {
    /// Sends the request on and waits for the answer's head.
    pub(super) async fn run(self, permit: Permit, mut parts: Parts, body: Incoming) -> Result<Forwarded, Denial> {
        let limit = self.body_limit(&permit);
        if body.size_hint().lower() > limit {
            return Err(Denial::from(Code::BodyTooLarge).because(format!("the route takes {limit} bytes")));
        }
        let upgrade = upgrade::asked(&mut parts);
        let progress = Rc::new(Progress::default());
        let has_body = !body.is_end_stream();
        let length = parts.headers.contains_key(header::CONTENT_LENGTH);
        let mut parts = self.state.gate.onward(&permit, parts, &self.link.client).into_parts();
        set_framing(&mut parts.headers, has_body, length);
        parts.headers.remove(header::EXPECT);
        parts.headers.insert(REQUEST_ID, self.tally.request_id.clone());
        if let Some(upgrade) = &upgrade {
            upgrade.set(&mut parts.headers);
        }
        let body = if has_body { self.streamed(body, limit, &progress) } else { RequestBody::Empty };
        if !has_body {
            self.link.watch.set(Phase::Answer, self.state.config.timeouts.response_head);
        }
        let started = Instant::now();
        let sent = self.answered(&permit, Request::from_parts(parts, body), &progress).await;
        let upstream_time = started.elapsed();
        let (response, lease) = sent?;
        self.tally.answered(response.status(), upstream_time);
        self.finish(response, lease, upgrade, (&permit, progress))
    }

    fn body_limit(&self, permit: &Permit) -> u64 {
        let own = self.state.route(permit.route()).and_then(|route| route.body_bytes);
        match own.unwrap_or(self.state.config.limits.body_bytes) {
            0 => u64::MAX,
            limit => limit,
        }
    }

    fn streamed(&self, inner: Incoming, left: u64, progress: &Rc<Progress>) -> RequestBody {
        RequestBody::Streamed(Streamed {
            inner,
            left,
            state: Arc::clone(self.state),
            watch: Arc::clone(&self.link.watch),
            progress: Rc::clone(progress),
        })
    }

    /// The answer, or the refusal that its absence deserves.
    async fn answered(
        &self,
        permit: &Permit,
        request: Request<RequestBody>,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Lease), Denial> {
        let pool = self.worker.pool(permit.upstream()).ok_or(Code::UpstreamUnreachable)?;
        let mut sending = pin!(send(&pool, request));
        let outcome = poll_fn(|context| match sending.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if self.link.watch.poll_passed(context).is_ready() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match (outcome, progress.fault()) {
            (Some(Ok(answer)), _) => Ok(answer),
            (_, Some(BodyFault::TooLarge)) => Err(Code::BodyTooLarge.into()),
            (_, Some(fault)) => Err(Denial::from(Code::RequestMalformed).because(fault.to_string())),
            (None, None) if progress.is_waiting_for_client() => Err(Code::RequestTimeout.into()),
            (None, None) => Err(Code::UpstreamTimeout.into()),
            (Some(Err(fault)), None) => {
                let code = match fault {
                    UpstreamFault::Unreachable { .. } => Code::UpstreamUnreachable,
                    UpstreamFault::Broken(_) => Code::UpstreamBroken,
                };
                Err(Denial::from(code).because(log::chain(&fault)))
            }
        }
    }

    fn finish(
        self,
        mut response: Response<Incoming>,
        lease: Lease,
        upgrade: Option<Tunnel>,
        (permit, progress): (&Permit, Rc<Progress>),
    ) -> Result<Forwarded, Denial> {
        let body_idle = self.state.config.timeouts.body_idle;
        self.link.watch.set(Phase::Body, body_idle);
        strip_hop_by_hop(response.headers_mut());
        // The upstream's version says nothing about this connection (RFC 9110 §2.5).
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let tunnel = upgrade.ok_or_else(|| {
                Denial::from(Code::UpstreamBroken)
                    .because("the upstream switched protocols, which nobody had asked for")
            })?;
            tunnel.open(&mut response, permit.identity(), self.worker);
            return Ok(Forwarded { response, lease: None, body_idle, progress, link: Rc::clone(self.link) });
        }
        Ok(Forwarded { response, lease: Some(lease), body_idle, progress, link: Rc::clone(self.link) })
    }
}

impl Forwarded {
    pub(super) fn into_answer(self, tally: Tally) -> Answer {
        let Self { response, lease, body_idle, progress, link } = self;
        response.map(|inner| {
            let bodiless = inner.is_end_stream();
            let watch = Arc::clone(&link.watch);
            let mut relayed = Relayed { inner, lease, watch, body_idle, progress, tally };
            if bodiless {
                relayed.complete();
            }
            ResponseBody::Upstream(relayed)
        })
    }
}

/// One length, in one form: what the parser found is sent anew.
fn set_framing(headers: &mut HeaderMap, has_body: bool, length: bool) {
    if has_body && !length {
        // A body of unknown length goes on chunked with every method, GET included.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// RFC 9110 §7.6.1, on the way back.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers.get_all(header::CONNECTION).iter().flat_map(named_by).collect();
    for name in named {
        headers.remove(name);
    }
    for name in ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}

/// Sends a request over a kept connection or a new one. It is sent again, once, if it provably never reached the
/// upstream, or if it can be repeated safely and a kept connection ended before any byte of an answer.
async fn send(pool: &Pool, request: Request<RequestBody>) -> Result<(Response<Incoming>, Lease), UpstreamFault> {
    let lease = pool.lease().await?;
    let spare =
        (lease.kept && request.body().is_end_stream() && request.method().is_idempotent()).then(|| repeat(&request));
    let again = match lease.send(request).await {
        Sent::Answer(response, lease) => return Ok((response, lease)),
        Sent::Unsent(request, _) => *request,
        Sent::Silent(error) => spare.ok_or(UpstreamFault::Broken(error))?,
        Sent::Broken(error) => return Err(UpstreamFault::Broken(error)),
    };
    match pool.connect().await?.send(again).await {
        Sent::Answer(response, lease) => Ok((response, lease)),
        Sent::Unsent(_, error) | Sent::Silent(error) | Sent::Broken(error) => Err(UpstreamFault::Broken(error)),
    }
}

fn repeat(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut again = Request::new(RequestBody::Empty);
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    again
}
