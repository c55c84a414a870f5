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
        verdict
    }

    fn basis(&self) -> Basis {
        Basis { state: Arc::clone(&self.state), snapshot: self.state.keys.snapshot(), now: self.clock.timestamp() }
    }
}
