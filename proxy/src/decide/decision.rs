//! What the gate decided, and the proof that it did.

use std::sync::Arc;

use http::HeaderMap;

use super::{Denial, Identity, RouteId, UpstreamId};

/// The gate's answer to one request.
#[derive(Debug)]
pub enum Decision {
    /// Send it on, with the permit's headers.
    Forward(Permit),
    /// A CORS preflight: answer 204 with these headers; nothing is forwarded.
    Preflight(RouteId, HeaderMap),
    /// Refuse it; nothing is forwarded.
    Refuse(Denial),
}

/// Proof that the gate decided. Only the gate makes one, and nothing is forwarded without it. What a route with
/// `enforce = false` let through all the same stands in [`Permit::shadowed`].
#[derive(Debug)]
pub struct Permit {
    pub(super) route: RouteId,
    pub(super) upstream: UpstreamId,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) forward_credentials: bool,
    pub(super) shadowed: Option<Box<Denial>>,
}

impl Permit {
    /// The route that the request belongs to.
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// Where the request goes.
    pub fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    /// The caller; `None` where the route is public, or optional and there was no token, or not enforced and nobody was
    /// verified.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// What the route would have refused if it were enforced.
    pub fn shadowed(&self) -> Option<&Denial> {
        self.shadowed.as_deref()
    }
}
