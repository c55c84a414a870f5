//! Backends that want proof get the caller's id signed by the proxy, and can verify it without asking anybody else.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use e2e::process::poll;
use e2e::recorder::Received;
use e2e::request::Request;
use serde_json::Value;

use crate::configured::{MAIN, OWNER, configured, route};
use crate::gate::Gate;
use crate::reload::rewrite;

const SIGNED: &str = "[identity]\nsigned = true\n";

fn decoded(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_else(|fault| panic!("{text:?} is no base64url: {fault}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The proxy's public keys.
fn jwks(gate: &Gate) -> Value {
    gate.proxy.ask_admin("/jwks").expect(200).json()
}

/// The only proof that reached the backend, under any spelling of its name.
#[track_caller]
fn proof(received: &Received) -> String {
    let proofs = received.head.aliases("x-ownergate-identity");
    assert_eq!(proofs.len(), 1, "not exactly one proof: {proofs:?}");
    String::from_utf8(proofs[0].1.clone()).expect("a proof is text")
}

/// Verifies a proof as a backend does, with this key set alone; its claims.
#[track_caller]
fn verified(proof: &str, jwks: &Value) -> Value {
    let (input, signature) = proof.rsplit_once('.').expect("a proof has three parts");
    let (header, claims) = input.split_once('.').expect("a proof has three parts");
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).expect("a part is JSON");
    let header = json(header);
    assert_eq!(header["alg"], "EdDSA");
    let keys = jwks["keys"].as_array().expect("a key set has keys");
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).expect("the key set has the proof's key");
    assert_eq!((text(&key["kty"]), text(&key["crv"])), ("OKP", "Ed25519"));
    assert!(key.get("d").is_none(), "the private half is told");
    let public = UnparsedPublicKey::new(&ED25519, decoded(text(&key["x"])));
    public.verify(input.as_bytes(), &decoded(signature)).expect("the proof verifies");
    json(claims)
}

#[test]
fn a_backend_can_verify_who_calls_with_the_proxys_key_set() {
    let gate = configured(&format!("{MAIN}{OWNER}{SIGNED}"));
    let before = e2e::token::now();
    let received = gate.forwards(&gate.by_alice("/api/alice/x"));
    assert_eq!(received.user(), b"alice");
    let claims = verified(&proof(&received), &jwks(&gate));
    assert_eq!((text(&claims["iss"]), text(&claims["aud"]), text(&claims["sub"])), ("ownergate", "app", "alice"));
    let time = |name: &str| claims[name].as_i64().expect("a time is a number");
    assert_eq!(time("exp") - time("iat"), 60);
    assert!((before..=e2e::token::now()).contains(&time("iat")), "signed at {}", time("iat"));
}

#[test]
fn a_clients_own_proof_never_arrives() {
    let gate = configured(&format!("{MAIN}{OWNER}{SIGNED}"));
    let stolen = proof(&gate.forwards(&Request::get("/api/bob/x").bearer(&gate.token("bob"))));
    for name in ["X-Ownergate-Identity", "x-ownergate-identity", "X_Ownergate_Identity", "x.ownergate.identity"] {
        let request = gate.by_alice("/api/alice/x").field(name, &stolen).field("Connection", "X-Ownergate-Identity");
        let claims = verified(&proof(&gate.forwards(&request)), &jwks(&gate));
        assert_eq!(claims["sub"], "alice", "{name}");
    }
}

#[test]
fn a_public_route_proves_nobody() {
    let gate = configured(&format!("{MAIN}{SIGNED}{}", route("/public/**", "access = \"public\"")));
    for request in [gate.by_alice("/public/x"), Request::get("/public/x").field("X-Ownergate-Identity", "forged")] {
        let received = gate.forwards(&request);
        assert!(received.head.aliases("x-ownergate-identity").is_empty(), "{:?}", received.head);
    }
}

#[test]
fn a_reload_keeps_the_signing_key() {
    let gate = configured(&format!("{MAIN}{OWNER}{SIGNED}"));
    let keys = jwks(&gate);
    rewrite(&gate, &format!("{MAIN}{OWNER}{SIGNED}{}", route("/news/**", "access = \"signed-in\"")));
    gate.proxy.process.signal("HUP");
    let reloaded = poll(e2e::PATIENCE, || (gate.verdict(&gate.by_alice("/news/x")) == "forwarded").then_some(()));
    assert!(reloaded.is_some(), "the new configuration never served");
    assert_eq!(jwks(&gate), keys);
    verified(&proof(&gate.forwards(&gate.by_alice("/news/y"))), &keys);
}

#[test]
fn unasked_for_there_is_neither_proof_nor_key_set() {
    let gate = configured(&format!("{MAIN}{OWNER}"));
    let received = gate.forwards(&gate.by_alice("/api/alice/x").field("X-Ownergate-Identity", "forged"));
    assert!(received.head.aliases("x-ownergate-identity").is_empty(), "{:?}", received.head);
    gate.proxy.ask_admin("/jwks").expect(404);
}
