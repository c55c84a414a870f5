//! One rule of the policy.

use std::time::Duration;

use http::Method;

use super::{Cors, IssuerId, Pattern};

/// The place of a route in the policy's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub usize);

/// The place of an upstream in the configuration's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub usize);

/// Who may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody; no token is looked at.
    Public,
    /// Anybody without a token, and whoever has a good one; a bad one is refused.
    Optional,
    /// Whoever has a good token.
    SignedIn,
    /// The user whose id stands in the path.
    Owner {
        /// The name of the capture that holds the id.
        capture: Box<str>,
    },
}

/// How often one user, or one address where nobody is known, may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: u32,
    /// Requests that may come at once.
    pub burst: u32,
}

/// One rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The paths that it applies to.
    pub pattern: Pattern,
    /// Who may pass.
    pub access: Access,
    /// The issuers whose tokens it trusts; unused on public routes.
    pub issuers: Box<[IssuerId]>,
    /// The methods that it answers; empty for any. `GET` includes `HEAD`.
    pub methods: Box<[Method]>,
    /// Scopes that the token must grant, all of them.
    pub scopes: Box<[Box<str>]>,
    /// Roles of which the caller must have one; empty for any.
    pub roles: Box<[Box<str>]>,
    /// Where its requests go.
    pub upstream: UpstreamId,
    /// Whether `Authorization`, token cookies and the like reach the upstream.
    pub forward_credentials: bool,
    /// The largest request body in bytes; `None` for the server's limit.
    pub body_bytes: Option<u64>,
    /// How long its upstream may take for a response head; `None` for the server's limit.
    pub response_head: Option<Duration>,
    /// How long a whole exchange may take, zero for no limit; `None` for the server's limit.
    pub exchange: Option<Duration>,
    /// Whether streams and tunnels end with the token that they were opened with.
    pub end_at_expiry: bool,
    /// Its CORS policy.
    pub cors: Option<Cors>,
    /// Its rate limit.
    pub rate_limit: Option<RateLimit>,
    /// `false` lets through, and marks, what the token, owner and scope steps would refuse.
    pub enforce: bool,
}

impl Route {
    /// Whether the route takes requests of this method.
    pub fn answers(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}
