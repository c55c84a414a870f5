//! The service manager: sockets that it hands over (`sd_listen_fds(3)`), and what it is told (`sd_notify(3)`). systemd's
//! protocol, which others speak too; without a manager all of it does nothing.

use std::io;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::warn;

use super::listen::Queue;

/// Sockets that the service manager has bound and passed on.
pub struct Inherited {
    sockets: ListenFd,
    /// In the order of the sockets.
    names: Vec<String>,
}

impl Default for Inherited {
    /// None.
    fn default() -> Self {
        Self { sockets: ListenFd::empty(), names: Vec::new() }
    }
}

impl Inherited {
    /// What this process was given. To be called once, before there is another thread: takes the variables that tell of
    /// it out of the environment, so that no child of this process believes them.
    pub fn from_manager() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { sockets: ListenFd::from_env(), names: names.split(':').map(str::to_owned).collect() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sockets.len()
    }

    /// The sockets of this name, or all.
    ///
    /// # Errors
    /// When there is none, or one that takes no streams.
    pub(super) fn take(&mut self, name: Option<&str>) -> io::Result<Vec<Queue>> {
        let mut taken = Vec::new();
        for place in 0..self.sockets.len() {
            if name.is_none_or(|name| self.names.get(place).is_some_and(|own| own == name)) {
                taken.extend(self.take_at(place)?);
            }
        }
        if taken.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the service manager has passed no such socket"));
        }
        Ok(taken)
    }

    /// `None` when it was taken before.
    fn take_at(&mut self, place: usize) -> io::Result<Option<Queue>> {
        match self.sockets.take_tcp_listener(place) {
            Ok(socket) => Ok(socket.map(Queue::Tcp)),
            Err(_) => Ok(self.sockets.take_unix_listener(place)?.map(Queue::Unix)),
        }
    }
}

/// Tells that requests are served.
pub fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells that the configuration is being loaded again. To be followed by [`tell_ready`].
pub fn tell_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Tells that the end has begun.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(state) {
        warn!(%fault, "the service manager could not be told");
    }
}
