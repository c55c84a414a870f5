//! One request, from its head to its answer.

use std::{convert::Infallible, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::{
    connection::Link,
    forward::forward,
    reply,
    request_body::Progress,
    response_body::ResponseBody,
    tally::{REQUEST_ID, Tally},
    worker::Local,
};
use crate::decide::{Code, Decision, Denial, Head};

/// Begins with the request's head, and ends with that of its answer.
///
/// A plain function: an asynchronous one would keep room for the whole request beside its parts, and its future is moved
/// to the heap for every request.
pub(super) fn exchange(
    link: Rc<Link>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> {
    let local = link.worker.local();
    let (parts, body) = request.into_parts();
    // On the heap, because it goes through many hands.
    let parts = Box::new(parts);
    let progress = Rc::new(Progress::of(body, &parts));
    link.watch().begin(progress.declared().is_none());
    let tally = Tally::begin(&link, &local, &parts, &progress);
    answer(link, local, parts, progress, tally)
}

/// Decides the request and answers it: with the upstream's answer where it may be forwarded, with the proxy's own
/// where it may not, or where the upstream gives none.
async fn answer(
    link: Rc<Link>,
    local: Rc<Local>,
    parts: Box<Parts>,
    progress: Rc<Progress>,
    mut tally: Box<Tally>,
) -> Result<Response<ResponseBody>, Infallible> {
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let head = Head { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers };
    // `if` and not `match`, here and below: what is matched on lives to the end of the match, and the future would keep
    // room for it over the wait. It stays under a kilobyte, which the allocator hands out by its short way.
    let decision = if let Err(denial) = local.state.rates.check_address(tally.client()) {
        Decision::Refuse(denial)
    } else if link.watch().is_suspect() {
        Decision::Refuse(Denial::from(Code::RequestMalformed).because("a line that ends with LF alone"))
    } else {
        local.decide(&head, &link.repute).await
    };
    let mut answer = match decision {
        Decision::Forward(permit) => {
            tally.permitted(&permit);
            let forwarded = if let Err(denial) = local.state.rates.check(&permit, tally.client()) {
                Err(denial)
            } else {
                forward(&link, &local, &permit, parts, &progress, &mut tally).await
            };
            match forwarded {
                Ok(forwarded) => forwarded.into_answer(tally),
                Err(denial) => refuse(denial, tally),
            }
        }
        Decision::Preflight(route, headers) => {
            tally.routed(route);
            // The policy has spoken: nothing of it is added.
            return Ok(with_request_id(own(StatusCode::NO_CONTENT, headers, Bytes::new(), tally)));
        }
        Decision::Refuse(denial) => refuse(denial, tally),
    };
    let route = answer.body().route();
    local.state.decorate(route, origin.as_ref(), answer.headers_mut());
    if progress.is_unasked() {
        // Whether the body still comes is the client's choice (RFC 9110 §10.1.1): what comes next has two readings.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(with_request_id(answer))
}

/// The answer, with the id of its exchange.
fn with_request_id(mut answer: Response<ResponseBody>) -> Response<ResponseBody> {
    let request_id = answer.body().request_id().clone();
    answer.headers_mut().insert(REQUEST_ID, request_id);
    answer
}

/// The proxy's answer to what it refuses, and to what its upstream fails.
fn refuse(denial: Denial, mut tally: Box<Tally>) -> Response<ResponseBody> {
    let (head, body) = reply::refusal(&denial, tally.request_id()).into_parts();
    tally.denied(denial);
    own(head.status, head.headers, body, tally)
}

fn own(status: StatusCode, mut headers: HeaderMap, mut body: Bytes, mut tally: Box<Tally>) -> Response<ResponseBody> {
    tally.answered(status);
    tally.abandon_request();
    if tally.is_head_alone() {
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        body.clear();
    }
    let mut answer = Response::new(ResponseBody::own(body, tally));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}
