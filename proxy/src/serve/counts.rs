//! What happens too often to be counted under a name each time. Every thread has counts of its own, so that counting
//! is a load and a store in memory that no other thread writes; they are summed up when somebody looks.

use std::{
    array,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// A client's connection.
    ConnectionAccepted,
    /// One too many.
    ConnectionRefused,
    /// A token that was verified before.
    TokenKnown,
    /// A token that was not.
    TokenUnknown,
    /// A token to be verified that found its line empty.
    VerifiedAtOnce,
    /// A token to be verified that found others in its line.
    VerificationQueued,
    /// A token to be verified that found its line full.
    VerificationRefused,
    /// A new connection to an upstream.
    UpstreamConnected,
    /// None came about.
    UpstreamUnreached,
    /// An exchange that was to be recorded, while too many waited.
    ExchangeUnrecorded,
    /// Identities that are held for tokens; the one count that goes down.
    TokensHeld,
}

/// The number of counts.
const COUNTS: usize = Count::TokensHeld as usize + 1;

/// One thread's counts. Nobody else's share their cache lines.
#[repr(align(128))]
struct Counts([AtomicU64; COUNTS]);

/// The counts of every thread there has been: what a thread counted stays when it ends.
static THREADS: Mutex<Vec<Arc<Counts>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: Arc<Counts> = {
        let own = Arc::new(Counts(array::from_fn(|_| AtomicU64::new(0))));
        THREADS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&own));
        own
    };
}

/// Counts one.
pub(super) fn add(count: Count) {
    // This thread alone writes it.
    OWN.with(|own| own.0[count as usize].store(own.0[count as usize].load(Relaxed) + 1, Relaxed));
}

/// Puts this thread's count at a number.
pub(super) fn set(count: Count, number: usize) {
    OWN.with(|own| own.0[count as usize].store(number as u64, Relaxed));
}

/// How often all threads have counted it.
pub(super) fn sum(count: Count) -> u64 {
    let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    threads.iter().map(|counts| counts.0[count as usize].load(Relaxed)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_counted_is_summed_up_also_when_they_have_ended() {
        let before = sum(Count::ConnectionRefused);
        let threads: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| (0..1000).for_each(|_| add(Count::ConnectionRefused)))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(sum(Count::ConnectionRefused) - before, 4000);
    }
}
