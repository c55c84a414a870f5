//! Caps and deadlines.

use std::{ops::RangeInclusive, time::Duration};

use super::{defaults, dump::Dump, rate_limit, section::Section};
use crate::decide::RateLimit;

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
    /// Bytes of a body per second, in either direction, below which a client that is waited for falls behind; 0 for
    /// none. One that is behind by [`Timeouts::body_idle`] is given up.
    pub body_rate: u64,
    /// Client connections at once.
    pub connections: usize,
    /// Connections at once of each client address; 0 for as many as there may be in all.
    pub connections_per_address: usize,
    /// How often each client address may ask, whatever for.
    pub requests_per_address: Option<RateLimit>,
    /// Requests at once on one HTTP/2 connection of a client.
    pub streams: u32,
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
    /// For a whole exchange, from the request head to the last byte of the answer; zero for no limit.
    pub exchange: Duration,
    /// From the signal to stop, when readiness ends, to when new connections are refused.
    pub drain_delay: Duration,
    /// For exchanges in flight at shutdown.
    pub drain: Duration,
}

const MEBIBYTE: u64 = 1 << 20;

/// Seconds for an upstream's response head.
pub(super) const RESPONSE_HEAD: RangeInclusive<f64> = 0.1..=86_400.0;

/// Seconds for a whole exchange, 0 for no limit.
pub(super) const EXCHANGE: RangeInclusive<f64> = 0.0..=86_400.0;

impl Limits {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = defaults::LIMITS;
        let mut size = |name, range, default| {
            section.integer(name, range).and_then(|size| usize::try_from(size).ok()).unwrap_or(default)
        };
        Self {
            head_bytes: size("head", 1024..=MEBIBYTE, default.head_bytes),
            path_bytes: size("path", 64..=65_534, default.path_bytes),
            token_bytes: size("token", 256..=MEBIBYTE, default.token_bytes),
            connections: size("connections", 1..=1_000_000, default.connections),
            connections_per_address: size("connections_per_address", 0..=1_000_000, default.connections_per_address),
            json_depth: size("json_depth", 2..=120, default.json_depth),
            streams: streams(section).unwrap_or(default.streams),
            body_bytes: body_bytes(section, "body").unwrap_or(default.body_bytes),
            body_rate: section.integer("body_rate", 0..=MEBIBYTE).unwrap_or(default.body_rate),
            requests_per_address: rate_limit::read(section, "requests_per_address"),
        }
    }

    pub(super) fn write(&self, dump: &mut Dump<'_>) {
        dump.table("[limits]");
        dump.number("head", self.head_bytes);
        dump.number("path", self.path_bytes);
        dump.number("token", self.token_bytes);
        dump.number("body", self.body_bytes);
        dump.number("body_rate", self.body_rate);
        dump.number("connections", self.connections);
        dump.number("connections_per_address", self.connections_per_address);
        rate_limit::write(self.requests_per_address, "requests_per_address", dump);
        dump.number("streams", self.streams);
        dump.number("json_depth", self.json_depth);
    }
}

fn streams(section: &mut Section<'_>) -> Option<u32> {
    section.integer("streams", 1..=10_000).and_then(|streams| u32::try_from(streams).ok())
}

/// The size of a body, 0 for unlimited.
pub(super) fn body_bytes(section: &mut Section<'_>, name: &'static str) -> Option<u64> {
    section.integer(name, 0..=i64::MAX.unsigned_abs())
}

impl Timeouts {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = defaults::TIMEOUTS;
        let mut seconds = |name, range, default| section.seconds(name, range).unwrap_or(default);
        Self {
            request_head: seconds("request_head", 0.1..=3600.0, default.request_head),
            body_idle: seconds("body_idle", 0.1..=86_400.0, default.body_idle),
            keep_alive: seconds("keep_alive", 0.1..=86_400.0, default.keep_alive),
            connect: seconds("connect", 0.1..=300.0, default.connect),
            response_head: seconds("response_head", RESPONSE_HEAD, default.response_head),
            exchange: seconds("exchange", EXCHANGE, default.exchange),
            drain_delay: seconds("drain_delay", 0.0..=3600.0, default.drain_delay),
            drain: seconds("drain", 0.0..=86_400.0, default.drain),
        }
    }
    pub(super) fn write(&self, dump: &mut Dump<'_>) {
        dump.table("[timeouts]");
        dump.seconds("request_head", self.request_head);
        dump.seconds("body_idle", self.body_idle);
        dump.seconds("keep_alive", self.keep_alive);
        dump.seconds("connect", self.connect);
        dump.seconds("response_head", self.response_head);
        dump.seconds("exchange", self.exchange);
        dump.seconds("drain_delay", self.drain_delay);
        dump.seconds("drain", self.drain);
    }
}
