//! How much one user may keep.

/// Bounds on the tasks of one user; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// How many tasks.
    pub tasks: Option<u32>,
    /// How many bytes of titles and descriptions, in UTF-8.
    pub bytes: Option<u64>,
}

/// What one user keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) tasks: i64,
    pub(crate) bytes: i64,
}

impl Quota {
    /// Whether there is any bound.
    pub(crate) fn is_some(&self) -> bool {
        self.tasks.is_some() || self.bytes.is_some()
    }

    /// Whether a write may turn `before` into `after`: what shrinks is always allowed.
    pub(crate) fn admits(&self, before: Usage, after: Usage) -> bool {
        let within = |bound: Option<u64>, before, after: i64| {
            after <= before || bound.is_none_or(|bound| u64::try_from(after).is_ok_and(|after| after <= bound))
        };
        within(self.tasks.map(u64::from), before.tasks, after.tasks) && within(self.bytes, before.bytes, after.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_stops_at_the_bound_and_shrinking_never_does() {
        let quota = Quota { tasks: Some(2), bytes: Some(10) };
        let usage = |tasks, bytes| Usage { tasks, bytes };
        assert!(quota.admits(usage(1, 5), usage(2, 10)));
        assert!(!quota.admits(usage(2, 5), usage(3, 6)));
        assert!(!quota.admits(usage(1, 5), usage(2, 11)));
        assert!(quota.admits(usage(9, 99), usage(8, 50)), "a bound may have been lowered since");
        assert!(quota.admits(usage(9, 99), usage(9, 99)));
        assert!(Quota::default().admits(usage(1, 1), usage(i64::MAX, i64::MAX)));
    }
}
