//! What the decision reads of a request.

use http::{HeaderMap, Method, Uri, Version};

/// The head of one request as the HTTP parser delivered it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The request target, in origin or absolute form.
    pub uri: &'a Uri,
    /// The protocol version: HTTP/1.1 requires `Host`, HTTP/2 carries `:authority` in `uri`.
    pub version: Version,
    /// Every header line, in the order of arrival within a name.
    pub headers: &'a HeaderMap,
}
