//! Cross-origin resource sharing for one route (Fetch standard, "CORS protocol").

use http::{HeaderName, Method};

/// A route's CORS policy. Credentials are never allowed: the token goes in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Exact origins that may read answers, such as `https://app.example`.
    pub origins: Box<[Box<str>]>,
    /// Methods that a preflight allows.
    pub methods: Box<[Method]>,
    /// Request headers that a preflight allows.
    pub headers: Box<[HeaderName]>,
    /// Response headers that scripts may read.
    pub expose: Box<[HeaderName]>,
    /// Seconds for which a browser may keep a preflight's answer.
    pub max_age_seconds: u32,
}
