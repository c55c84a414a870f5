//! Whether a client keeps up while it is waited for: a trickle would hold a connection, and the upstream's, for ever.

use std::time::Duration;

use crate::config::Config;

/// The balance of one body: bytes buy time, waiting spends it, and nobody saves more than they began with.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes per second; 0 for any.
    rate: u64,
    /// Bytes times milliseconds per second, so that nothing is divided.
    credit: u64,
    most: u64,
    waiting_since: Option<u64>,
}

impl Pace {
    /// The pace that is wanted of clients.
    pub(super) fn of(config: &Config) -> Self {
        Self::new(config.limits.body_rate, config.timeouts.body_idle)
    }

    fn new(rate: u64, patience: Duration) -> Self {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let most = rate.saturating_mul(patience);
        Self { rate, credit: most, most, waiting_since: None }
    }

    /// It is the client's turn, from this millisecond on or an earlier one.
    pub(super) fn wait(&mut self, now: u64) {
        self.waiting_since.get_or_insert(now);
    }

    /// The client has moved so many bytes by this millisecond. Whether it is within its credit.
    pub(super) fn moved(&mut self, bytes: usize, now: u64) -> bool {
        let waited = self.waiting_since.take().map_or(0, |since| now.saturating_sub(since));
        let earned = self.credit.saturating_add((bytes as u64).saturating_mul(1_000));
        let left = earned.checked_sub(waited.saturating_mul(self.rate));
        self.credit = left.unwrap_or_default().min(self.most);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves `bytes` every `gap` milliseconds and returns the millisecond at which it was too late.
    fn falls_behind(pace: &mut Pace, bytes: usize, gap: u64) -> Option<u64> {
        (0..1_000_000 / gap).map(|turn| turn * gap).find(|now| {
            pace.wait(*now);
            !pace.moved(bytes, now + gap)
        })
    }

    fn pace() -> Pace {
        Pace::new(240, Duration::from_secs(30))
    }

    #[test]
    fn a_trickle_runs_out_of_credit_and_the_wanted_rate_never_does() {
        assert_eq!(falls_behind(&mut pace(), 240, 1_000), None);
        assert_eq!(falls_behind(&mut pace(), 1, 1_000), Some(30_000));
        assert_eq!(falls_behind(&mut pace(), 120, 1_000), Some(60_000));
    }

    #[test]
    fn what_came_fast_does_not_pay_for_a_trickle_without_end() {
        let mut pace = pace();
        assert!(pace.moved(1 << 30, 0));
        assert_eq!(falls_behind(&mut pace, 1, 1_000), Some(30_000));
    }

    #[test]
    fn a_pause_within_the_credit_is_forgiven() {
        let mut pace = pace();
        pace.wait(0);
        assert!(pace.moved(1, 29_900));
        assert_eq!(falls_behind(&mut pace, 2_400, 1_000), None);
        assert_eq!(falls_behind(&mut pace, 1, 29_000), Some(29_000), "the credit came back, once");
    }

    #[test]
    fn only_the_clients_own_turns_count() {
        let mut pace = pace();
        for hour in 0..100 {
            pace.wait(hour * 3_600_000);
            pace.wait(hour * 3_600_000 + 1);
            assert!(pace.moved(1, hour * 3_600_000 + 4));
        }
    }

    #[test]
    fn without_a_rate_any_pace_will_do() {
        assert_eq!(falls_behind(&mut Pace::new(0, Duration::from_secs(30)), 1, 100_000), None);
    }
}
