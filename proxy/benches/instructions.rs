//! Decides one case so many times, and does nothing else: `bench/instructions/run.py` counts the instructions that this takes.
//!
//! `instructions CASE COUNT`; without arguments, or as `cargo bench` runs it, it names the cases.

mod fixture;

use std::{hint::black_box, sync::Arc};

use fixture::{NOW, browser_headers, fixture, gate, keys};
use http::{HeaderMap, Method, Request, Uri, Version, header};
use ownergate::decide::{Admission, Client, Decision, Gate, Head, Identity, Keys};

type Case<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// One algorithm's keys, and a browser that sends a token of it.
struct Caller {
    keys: Keys,
    identity: Arc<Identity>,
    headers: HeaderMap,
    own: Uri,
}

impl Caller {
    fn new(gate: &Gate, algorithm: &str) -> Self {
        let (keys, token) = (keys(algorithm), fixture(&format!("{algorithm}/alice.jwt")));
        let identity = gate.verify(&token, &keys, NOW).expect("a good token");
        let own = format!("/api/{}/tasks?limit=20", identity.user().as_str()).parse().expect("a target");
        Self { keys, identity, headers: browser_headers(&token), own }
    }

    fn decide(&self, gate: &Gate, uri: &Uri, headers: &HeaderMap) -> Decision {
        gate.decide(black_box(&head(uri, headers)), &self.keys, NOW)
    }

    /// Decides as the proxy does on a token that it has verified before.
    fn decide_known(&self, gate: &Gate, uri: &Uri) -> Decision {
        match gate.admit(black_box(&head(uri, &self.headers))) {
            Admission::Pending(pending) => pending.conclude(Ok(Arc::clone(&self.identity))),
            Admission::Decided(decision) => decision,
        }
    }
}

fn head<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Head<'a> {
    Head { method: &Method::GET, uri, version: Version::HTTP_11, headers }
}

fn check(decision: Decision, forwards: bool) {
    assert_eq!(matches!(black_box(decision), Decision::Forward(_)), forwards);
}

fn main() {
    let gate = gate();
    let (eddsa, hs256) = (Caller::new(&gate, "EdDSA"), Caller::new(&gate, "HS256"));
    let (public, other) = (Uri::from_static("/health"), Uri::from_static("/api/bob/tasks?limit=20"));
    let mut anonymous = eddsa.headers.clone();
    anonymous.remove(header::AUTHORIZATION);
    let Decision::Forward(permit) = eddsa.decide_known(&gate, &eddsa.own) else {
        panic!("alice may ask for her tasks")
    };
    let mut request = Request::get(&eddsa.own).body(()).expect("a request");
    request.headers_mut().clone_from(&eddsa.headers);
    let (parts, client) = (request.into_parts().0, Client::new(Some([127, 0, 0, 1].into()), false));

    let cases: [Case<'_>; 9] = [
        ("a public route", Box::new(|| check(eddsa.decide(&gate, &public, &eddsa.headers), true))),
        ("an owner's route, token known", Box::new(|| check(eddsa.decide_known(&gate, &eddsa.own), true))),
        (
            "an owner's route, EdDSA token new",
            Box::new(|| check(eddsa.decide(&gate, &eddsa.own, &eddsa.headers), true)),
        ),
        (
            "an owner's route, HS256 token new",
            Box::new(|| check(hs256.decide(&gate, &hs256.own, &hs256.headers), true)),
        ),
        ("refused: no token", Box::new(|| check(eddsa.decide(&gate, &eddsa.own, &anonymous), false))),
        ("refused: not the owner, token known", Box::new(|| check(eddsa.decide_known(&gate, &other), false))),
        (
            "refused: HS256 token where EdDSA is meant",
            Box::new(|| check(eddsa.decide(&gate, &hs256.own, &hs256.headers), false)),
        ),
        ("a copy of a head", Box::new(|| drop(black_box(parts.clone())))),
        (
            "a copy of a head, and the upstream's made of it",
            Box::new(|| drop(black_box(gate.onward(&permit, Box::new(parts.clone()), &client)))),
        ),
    ];
    let mut arguments = std::env::args().skip(1);
    let chosen = arguments.next();
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1_u32);
    match cases.iter().find(|(name, _)| Some(*name) == chosen.as_deref()) {
        Some((_, decide)) => (0..count).for_each(|_| decide()),
        None => cases.iter().for_each(|(name, _)| println!("{name}")),
    }
}
