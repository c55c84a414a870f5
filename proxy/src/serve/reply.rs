//! Refusals as answers: the one place where a [`Denial`] becomes HTTP.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use serde::Serialize;

use crate::decide::{Code, Denial};

/// RFC 9457 §3, with our own `code` and `request_id`.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
    request_id: &'a str,
}

/// The answer to a refused request. Never cached; a `HEAD` gets the head alone.
pub(super) fn refusal(denial: &Denial, request_id: &HeaderValue) -> Response<Bytes> {
    let code = denial.code;
    let problem = Problem {
        r#type: format!("urn:ownergate:problem:{code}"),
        title: code.title(),
        status: code.status().as_u16(),
        detail: denial.detail(),
        code: code.as_str(),
        request_id: request_id.to_str().unwrap_or_default(),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set_challenge(headers, denial);
    if code == Code::MethodNotAllowed {
        let methods = denial.allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        set(headers, header::ALLOW, &methods);
    }
    if let Some(seconds) = retry_after(code) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if closes(code) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// RFC 6750 §3: every 401, and the 403 that another token could mend.
fn set_challenge(headers: &mut HeaderMap, denial: &Denial) {
    let challenge = match denial.code {
        Code::TokenMissing => "Bearer realm=\"ownergate\"".to_owned(),
        Code::ScopeMissing => {
            let scope = denial.scope.as_ref().map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
            format!("Bearer realm=\"ownergate\", error=\"insufficient_scope\"{scope}")
        }
        code if code.status() == http::StatusCode::UNAUTHORIZED => {
            // The description's characters are restricted: no quotes (RFC 6750 §3).
            let description = denial.detail().replace('"', "'");
            format!("Bearer realm=\"ownergate\", error=\"invalid_token\", error_description=\"{description}\"")
        }
        _ => return,
    };
    set(headers, header::WWW_AUTHENTICATE, &challenge);
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

const fn retry_after(code: Code) -> Option<&'static str> {
    match code {
        Code::KeysUnavailable => Some("5"),
        // No rate is under one a second, so that nobody waits for longer than one.
        Code::Overloaded | Code::RateLimited => Some("1"),
        _ => None,
    }
}

/// Whether what follows on the connection cannot be trusted to be a request.
const fn closes(code: Code) -> bool {
    matches!(code, Code::RequestMalformed | Code::RequestTimeout | Code::BodyTooLarge | Code::HeadTooLarge)
}

/// A whole answer as bytes, for a connection that has no request to answer.
pub(super) fn raw(code: Code) -> Vec<u8> {
    let response = refusal(&code.into(), &HeaderValue::from_static("-"));
    let status = response.status();
    let mut text = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        if name != header::CONNECTION {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
    }
    let body = response.into_body();
    text.push_str(&format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}
