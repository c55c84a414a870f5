//! How often one address may ask at all, and how often one user, or one address where nobody is known, may call a route.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::census::Household;
use crate::{
    config::Config,
    decide::{Code, Denial, Permit, RateLimit},
};

/// The limits, shared by the workers: a limit is one however many there are. What has none costs nothing.
pub(super) struct Rates {
    addresses: Option<DefaultKeyedRateLimiter<u64>>,
    /// In the order of the routes. Callers are told apart by a keyed hash, so that no text is copied for each request.
    routes: Box<[Option<DefaultKeyedRateLimiter<u64>>]>,
    hasher: RandomState,
}

impl Rates {
    pub(super) fn new(config: &Config) -> Self {
        let limiter = |limit: RateLimit| Some(RateLimiter::keyed(quota(limit)?));
        let routes = config.policy.routes().iter().map(|route| route.rate_limit.and_then(limiter)).collect();
        Self { addresses: config.limits.requests_per_address.and_then(limiter), routes, hasher: RandomState::new() }
    }

    /// Counts one request of whatever kind. Who comes over a unix socket without an address is not counted.
    ///
    /// # Errors
    /// `rate_limited` when the address has none left at the moment.
    pub(super) fn check_address(&self, address: Option<IpAddr>) -> Result<(), Denial> {
        let (Some(limiter), Some(address)) = (&self.addresses, address) else { return Ok(()) };
        let household = self.hasher.hash_one(Household::from(address));
        limiter.check_key(&household).map_err(|_| Code::RateLimited.into())
    }

    /// Counts one request that may be forwarded.
    ///
    /// # Errors
    /// `rate_limited` when the caller has none left at the moment.
    pub(super) fn check(&self, permit: &Permit, address: Option<IpAddr>) -> Result<(), Denial> {
        let Some(Some(limiter)) = self.routes.get(permit.route().0) else { return Ok(()) };
        let caller = match permit.identity() {
            Some(caller) => self.hasher.hash_one((caller.issuer(), caller.user())),
            None => self.hasher.hash_one(address.map(Household::from)),
        };
        limiter.check_key(&caller).map_err(|_| Code::RateLimited.into())
    }

    /// Forgets callers who have all their requests left again.
    pub(super) fn sweep(&self) {
        self.routes.iter().flatten().chain(&self.addresses).for_each(RateLimiter::retain_recent);
    }
}

fn quota(limit: RateLimit) -> Option<Quota> {
    Some(Quota::per_second(NonZeroU32::new(limit.per_second)?).allow_burst(NonZeroU32::new(limit.burst)?))
}
