//! Connections of the admin listener: so few at once that whoever only holds them could keep everybody else out. Nobody
//! waits for a place: who was quiet for longest makes room.

use std::{cell::Cell, rc::Rc};

use tokio::{
    task::{AbortHandle, spawn_local, yield_now},
    time::Instant,
};

/// The connections that are open, the oldest first.
pub(super) struct Guests {
    places: usize,
    seated: Vec<Guest>,
}

struct Guest {
    conversation: AbortHandle,
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
        self.seated.push(Guest { conversation, asked });
    }

    fn dismiss(&mut self) {
        let quietest = self.seated.iter().enumerate().min_by_key(|(_, guest)| guest.asked.0.get());
        if let Some(place) = quietest.map(|(place, _)| place) {
            self.seated.remove(place).conversation.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::{
        sync::oneshot::{Receiver, channel, error::TryRecvError},
        task::LocalSet,
    };

    use super::*;

    /// The numbers of those that are still there once all have come; some have asked for something.
    async fn left(guests: usize, asks: impl Fn(usize) -> bool) -> Vec<usize> {
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
            ends.push(end);
        }
        yield_now().await;
        let is_there =
            |(number, end): (usize, &mut Receiver<()>)| (end.try_recv() == Err(TryRecvError::Empty)).then_some(number);
        ends.iter_mut().enumerate().filter_map(is_there).collect()
    }

    #[tokio::test]
    async fn the_quietest_makes_room() {
        let cases = async {
            assert_eq!(left(3, |_| false).await, [0, 1, 2]);
            assert_eq!(left(5, |_| false).await, [2, 3, 4]);
            assert_eq!(left(5, |number| number == 0).await, [0, 3, 4]);
            assert_eq!(left(5, |_| true).await, [2, 3, 4]);
            assert_eq!(left(6, |number| number < 3).await, [1, 2, 5]);
        };
        LocalSet::new().run_until(cases).await;
    }
}
