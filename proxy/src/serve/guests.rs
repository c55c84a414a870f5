//! Connections of the admin listener: so few at once that whoever only holds them could keep everybody else out. Nobody
//! waits for a place: who was quiet for longest makes room.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{
    task::{AbortHandle, spawn_local, yield_now},
    time::Instant,
};

/// For a guest to say what it wants. Before that, it is not quiet but new.
const NEW: Duration = Duration::from_millis(250);

/// The connections that are open, the oldest first.
pub(super) struct Guests {
    places: usize,
    seated: Vec<Guest>,
}

struct Guest {
    conversation: AbortHandle,
    since: Instant,
    asked: Asked,
}

/// When a guest last asked for something, if it ever did: those that never have are the first to go.
#[derive(Clone, Default)]
pub(super) struct Asked(Rc<Cell<Option<Instant>>>);

impl Asked {
    /// A whole request has come.
    pub(super) fn note(&self) {
        self.0.set(Some(Instant::now()));
    }
}

impl Guests {
    pub(super) fn new(places: usize) -> Self {
        Self { places, seated: Vec::with_capacity(places) }
    }

    /// Takes one more connection, at the cost of another where there is no room.
    pub(super) async fn seat<C: Future<Output = ()> + 'static>(&mut self, converse: impl FnOnce(Asked) -> C) {
        self.seated.retain(|guest| !guest.conversation.is_finished());
        if self.seated.len() >= self.places {
            self.dismiss();
            // Who has just come must have been heard before it can be the next to go.
            yield_now().await;
        }
        let asked = Asked::default();
        let conversation = spawn_local(converse(asked.clone())).abort_handle();
        self.seated.push(Guest { conversation, since: Instant::now(), asked });
    }

    fn dismiss(&mut self) {
        let now = Instant::now();
        let quietest = self.seated.iter().enumerate().min_by_key(|(_, guest)| guest.claim(now));
        if let Some(place) = quietest.map(|(place, _)| place) {
            self.seated.remove(place).conversation.abort();
        }
    }
}

impl Guest {
    /// The smallest goes first: who is not new any more and has never asked, who asked long ago, and, where all are new,
    /// who came first.
    fn claim(&self, now: Instant) -> (bool, Option<Instant>) {
        let new = now.duration_since(self.since) < NEW;
        (new, if new { Some(self.since) } else { self.asked.0.get() })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::{
        sync::oneshot::{Receiver, channel, error::TryRecvError},
        task::LocalSet,
        time::advance,
    };

    use super::*;

    /// The numbers of those that are still there once all have come; some have asked for something.
    async fn left(guests: usize, apart: Duration, asks: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut seated = Guests::new(3);
        let mut ends = Vec::new();
        for number in 0..guests {
            let (stays, end) = channel::<()>();
            let asks = asks(number);
            let converse = async move |asked: Asked| {
                if asks {
                    asked.note();
                }
                let _stays = stays;
                pending::<()>().await;
            };
            seated.seat(converse).await;
            // Everybody is heard before the next one comes.
            yield_now().await;
            advance(apart).await;
            ends.push(end);
        }
        yield_now().await;
        let is_there =
            |(number, end): (usize, &mut Receiver<()>)| (end.try_recv() == Err(TryRecvError::Empty)).then_some(number);
        ends.iter_mut().enumerate().filter_map(is_there).collect()
    }

    /// Or else one that has just connected would never be heard, as long as others ask and ask.
    #[tokio::test(start_paused = true)]
    async fn who_is_new_is_not_the_quietest() {
        let cases = async {
            assert_eq!(left(5, NEW / 4, |number| number != 3).await, [2, 3, 4]);
            assert_eq!(left(8, NEW / 2, |number| number != 6).await, [5, 6, 7]);
        };
        LocalSet::new().run_until(cases).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_quietest_makes_room() {
        let cases = async {
            assert_eq!(left(3, NEW, |_| false).await, [0, 1, 2]);
            assert_eq!(left(5, NEW, |_| false).await, [2, 3, 4]);
            assert_eq!(left(5, NEW, |number| number == 0).await, [0, 3, 4]);
            assert_eq!(left(5, NEW, |_| true).await, [2, 3, 4]);
            assert_eq!(left(6, NEW, |number| number < 3).await, [1, 2, 5]);
        };
        LocalSet::new().run_until(cases).await;
    }
}
