//! Routes, and which of them a request belongs to.

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
    /// Its CORS policy.
    pub cors: Option<Cors>,
    /// Its rate limit.
    pub rate_limit: Option<RateLimit>,
    /// `false` lets through, and marks, what the token, owner and scope steps would refuse.
    pub enforce: bool,
}

/// All routes, arranged so that finding one costs the same however many there are.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    routes: Box<[Route]>,
}

/// Why routes are no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Two routes match the same requests, and neither is more specific.
    #[error("routes {first} and {second} can match the same request equally well")]
    Ambiguous {
        /// The place of one in the list, from 0.
        first: usize,
        /// The place of the other.
        second: usize,
    },
}

impl Policy {
    /// Arranges the routes.
    ///
    /// # Errors
    /// Every pair that could match the same request equally well.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<PolicyFault>> {
        Ok(Self { routes: routes.into() })
    }

    /// The route at a place that this policy gave out.
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id.0)
    }

    /// Every route, in the order of the configuration.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}
