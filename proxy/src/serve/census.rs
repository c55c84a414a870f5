//! How many connections each client address has.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One customer's IPv6 addresses share their first 64 bits; counting each alone would count nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Household(IpAddr);

impl From<IpAddr> for Household {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => Self(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))),
        }
    }
}

/// The connections of each household. Shared by the workers, and locked only as connections that are limited open and
/// close.
#[derive(Default)]
pub(super) struct Census(Mutex<HashMap<Household, usize>>);

impl Census {
    /// Counts one more connection, or says that there are `limit` already.
    pub(super) fn enter(&self, household: Household, limit: usize) -> bool {
        let mut counts = self.counts();
        let count = counts.entry(household).or_default();
        let free = *count < limit;
        if free {
            *count += 1;
        }
        free
    }

    /// Counts one connection less.
    pub(super) fn leave(&self, household: Household) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&household) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&household);
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Household, usize>> {
        // Counts are right between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn household(text: &str) -> Household {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn row_112_an_ipv6_customer_is_one_caller_whatever_the_last_64_bits() {
        assert_eq!(household("2001:db8::1"), household("2001:db8::ffff:1"));
        assert_ne!(household("2001:db8::1"), household("2001:db8:0:1::1"));
        assert_eq!(household("::ffff:192.0.2.1"), household("192.0.2.1"));
        assert_ne!(household("192.0.2.1"), household("192.0.2.2"));
    }

    #[test]
    fn a_household_has_as_many_connections_as_its_limit_and_is_forgotten_with_the_last() {
        let census = Census::default();
        let (one, other) = (household("192.0.2.1"), household("192.0.2.2"));
        assert_eq!([one, one, one, other].map(|who| census.enter(who, 2)), [true, true, false, true]);
        census.leave(one);
        assert!(census.enter(one, 2));
        [one, one, other].into_iter().for_each(|who| census.leave(who));
        assert!(census.counts().is_empty());
    }
}
