//! One request, from its head to its response: decide, then forward with a permit or refuse without one.

use std::{
    convert::Infallible,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::{Body as _, Incoming};

use super::{
    body::{self, ResponseBody},
    connection::Link,
    forward::Forward,
    reply,
    state::State,
    tally::Tally,
    verified::fingerprint,
    watch::Phase,
    worker::Worker,
};
use crate::decide::{Admission, Decision, Denial, Gate, Head, Identity, Timestamp};

/// What a client gets: an answer of ours, or the upstream's.
pub(super) type Answer = Response<ResponseBody>;

/// The name under which proxy, backend and client speak of one exchange.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How much of a refused request's body is read, so that the refusal is not lost with a reset connection.
const DRAIN_BYTES: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Answers one request.
pub(super) async fn exchange(
    worker: Rc<Worker>,
    link: Rc<Link>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let state = worker.state();
    link.watch.set(Phase::Answer, state.config.timeouts.body_idle);
    let (parts, body) = request.into_parts();
    let bodiless = parts.method == Method::HEAD;
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let request_id = request_id(&worker, &link, &state, &parts);
    let mut tally = Tally::begin((&worker, &link), &state, &parts, request_id.clone());
    let outcome = match decide(&worker, &state, &parts).await {
        Decision::Forward(permit) => {
            tally.permitted(&permit);
            let forward = Forward { worker: &worker, link: &link, state: &state, tally: &mut tally };
            forward.run(permit, parts, body).await
        }
        Decision::Preflight(route, headers) => {
            tally.route = Some(route);
            let mut answer = own(StatusCode::NO_CONTENT, None, tally);
            *answer.headers_mut() = headers;
            return Ok(answer);
        }
        Decision::Refuse(denial) => {
            drain(&link, &parts, body).await;
            Err(denial)
        }
    };
    let route = outcome.as_ref().err().and_then(|denial| denial.route).or(tally.route);
    let mut answer = match outcome {
        Ok(forwarded) => forwarded.into_answer(tally),
        Err(denial) => refuse(denial, bodiless, tally),
    };
    state.decorate(route, origin.as_ref(), answer.headers_mut());
    answer.headers_mut().insert(REQUEST_ID, request_id);
    Ok(answer)
}

/// A new id, but a trusted proxy may have given one already.
fn request_id(worker: &Worker, link: &Link, state: &State, parts: &Parts) -> HeaderValue {
    let given = parts.headers.get(REQUEST_ID).filter(|id| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain) && state.gate.trusts(&link.client)
    });
    given.cloned().unwrap_or_else(|| worker.request_id())
}

/// The gate's decision, with tokens that are known looked up and keys that may be stale fetched once.
async fn decide(worker: &Worker, state: &State, parts: &Parts) -> Decision {
    let head = Head { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers };
    match state.gate.admit(&head) {
        Admission::Decided(decision) => decision,
        Admission::Pending(pending) => {
            let identity = identify(worker, state, pending.token()).await;
            pending.conclude(identity)
        }
    }
}

async fn identify(worker: &Worker, state: &State, token: &str) -> Result<Arc<Identity>, Denial> {
    let (fingerprint, now) = (fingerprint(token), now());
    if let Some(known) = worker.verified.borrow().find(&fingerprint, state.keys.generation(), now) {
        return Ok(known);
    }
    let (mut generation, mut verdict) = verify(&state.gate, state, token, now);
    if let Some(issuer) = verdict.as_ref().err().and_then(Denial::stale_keys)
        && state.keys.refresh(issuer).await
    {
        (generation, verdict) = verify(&state.gate, state, token, now);
    }
    let identity = verdict?;
    worker.verified.borrow_mut().keep(fingerprint, Arc::clone(&identity), generation);
    Ok(identity)
}

/// The verdict, and the generation of the keys that it was reached with.
fn verify(gate: &Gate, state: &State, token: &str, now: Timestamp) -> (u64, Result<Arc<Identity>, Denial>) {
    let snapshot = state.keys.snapshot();
    (snapshot.generation, gate.verify(token, &snapshot.keys, now))
}

/// The one place where an exchange asks for the time of day.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(since.as_secs())
}

fn refuse(denial: Denial, bodiless: bool, mut tally: Tally) -> Answer {
    let (head, body) = reply::refusal(&denial, &tally.request_id).into_parts();
    tally.denied(denial);
    let mut answer = own(head.status, (!bodiless).then_some(body), tally);
    *answer.headers_mut() = head.headers;
    answer
}

fn own(status: StatusCode, body: Option<Bytes>, mut tally: Tally) -> Answer {
    tally.status = status;
    tally.completed();
    let mut answer = Response::new(ResponseBody::Own(body, tally));
    *answer.status_mut() = status;
    answer
}

/// Reads a refused request's body to its end if that is near; else the connection is closed behind the answer.
async fn drain(link: &Link, parts: &Parts, body: Incoming) {
    let waits = parts.headers.contains_key(header::EXPECT);
    if body.is_end_stream() || waits || body.size_hint().lower() > DRAIN_BYTES {
        return;
    }
    link.watch.set(Phase::Answer, DRAIN_TIME);
    body::drain(body, DRAIN_BYTES, &link.watch).await;
}
