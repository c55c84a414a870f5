//! Requests as bytes, for tests that don't care about every one of them.

/// A request under construction. It has a `Host` unless one is given or [`Request::without_host`] is called.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    host: bool,
}

impl Request {
    /// Any method, any target: nothing is checked or escaped.
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self { method: method.to_owned(), target: target.as_ref().to_vec(), fields: Vec::new(), body: None, host: true }
    }

    /// A GET of `target`.
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    /// A POST of `body` to `target`, with its length.
    pub fn post(target: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target).body(body)
    }

    /// One more field; repeats are sent as they come.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.host &= !name.eq_ignore_ascii_case("host");
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// `Authorization: Bearer` with this token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.field("Authorization", format!("Bearer {token}"))
    }

    /// A body with its `Content-Length`.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self.field("Content-Length", body.as_ref().len().to_string())
    }

    /// A body whose framing the caller's own fields tell.
    #[must_use]
    pub fn raw_body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// A body of these chunks.
    #[must_use]
    pub fn chunked(self, chunks: &[&str]) -> Self {
        let mut framed = String::new();
        for chunk in chunks {
            framed += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
        }
        self.field("Transfer-Encoding", "chunked").raw_body(framed + "0\r\n\r\n")
    }

    /// A JSON body.
    #[must_use]
    pub fn json(self, body: impl AsRef<[u8]>) -> Self {
        self.field("Content-Type", "application/json").body(body)
    }

    /// No `Host` line at all.
    #[must_use]
    pub fn without_host(mut self) -> Self {
        self.host = false;
        self
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend_from_slice(&self.target);
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        if self.host {
            bytes.extend_from_slice(b"Host: app.test\r\n");
        }
        for (name, value) in &self.fields {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Whether the answer has no body (RFC 9110 §9.3.2).
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}
