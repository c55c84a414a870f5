//! The decision: who calls, what may be forwarded, and with which headers.

mod cors;
mod decision;
mod denial;
mod gate;
mod head;
mod headers;
mod identity;
mod issuer;
mod keys;
mod pattern;
mod policy;
mod time;

pub use cors::Cors;
pub use decision::{Decision, Permit};
pub use denial::{Code, Denial};
pub use gate::{Admission, Gate, GateRules, Pending};
pub use head::Head;
pub use headers::{Client, IdentityHeaders, Onward};
pub use identity::{Identity, USER_ID_BYTES, UserId, UserIdFault};
pub use issuer::{Issuer, IssuerId, TokenSource};
pub use keys::{Algorithm, IssuerKeys, KeySet, Keys, Standing};
pub use pattern::{Pattern, PatternFault};
pub use policy::{Access, Policy, PolicyFault, RateLimit, Route, RouteId, UpstreamId};
pub use time::Timestamp;
