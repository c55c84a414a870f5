//! `Expect: 100-continue` (RFC 9110 §10.1.1): a client that waits to be asked for its body is asked when the upstream
//! asks, and not at all when the upstream refuses.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use http::{Request, StatusCode, header, request::Parts};
use tokio::time::{Sleep, sleep};

/// An upstream that says neither yes nor no for so long does not know how; then the body is sent.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the upstream has asked for the body.
#[derive(Clone, Default)]
pub(super) struct Consent(Arc<Given>);

#[derive(Default)]
struct Given {
    given: AtomicBool,
    waiting: AtomicWaker,
}

/// Waiting for the upstream's consent.
pub(super) struct Asking {
    consent: Consent,
    patience: Pin<Box<Sleep>>,
}

/// Whether the client waits to be asked.
pub(super) fn is_expected(head: &Parts) -> bool {
    head.headers.contains_key(header::EXPECT)
}

impl Consent {
    /// Learns of the upstream's interim answer to the request of this head.
    pub(super) fn watch(&self, head: &mut Parts) {
        let consent = self.clone();
        // Hyper puts it into a request's extensions, and there is only a head.
        let mut request = Request::new(());
        hyper::ext::on_informational(&mut request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                consent.0.given.store(true, Relaxed);
                consent.0.waiting.wake();
            }
        });
        head.extensions.extend(std::mem::take(request.extensions_mut()));
    }

    pub(super) fn ask(&self) -> Asking {
        Asking { consent: self.clone(), patience: Box::pin(sleep(PATIENCE)) }
    }
}

impl Asking {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.consent.0.waiting.register(context.waker());
        if self.consent.0.given.load(Relaxed) {
            return Poll::Ready(());
        }
        self.patience.as_mut().poll(context)
    }
}
