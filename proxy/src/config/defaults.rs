//! What holds where nothing is said.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{Limits, Timeouts};

pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
pub(super) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// The one route where no other is named.
pub(super) const PATH: &str = "/api/{user_id}/**";
pub(super) const OWNER: &str = "user_id";

/// The name of an issuer or upstream that nobody named.
pub(super) const NAME: &str = "default";

/// No cap: what an application can do at once is known to its operator alone, and as streams and tunnels count for as
/// long as they live, any number would turn somebody's away.
pub(super) const UPSTREAM_REQUESTS: usize = 0;

pub(super) const LEEWAY_SECONDS: u32 = 30;
pub(super) const TOKEN_TYPES: [&str; 1] = ["JWT"];
pub(super) const USER_CLAIM: &str = "sub";
pub(super) const SCOPE_CLAIMS: [&str; 2] = ["scope", "scp"];
pub(super) const TEN_YEARS_SECONDS: u64 = 10 * 365 * 86_400;

pub(super) const SERVICE_NAME: &str = "ownergate";

pub(super) const IDENTITY_HEADER: &str = "x-user-id";

pub(super) const CORS_METHODS: [http::Method; 6] = [
    http::Method::GET,
    http::Method::HEAD,
    http::Method::POST,
    http::Method::PUT,
    http::Method::PATCH,
    http::Method::DELETE,
];
pub(super) const CORS_HEADERS: [http::HeaderName; 2] = [http::header::AUTHORIZATION, http::header::CONTENT_TYPE];
pub(super) const CORS_MAX_AGE_SECONDS: u32 = 600;

pub(super) const LIMITS: Limits = Limits {
    head_bytes: 32_768,
    path_bytes: 8192,
    token_bytes: 16_384,
    body_bytes: 0,
    body_rate: 240,
    connections: 10_000,
    connections_per_address: 0,
    requests_per_address: None,
    streams: 128,
    json_depth: 32,
};

pub(super) const TIMEOUTS: Timeouts = Timeouts {
    request_head: Duration::from_secs(10),
    body_idle: Duration::from_secs(30),
    keep_alive: Duration::from_secs(75),
    connect: Duration::from_secs(2),
    response_head: Duration::from_secs(60),
    exchange: Duration::ZERO,
    drain_delay: Duration::ZERO,
    drain: Duration::from_secs(30),
};
