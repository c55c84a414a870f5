//! Bodies off the wire, bounded.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::Extensions;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::problem::{Code, FieldFault, Problem};

/// The longest body that is read, in bytes: 64 KiB.
pub(crate) const BODY_BYTES: usize = 64 * 1024;

/// How much of a refused body is read and thrown away, so that a client still sending it gets to see the answer.
const DISCARDED_BYTES: usize = 1024 * 1024;

/// How long a whole body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How long throwing away may take.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// What became of the body of a request.
#[derive(Clone, Debug)]
struct Received(Result<Bytes, Fault>);

#[derive(Clone, Copy, Debug)]
enum Fault {
    TooLarge,
    CutOff,
    TooSlow,
}

/// Reads the body before anything else is looked at, whatever the answer will be.
///
/// A refusal that leaves its body unread costs the connection, and a client still sending may never see it.
pub(crate) async fn before_all(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(Received(whole(body).await));
    next.run(Request::from_parts(parts, Body::empty())).await
}

/// The body of the request, as [`before_all`] read it.
pub(crate) fn body(extensions: &mut Extensions) -> Result<Bytes, Problem> {
    let Some(Received(outcome)) = extensions.remove() else {
        return Ok(Bytes::new());
    };
    outcome.map_err(|fault| match fault {
        Fault::TooLarge => Problem::new(Code::BodyTooLarge, format!("The body may have at most {BODY_BYTES} bytes.")),
        Fault::CutOff => incomplete("the body was cut off"),
        Fault::TooSlow => incomplete("the body did not arrive in time"),
    })
}

fn incomplete(fault: &str) -> Problem {
    Problem::of_fields(Code::BodyInvalid, vec![FieldFault::new("", fault)])
}

async fn whole(mut body: Body) -> Result<Bytes, Fault> {
    if body.size_hint().lower() <= BODY_BYTES as u64 {
        match timeout(BODY_TIME, Limited::new(&mut body, BODY_BYTES).collect()).await {
            Ok(Ok(collected)) => return Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {}
            Ok(Err(_)) => return Err(Fault::CutOff),
            Err(_) => return Err(Fault::TooSlow),
        }
    }
    discard(body).await;
    Err(Fault::TooLarge)
}

/// Reads on to the end of a body that nobody wants, within bounds of size and time.
async fn discard(body: Body) {
    if body.size_hint().lower() <= DISCARDED_BYTES as u64 {
        // However this ends, the answer is the same; at worst the connection closes after it.
        let _ = timeout(DISCARD_TIME, Limited::new(body, DISCARDED_BYTES).collect()).await;
    }
}
