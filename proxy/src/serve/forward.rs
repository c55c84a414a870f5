//! A permitted request, sent to its upstream until there is an answer or none can come.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::{
    answer_fields::{has_one_framing, strip_hop_by_hop},
    capacity::Slot,
    connection::Link,
    consent::{self, Consent},
    dial::DialFault,
    log,
    multiplexed::{self, Fate},
    request_body::{Progress, RequestBody, Upload, Upstate},
    response_body::ResponseBody,
    signer::SIGNED_IDENTITY,
    tally::{REQUEST_ID, Tally},
    upgrade,
    upstream::{Lease, Pool, Wanted},
    watch::{Overrun, Terms, Watch},
    worker::Local,
};
use crate::{
    config::UpstreamProtocol,
    decide::{Code, Denial, Permit},
};

/// The upstream's response head, and the connection that its body comes from.
type Answer = (Response<Incoming>, Lease);

/// An upstream's answer on its way to the client.
pub(super) struct Forwarded {
    response: Response<Incoming>,
    /// What of the body came with the head and was looked at.
    first: Option<Box<Frame<Bytes>>>,
    /// `None` when the connection has become a tunnel.
    lease: Option<Lease>,
    /// `None` when the tunnel holds it, or no room is counted.
    slot: Option<Slot>,
}

/// Sends the request that `permit` allows, and waits for the head of its answer.
///
/// # Errors
/// What the client is told when no answer can be had.
pub(super) async fn forward(
    link: &Rc<Link>,
    local: &Rc<Local>,
    permit: &Permit,
    mut head: Box<Parts>,
    progress: &Rc<Progress>,
    tally: &mut Tally,
) -> Result<Forwarded, Denial> {
    let pool = local.pool(permit.upstream()).ok_or(Code::UpstreamUnreachable)?;
    // Before anything else is done: what is refused under load must cost little.
    let slot = local.slot(permit.upstream())?;
    let http2 = pool.protocol() == UpstreamProtocol::Http2;
    // HTTP/2 has no upgrades (RFC 9113 §8.6): a request for one goes on as if it were none.
    let upgrade = upgrade::asked(&mut head).filter(|_| !http2);
    link.watch().permit(&terms(link, local, permit));
    // Of HTTP/2 nothing is heard before the answer, so that there is nothing to wait for.
    let consent = (!http2 && consent::is_expected(&head)).then(Consent::default);
    let body = upload(link, local, permit, consent.as_ref(), progress)?;
    let mut head = onward(link, local, permit, pool, head, &body, tally);
    if let Some(upgrade) = &upgrade {
        upgrade.set(&mut head.headers);
    }
    if let Some(consent) = &consent {
        consent.watch(&mut head);
    }
    let asked = Instant::now();
    tally.asks(asked);
    let (mut response, lease) = send(pool, head, body, link.watch(), progress).await?;
    tally.upstream_answered(lease.endpoint(), response.status(), asked.elapsed());
    if !has_one_framing(response.headers()) {
        return Err(Denial::from(Code::UpstreamBroken).because("an answer whose end is said in two ways"));
    }
    strip_hop_by_hop(response.headers_mut());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let first = first_frame(response.body_mut()).await?;
        return Ok(Forwarded { response, first, lease: Some(lease), slot });
    }
    let Some(upgrade) = upgrade else {
        return Err(Denial::from(Code::UpstreamBroken).because("the upstream switched protocols unasked"));
    };
    upgrade.open(&mut response, terms(link, local, permit).expires_in, link, slot);
    Ok(Forwarded { response, first: None, lease: None, slot: None })
}

impl Forwarded {
    pub(super) fn into_answer(self, tally: Box<Tally>) -> Response<ResponseBody> {
        let mut answer =
            self.response.map(|body| ResponseBody::upstream(body, self.first, self.lease, self.slot, tally));
        // The connection to the client is its own; the upstream's version says nothing about it.
        *answer.version_mut() = Version::HTTP_11;
        answer
    }
}

/// What the exchange may take, by its route or else by the server.
fn terms(link: &Link, local: &Local, permit: &Permit) -> Terms {
    let (route, timeouts) = (local.state.config.policy.route(permit.route()), &local.state.config.timeouts);
    let caller = permit.identity().filter(|_| route.is_some_and(|route| route.end_at_expiry));
    Terms {
        response_head: route.and_then(|route| route.response_head).unwrap_or(timeouts.response_head),
        exchange: route.and_then(|route| route.exchange).unwrap_or(timeouts.exchange),
        expires_in: caller.map(|caller| Duration::from_secs(caller.expires_at().since(link.worker.clock.timestamp()))),
    }
}

/// The body to send: none, or what the client sends as it comes.
fn upload(
    link: &Rc<Link>,
    local: &Rc<Local>,
    permit: &Permit,
    consent: Option<&Consent>,
    progress: &Rc<Progress>,
) -> Result<RequestBody, Denial> {
    let Some(declared) = progress.declared() else { return Ok(RequestBody::Empty) };
    let config = &local.state.config;
    let own = config.policy.route(permit.route()).and_then(|route| route.body_bytes);
    let limit = match own.unwrap_or(config.limits.body_bytes) {
        0 => u64::MAX,
        limit => limit,
    };
    if declared > limit {
        return Err(Denial::from(Code::BodyTooLarge).because(format!("{declared} bytes, and the limit is {limit}")));
    }
    Ok(RequestBody::Streaming(Box::new(Upload::new(link, local, progress, limit, consent))))
}

/// The request's head as the upstream gets it, framed anew.
fn onward(
    link: &Link,
    local: &Local,
    permit: &Permit,
    pool: &Pool,
    head: Box<Parts>,
    body: &RequestBody,
    tally: &Tally,
) -> Box<Parts> {
    let http2 = pool.protocol() == UpstreamProtocol::Http2;
    let takes_trailers = http2 && takes_trailers(&head.headers);
    let mut head = local.state.gate.onward(permit, head, &link.client).into_parts();
    head.headers.insert(REQUEST_ID, tally.request_id().clone());
    if let Some(trace) = tally.trace() {
        trace.set(&mut head.headers);
    }
    // HTTP/1.0 clients may send none; what goes out needs one (RFC 9112 §3.2).
    head.headers.entry(header::HOST).or_insert_with(|| local.host_of(permit.upstream()));
    if let Some(proof) = local.proof(permit) {
        head.headers.insert(SIGNED_IDENTITY, proof);
    }
    if takes_trailers {
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if http2 {
        multiplexed::address(&mut head, pool.is_tls());
    } else if body.size_hint().exact().is_none() {
        // Without it, the client side of hyper takes a GET to have no body.
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    head
}

/// Whether the client takes what stands behind a body: gRPC insists on being asked so (RFC 9110 §10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::TE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    codings.into_iter().any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Sends once, and once more on a fresh connection if a kept one failed and that can do no harm: the request never
/// reached the upstream, or it has no body, and was refused unseen or is idempotent and not a byte of an answer came.
async fn send(
    pool: &Rc<Pool>,
    mut head: Box<Parts>,
    mut body: RequestBody,
    watch: &Watch,
    progress: &Progress,
) -> Result<Answer, Denial> {
    let mut wanted = Wanted::Any;
    loop {
        let Some(leased) = in_time(pin!(pool.lease(wanted)), watch).await else { return Err(late(progress, watch)) };
        let mut lease = leased.map_err(|fault| unreachable(&fault))?;
        let spare = if lease.is_fresh() { None } else { repeatable(&head, &body, pool) };
        let sending = lease.send(Request::from_parts(*head, body));
        let Some(outcome) = in_time(pin!(sending), watch).await else { return Err(late(progress, watch)) };
        let mut fault = match outcome {
            Ok(response) => {
                lease.proved();
                return Ok((response, lease));
            }
            Err(fault) => fault,
        };
        let fate = lease.fate(fault.error());
        let unsent = fault.take_message().map(|request| {
            let (head, body) = request.into_parts();
            (Box::new(head), body)
        });
        let again = unsent.or(spare.map(|head| (head, RequestBody::Empty)).filter(|(head, _)| match fate {
            Fate::Refused => true,
            Fate::Unknown => head.method.is_idempotent(),
            Fate::Ended => false,
        }));
        (head, body) = match again {
            Some(again) if !lease.is_fresh() => again,
            Some(_) | None => return Err(broken(progress, &fault.into_error())),
        };
        wanted = Wanted::Fresh;
    }
}

/// A copy of a head that may be sent twice (RFC 9110 §9.2.2), or that this upstream can refuse unseen.
fn repeatable(head: &Parts, body: &RequestBody, pool: &Pool) -> Option<Box<Parts>> {
    let refusable = pool.protocol() == UpstreamProtocol::Http2;
    if !(refusable || head.method.is_idempotent()) || !body.is_end_stream() {
        return None;
    }
    let mut copy = Box::new(Request::new(()).into_parts().0);
    copy.method.clone_from(&head.method);
    copy.uri.clone_from(&head.uri);
    copy.headers.clone_from(&head.headers);
    Some(copy)
}

/// `None` once the watch's deadline has passed. Takes the future by reference, so that the caller's holds it once.
async fn in_time<T>(mut future: Pin<&mut impl Future<Output = T>>, watch: &Watch) -> Option<T> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => watch.poll_expired(cx).map(|()| None),
    })
    .await
}

fn unreachable(fault: &DialFault) -> Denial {
    Denial::from(Code::UpstreamUnreachable).because(log::chain(fault))
}

fn late(progress: &Progress, watch: &Watch) -> Denial {
    match (progress.state(), watch.overrun()) {
        (Upstate::Offered | Upstate::Awaited, Some(overrun @ Overrun::Token)) => overrun.into(),
        (Upstate::Awaited, _) => Denial::from(Code::RequestTimeout).because("the client stopped sending its body"),
        (_, Some(overrun @ Overrun::Exchange)) => overrun.into(),
        (_, Some(Overrun::Token) | None) => Code::UpstreamTimeout.into(),
    }
}

fn broken(progress: &Progress, fault: &hyper::Error) -> Denial {
    match progress.state() {
        Upstate::TooLarge => Code::BodyTooLarge.into(),
        Upstate::TooSlow => Denial::from(Code::RequestTimeout).because("the client sends its body at a trickle"),
        Upstate::Cut => Denial::from(Code::RequestMalformed).because("the request's body broke off"),
        Upstate::Offered | Upstate::Unasked | Upstate::Awaited | Upstate::Whole => {
            Denial::from(Code::UpstreamBroken).because(log::chain(fault))
        }
    }
}

/// What has come already of a body without a length, which may be broken from its first byte: nobody has been told of
/// the answer yet, so that there is still another to give. What has not come is not waited for.
async fn first_frame(body: &mut Incoming) -> Result<Option<Box<Frame<Bytes>>>, Denial> {
    if body.size_hint().exact().is_some() {
        return Ok(None);
    }
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
    match polled {
        Poll::Ready(Some(Ok(first))) => Ok(Some(Box::new(first))),
        Poll::Ready(Some(Err(fault))) => Err(Denial::from(Code::UpstreamBroken).because(log::chain(&fault))),
        Poll::Ready(None) | Poll::Pending => Ok(None),
    }
}
