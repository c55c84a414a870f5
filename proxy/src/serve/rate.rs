//! How often one user, or one address where nobody is known, may call a route.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::decide::{Code, Denial, Permit, Policy, RateLimit};

/// The limits of all routes, shared by the workers: a limit is one however many there are. Routes without one cost
/// nothing.
pub(super) struct Rates {
    /// In the order of the routes. Callers are told apart by a keyed hash, so that no text is copied for each request.
    routes: Box<[Option<DefaultKeyedRateLimiter<u64>>]>,
    hasher: RandomState,
}

impl Rates {
    pub(super) fn new(policy: &Policy) -> Self {
        let limiter = |limit: RateLimit| Some(RateLimiter::keyed(quota(limit)?));
        let routes = policy.routes().iter().map(|route| route.rate_limit.and_then(limiter)).collect();
        Self { routes, hasher: RandomState::new() }
    }

    /// Counts one request that may be forwarded.
    ///
    /// # Errors
    /// `rate_limited` when the caller has none left at the moment.
    pub(super) fn check(&self, permit: &Permit, address: Option<IpAddr>) -> Result<(), Denial> {
        let Some(Some(limiter)) = self.routes.get(permit.route().0) else { return Ok(()) };
        let caller = match permit.identity() {
            Some(caller) => self.hasher.hash_one((caller.issuer(), caller.user())),
            None => self.hasher.hash_one(address.map(household)),
        };
        limiter.check_key(&caller).map_err(|_| Code::RateLimited.into())
    }

    /// Forgets callers who have all their requests left again.
    pub(super) fn sweep(&self) {
        self.routes.iter().flatten().for_each(RateLimiter::retain_recent);
    }
}

fn quota(limit: RateLimit) -> Option<Quota> {
    Some(Quota::per_second(NonZeroU32::new(limit.per_second)?).allow_burst(NonZeroU32::new(limit.burst)?))
}

/// One customer's IPv6 addresses share their first 64 bits; counting each alone would count nobody.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_112_an_ipv6_customer_is_one_caller_whatever_the_last_64_bits() {
        let household = |text: &str| household(text.parse().unwrap());
        assert_eq!(household("2001:db8::1"), household("2001:db8::ffff:1"));
        assert_ne!(household("2001:db8::1"), household("2001:db8:0:1::1"));
        assert_eq!(household("::ffff:192.0.2.1"), household("192.0.2.1"));
        assert_ne!(household("192.0.2.1"), household("192.0.2.2"));
    }
}
