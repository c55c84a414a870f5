//! The decision with its surroundings: the gate's steps, and between them tokens that are known already and keys that
//! may have to be fetched.

use std::sync::Arc;

use super::{
    counts::{self, Count},
    verified::Fingerprint,
    verifier::{Basis, Repute, Verdict},
    worker::Local,
};
use crate::decide::{Admission, Decision, Denial, Head};

impl Local {
    /// Decides one request of a connection of this repute.
    pub(super) async fn decide(&self, head: &Head<'_>, repute: &Repute) -> Decision {
        match self.state.gate.admit(head) {
            Admission::Decided(decision) => decision,
            Admission::Pending(pending) => {
                let identity = self.identify(pending.token(), repute).await;
                pending.conclude(identity)
            }
        }
    }

    async fn identify(&self, token: &str, repute: &Repute) -> Verdict {
        let fingerprint = Fingerprint::of(token);
        let known = self.verified.borrow().find(&fingerprint, self.state.keys.generation(), self.clock.timestamp());
        match known {
            Some(identity) => {
                counts::add(Count::TokenKnown);
                Ok(identity)
            }
            None => {
                counts::add(Count::TokenUnknown);
                // On the heap, so that the requests of known callers carry nothing of it about.
                Box::pin(self.verify(token, fingerprint, repute)).await
            }
        }
    }

    /// Verifies by the keys that are here, and where those may be out of date once more by what the issuer says now.
    async fn verify(&self, token: &str, fingerprint: Fingerprint, repute: &Repute) -> Verdict {
        let mut basis = self.basis();
        let mut verdict = self.verifier.verify(token, &basis, repute).await;
        if let Some(issuer) = verdict.as_ref().err().and_then(Denial::stale_keys) {
            // Whether it could be asked says nothing: somebody else's question may have been answered meanwhile.
            self.state.keys.refresh(issuer).await;
            let renewed = self.basis();
            if !Arc::ptr_eq(&basis.snapshot, &renewed.snapshot) {
                basis = renewed;
                verdict = self.verifier.verify(token, &basis, repute).await;
            }
        }
        if let Ok(identity) = &verdict {
            self.verified.borrow_mut().keep(fingerprint, basis.snapshot.generation, identity);
        }
        // Only now: what old keys say of a new one's token says nothing of who sent it.
        repute.learn(&verdict);
        verdict
    }

    fn basis(&self) -> Basis {
        Basis { state: Arc::clone(&self.state), snapshot: self.state.keys.snapshot(), now: self.clock.timestamp() }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::task::LocalSet;

    use super::{
        super::{
            fixture::{OTHER_SECRET, keys, state, token_by},
            verifier::Verifier,
        },
        *,
    };

    /// A token that is good once the issuer publishes the other secret.
    fn early() -> String {
        token_by(OTHER_SECRET, "alice", u64::from(u32::MAX))
    }

    #[tokio::test]
    async fn a_token_of_keys_that_are_new_does_not_wait_among_forged_ones() {
        let test = async {
            let local = Local::deciding(state(), Verifier::start_for_the_reputable());
            let (token, repute) = (early(), Repute::default());
            let mut verdict = Box::pin(local.identify(&token, &repute));
            assert!(verdict.as_mut().now_or_never().is_none());
            local.state.keys.publish(keys(OTHER_SECRET));
            assert_eq!(verdict.await.unwrap().user().as_str(), "alice");
            assert!(!repute.is_bad());
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_connection_is_known_by_what_the_last_token_turned_out_to_be() {
        let test = async {
            let local = Local::deciding(state(), Verifier::start());
            let (token, repute) = (early(), Repute::default());
            assert!(local.identify(&token, &repute).await.is_err());
            assert!(repute.is_bad());
            local.state.keys.publish(keys(OTHER_SECRET));
            assert!(local.identify(&token, &repute).await.is_ok());
            assert!(!repute.is_bad());
        };
        LocalSet::new().run_until(test).await;
    }
}
