//! How many requests an upstream is given at once.
//!
//! One too many is refused at once, not queued: applications have a queue of their own, and a second one in front of it
//! lets the same requests wait for longer, until clients have left when their turn comes. Who wants a short queue sets
//! the cap above what the application works on at once.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    config::Upstream,
    decide::{Code, Denial},
};

/// One upstream's cap and what counts against it. All clones are one; each worker has one to itself, so that a slot is
/// one step in memory that workers share, and not one more for its owner.
#[derive(Clone)]
pub(super) struct Capacity {
    /// 0 for none.
    limit: usize,
    in_flight: Arc<InFlight>,
}

/// Requests that have been sent, or are about to be, and whose answers have not ended. Nothing else shares its cache
/// lines.
#[derive(Default)]
#[repr(align(128))]
struct InFlight(AtomicUsize);

/// One request's part of the capacity. Whoever holds it is in flight; dropping it makes room.
pub(super) struct Slot(Rc<Capacity>);

impl Capacity {
    pub(super) fn of(upstream: &Upstream) -> Self {
        Self { limit: upstream.requests, in_flight: Arc::default() }
    }

    /// Goes on counting where an earlier load of the configuration did: what was in flight then still is. What began
    /// without a cap was not counted, and is not.
    pub(super) fn keep_count(&mut self, previous: &Self) {
        self.in_flight = Arc::clone(&previous.in_flight);
    }

    /// Room for one more request. `None` where any number may be in flight: nothing is counted there.
    ///
    /// # Errors
    /// `overloaded` when there are as many as there may be. Nothing is written then, so that a crowd that is refused
    /// takes no cache line from the workers that serve.
    pub(super) fn take(self: &Rc<Self>) -> Result<Option<Slot>, Denial> {
        if self.limit == 0 {
            return Ok(None);
        }
        let another = |count| if count < self.limit { Some(count + 1) } else { None };
        match self.in_flight.0.fetch_update(Relaxed, Relaxed, another) {
            Ok(_) => Ok(Some(Slot(Rc::clone(self)))),
            Err(_) => Err(Denial::from(Code::Overloaded).because("the upstream has as many requests as it may have")),
        }
    }

    /// Requests in flight at the moment; `None` where they are not counted.
    pub(super) fn in_flight(&self) -> Option<usize> {
        (self.limit > 0).then(|| self.in_flight.0.load(Relaxed))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capped(limit: usize) -> Capacity {
        Capacity { limit, in_flight: Arc::default() }
    }

    #[test]
    fn there_are_never_more_than_the_cap_however_many_workers_ask() {
        let (capacity, highest) = (capped(3), AtomicUsize::new(0));
        let worker = || {
            let capacity = Rc::new(capacity.clone());
            for _ in 0..2_000 {
                let slot = capacity.take();
                highest.fetch_max(capacity.in_flight().unwrap(), Relaxed);
                std::thread::yield_now();
                drop(slot);
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(worker))));
        assert!((1..=3).contains(&highest.into_inner()));
        assert_eq!(capacity.in_flight(), Some(0));
    }

    #[test]
    fn a_cap_that_changes_counts_what_was_in_flight_before() {
        let before = Rc::new(capped(2));
        let (one, other) = (before.take().unwrap(), before.take().unwrap());
        let after = |limit| {
            let mut after = capped(limit);
            after.keep_count(&before);
            Rc::new(after)
        };
        let (lower, none, higher) = (after(1), after(0), after(3));
        drop(one);
        assert!(lower.take().is_err());
        assert!(none.take().unwrap().is_none());
        let more = [higher.take().unwrap(), higher.take().unwrap()];
        assert!(higher.take().is_err());
        drop((other, more));
        assert_eq!((before.in_flight(), higher.in_flight()), (Some(0), Some(0)));
    }
}
