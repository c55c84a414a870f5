//! Text to types: flags, environment and file become one [`Config`], or a list of every fault.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::Uri;

use crate::decide::{IdentityHeaders, Issuer, Policy};

/// Everything that the proxy needs to run, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where and how it listens.
    pub server: Server,
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

/// Where and how the proxy listens.
#[derive(Clone, Debug)]
pub struct Server {
    /// The addresses for clients.
    pub listen: Vec<Address>,
    /// The address for health, readiness and metrics; `None` for off.
    pub admin: Option<Address>,
    /// Peers whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// TLS for clients.
    pub tls: Option<ServerTls>,
    /// Worker threads; `None` for one per core.
    pub workers: Option<std::num::NonZeroUsize>,
}

/// PEM files for TLS with clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Authorities that client certificates must come from; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// A place to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A unix-domain socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One issuer: its rules and where its keys come from.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// What its tokens must say.
    pub rules: Issuer,
    /// Where its keys come from.
    pub keys: KeySource,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// HMAC secrets, any of which may verify.
    Secrets(Vec<Secret>),
    /// A JSON Web Key Set at a URL.
    JwksUrl(Uri),
    /// A JSON Web Key Set in a file.
    JwksFile(PathBuf),
    /// An OpenID Connect discovery document that names the key set.
    Discovery(Uri),
}

/// An HMAC secret. Its `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the exact bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The exact bytes of the key.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One application behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name by which routes, logs and metrics know it.
    pub name: Box<str>,
    /// Its addresses, tried in turn.
    pub endpoints: Vec<Endpoint>,
    /// TLS towards it; `None` for plain HTTP.
    pub tls: Option<UpstreamTls>,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host name or IP address, resolved when connecting.
    Tcp {
        /// Host name or address, IPv6 without brackets.
        host: Box<str>,
        /// Port.
        port: u16,
    },
    /// A unix-domain socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// TLS towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that the certificate must be for; `None` for the endpoint's host.
    pub server_name: Option<Box<str>>,
    /// Authorities to trust instead of the well-known ones: a PEM file.
    pub ca: Option<PathBuf>,
    /// The proxy's own certificate chain and key: PEM files.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Caps on what a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers together, in bytes.
    pub head_bytes: usize,
    /// The path and query, in bytes.
    pub path_bytes: usize,
    /// A token, in bytes.
    pub token_bytes: usize,
    /// A request body, in bytes; 0 for unlimited.
    pub body_bytes: u64,
    /// Client connections at once.
    pub connections: usize,
    /// Nesting of a token's JSON.
    pub json_depth: usize,
}

/// How long the proxy waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a whole request head.
    pub request_head: Duration,
    /// Between two pieces of a body, in either direction.
    pub body_idle: Duration,
    /// For the next request on a kept connection.
    pub keep_alive: Duration,
    /// For a connection to an upstream.
    pub connect: Duration,
    /// For an upstream's response head.
    pub response_head: Duration,
    /// For exchanges in flight at shutdown.
    pub drain: Duration,
}
