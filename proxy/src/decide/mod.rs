//! The decision: who calls, what may be forwarded, and with which headers.

mod algorithm;
mod bearer;
mod claims;
mod client;
mod cors;
mod decision;
mod denial;
#[cfg(test)]
mod fixture;
mod gate;
mod head;
mod headers;
mod identity;
mod issuer;
mod json;
mod jwk;
mod keys;

mod path;
mod pattern;
mod policy;
mod route;
mod scrub;
mod time;
mod token;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use client::Client;
pub use cors::Cors;
pub use decision::{Decision, Permit};
pub use denial::{Code, Denial};
pub use gate::{Admission, Gate, GateRules, Pending};
pub use head::Head;
pub use headers::{IdentityHeaders, Onward, named_by};
pub use identity::{Identity, USER_ID_BYTES, UserId, UserIdFault};
pub use issuer::{Issuer, IssuerId, TokenSource};
pub use jwk::{JwksFault, SkippedKey};
pub use keys::{IssuerKeys, KeySet, Keys, Standing};
pub use path::{PathFault, RequestPath};
pub use pattern::{Pattern, PatternFault};
pub use policy::{Policy, PolicyFault};
pub use route::{Access, RateLimit, Route, RouteId, UpstreamId};
pub use time::Timestamp;
