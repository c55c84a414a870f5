//! The steps of the decision, in order: what an auditor reads first.

use std::sync::Arc;

use super::{
    Code, Decision, Denial, Head, Identity, IdentityHeaders, Issuer, Keys, Permit, Policy, RouteId, Timestamp,
    UpstreamId,
};

/// Everything that the gate decides by, but keys and time.
#[derive(Clone, Debug)]
pub struct GateRules {
    /// The routes.
    pub policy: Policy,
    /// The issuers, in the order that the routes' issuer ids refer to.
    pub issuers: Vec<Issuer>,
    /// What the upstream is told of the caller.
    pub identity: IdentityHeaders,
    /// The longest path and query, in bytes.
    pub path_bytes: usize,
    /// The longest head, in bytes, as target, header names and values with four bytes for each line's punctuation.
    pub head_bytes: usize,
    /// The longest token, in bytes.
    pub token_bytes: usize,
    /// The deepest nesting of a token's JSON.
    pub json_depth: usize,
}

/// Decides requests. Pure: the same head, keys and time give the same decision.
#[derive(Debug)]
pub struct Gate {
    rules: GateRules,
}

/// How far a request came without its token being verified.
#[derive(Debug)]
pub enum Admission<'a> {
    /// Decided: public, a preflight, or refused.
    Decided(Decision),
    /// Waiting for the token to be verified.
    Pending(Pending<'a>),
}

/// A request whose token, and nothing else, has yet to be verified.
#[derive(Debug)]
pub struct Pending<'a> {
    gate: &'a Gate,
    token: &'a str,
}

impl Gate {
    /// A gate with these rules.
    pub fn new(rules: GateRules) -> Self {
        Self { rules }
    }

    /// The rules.
    pub fn rules(&self) -> &GateRules {
        &self.rules
    }

    /// The whole decision in one call: [`Gate::admit`], [`Gate::verify`], [`Pending::conclude`].
    pub fn decide(&self, head: &Head<'_>, keys: &Keys, now: Timestamp) -> Decision {
        match self.admit(head) {
            Admission::Decided(decision) => decision,
            Admission::Pending(pending) => {
                let identity = self.verify(pending.token(), keys, now);
                pending.conclude(identity)
            }
        }
    }

    /// Steps 1 to 3, and where the token stands.
    pub fn admit<'a>(&'a self, head: &Head<'a>) -> Admission<'a> {
        let _ = head;
        Admission::Decided(Decision::Refuse(Code::RouteUnknown.into()))
    }

    /// Step 4: who the token's bearer is. The result may be kept for the same token bytes, until the identity
    /// expires or the issuer's keys or the rules change.
    ///
    /// # Errors
    /// The refusal that the token deserves.
    pub fn verify(&self, token: &str, keys: &Keys, now: Timestamp) -> Result<Arc<Identity>, Denial> {
        let _ = (token, keys, now);
        Err(Code::TokenMissing.into())
    }
}

impl Pending<'_> {
    /// The token as the client sent it.
    pub fn token(&self) -> &str {
        self.token
    }

    /// Steps 5 and 6, with what [`Gate::verify`] of this token said.
    pub fn conclude(self, identity: Result<Arc<Identity>, Denial>) -> Decision {
        let _ = self.gate;
        match identity {
            Ok(identity) => Decision::Forward(Permit {
                route: RouteId(0),
                upstream: UpstreamId(0),
                identity: Some(identity),
                forward_credentials: false,
                shadowed: None,
            }),
            Err(denial) => Decision::Refuse(denial),
        }
    }
}
