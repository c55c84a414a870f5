//! Text to types: flags, environment and file become one [`Config`], or a list of every fault.
//!
//! Pure: the environment and the reading of files are arguments. A flag goes over its variable, a variable over the
//! file, the file over the default. Each noun has a file that reads it out of a [`section::Section`], the one that knows
//! where every value stands.

mod address;
mod cors;
mod defaults;
mod dump;
mod fault;
mod flags;
mod given;
mod identity;
mod issuer;
mod issuers;
mod limits;
mod load;
mod loader;
mod log;
mod named;
mod node;
mod peers;
mod rate_limit;
mod route;
mod routes;
mod secret;
mod section;
mod server;
mod setting;
mod text;
mod traces;
mod upstream;
mod upstreams;
mod url;

use crate::decide::{IdentityHeaders, Policy};

pub use address::Address;
pub use fault::{Fault, Place, Warning};
pub use flags::{Explain, Flags, Settings, Token, Tool};
pub use issuer::{IssuerConfig, KeySource};
pub use limits::{Limits, Timeouts};
pub use loader::{Environment, ReadFile};
pub use log::{Log, LogFormat, LogLevel, UnknownName};
pub use peers::Peers;
pub use secret::{Hidden, Secret, SecretOrigin};
pub use server::{Server, ServerTls, Sockets};
pub use traces::{Ratio, Traces};
pub use upstream::{Endpoint, Upstream, UpstreamProtocol, UpstreamTls};

/// Everything that the proxy needs to run, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where and how it listens.
    pub server: Server,
    /// How its log is written.
    pub log: Log,
    /// Where traces go; `None` for nowhere.
    pub traces: Option<Traces>,
    /// The issuers, in the order that the routes' issuer ids refer to.
    pub issuers: Vec<IssuerConfig>,
    /// The upstreams, in the order that the routes' upstream ids refer to.
    pub upstreams: Vec<Upstream>,
    /// The routes.
    pub policy: Policy,
    /// What the upstream is told of the caller.
    pub identity: IdentityHeaders,
    /// Caps.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
}
