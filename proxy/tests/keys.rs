//! Keys kept fresh: what the store does when an issuer rotates, stalls, fails, lies or is gone.

#[cfg(test)]
mod issuer;

use std::{io::Write, sync::Arc, time::Duration};

use ownergate::{
    config::{IssuerConfig, KeySource},
    decide::{Algorithm, Issuer, IssuerId, Standing, TokenSource},
    serve::jwks::{Fetcher, KeyStore, Pace},
};

use crate::issuer::{Answer, Origin, jwks};

const FIRST: IssuerId = IssuerId(0);

/// A pace at which nothing happens by itself: each fetch after the first is one that the test asks for.
const STILL: Pace = Pace {
    refresh: Duration::from_secs(3600),
    poll: Duration::from_secs(3600),
    cool_down: Duration::ZERO,
    retry: Duration::from_secs(3600),
    retry_limit: Duration::from_secs(3600),
};

/// A pace at which a caller can cause one fetch and no more.
const COOLING: Pace = Pace { cool_down: Duration::from_secs(3600), ..STILL };

fn issuer(name: &str, keys: KeySource) -> IssuerConfig {
    IssuerConfig {
        rules: Issuer {
            name: name.into(),
            issuer: Some("https://id.example".into()),
            audience: Box::new(["https://id.example".into()]),
            algorithms: Box::new([Algorithm::ES256]),
            leeway_seconds: 30,
            token_types: Box::new(["JWT".into()]),
            user_claim: "sub".into(),
            required_claims: Box::default(),
            max_lifetime_seconds: None,
            scope_claims: Box::default(),
            role_claim: None,
            token_from: Box::new([TokenSource::Header]),
        },
        keys,
    }
}

fn at(origin: &Origin) -> IssuerConfig {
    issuer("id", KeySource::JwksUrl(origin.url("/jwks")))
}

fn fetcher(time_limit: Duration) -> Fetcher {
    Fetcher::new(Arc::default(), time_limit)
}

async fn open(issuers: &[IssuerConfig], pace: Pace) -> KeyStore {
    KeyStore::open(issuers, &fetcher(Duration::from_secs(5)), pace, None).await.expect("the key sets can be opened")
}

fn held(store: &KeyStore, issuer: IssuerId) -> (usize, Standing) {
    let snapshot = store.snapshot();
    let keys = snapshot.keys.of(issuer).expect("the issuer is there");
    (keys.set.len(), keys.standing)
}

#[tokio::test]
async fn keys_are_fetched_at_start_without_anybody_asking() {
    let origin = Origin::start(Answer::document(&jwks(&["a", "b"]))).await;
    let store = open(&[at(&origin)], STILL).await;
    assert_eq!(held(&store, FIRST), (0, Standing::Unfetched));
    store.settled().await;
    assert_eq!(held(&store, FIRST), (2, Standing::Current));
    assert_eq!(origin.hits(), 1);
}

#[tokio::test]
async fn start_up_waits_for_no_issuer_and_recovers_by_itself() {
    let origin = Origin::start(Answer::Stall).await;
    let pace = Pace { cool_down: Duration::from_millis(1), refresh: Duration::from_millis(5), ..STILL };
    let store = KeyStore::open(&[at(&origin)], &fetcher(Duration::from_millis(50)), pace, None).await.unwrap();
    store.settled().await;
    assert_eq!(held(&store, FIRST), (0, Standing::Unfetched));
    origin.answers(Answer::document(&jwks(&["a"])));
    // One fetch may have been on its way when the answer changed.
    origin.hit(origin.hits() + 3).await;
    assert_eq!(held(&store, FIRST), (1, Standing::Current));
}

#[tokio::test]
async fn a_rotated_key_is_found_and_the_old_one_forgotten() {
    let origin = Origin::start(Answer::document(&jwks(&["a", "b"]))).await;
    let store = open(&[at(&origin)], COOLING).await;
    store.settled().await;
    let generation = store.generation();
    origin.answers(Answer::document(&jwks(&["c"])));
    assert!(store.refresh(FIRST).await);
    assert_eq!(held(&store, FIRST), (1, Standing::Current));
    assert!(store.generation() > generation);
}

#[tokio::test]
async fn the_same_document_again_swaps_nothing() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let store = open(&[at(&origin)], STILL).await;
    store.settled().await;
    let snapshot = store.snapshot();
    assert!(store.refresh(FIRST).await);
    assert_eq!(origin.hits(), 2);
    assert!(Arc::ptr_eq(&store.snapshot(), &snapshot));
}

#[tokio::test]
async fn row_49_a_thousand_unknown_key_ids_cause_one_fetch() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let store = open(&[at(&origin)], COOLING).await;
    store.settled().await;
    for _ in 0..1000 {
        store.refresh(FIRST).await;
    }
    assert_eq!(origin.hits(), 2);
}

#[tokio::test]
async fn callers_who_ask_together_share_one_flight_and_its_outcome() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let store = Arc::new(open(&[at(&origin)], COOLING).await);
    store.settled().await;
    let release = origin.holds(Answer::document(&jwks(&["a", "b"])));
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.refresh(FIRST).await })
        })
        .collect();
    origin.hit(2).await;
    release.notify_one();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!(origin.hits(), 2);
    assert_eq!(held(&store, FIRST), (2, Standing::Current));
}

#[tokio::test]
async fn a_failure_cools_down_as_a_success_does() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let store = open(&[at(&origin)], COOLING).await;
    store.settled().await;
    origin.answers(Answer::Status(500));
    assert!(store.refresh(FIRST).await);
    origin.answers(Answer::document(&jwks(&["b"])));
    assert!(!store.refresh(FIRST).await);
    assert_eq!((origin.hits(), held(&store, FIRST)), (2, (1, Standing::Unreachable)));
}

#[tokio::test]
async fn after_a_failed_start_callers_wait_for_the_cool_down() {
    let origin = Origin::start(Answer::Status(503)).await;
    let store = open(&[at(&origin)], COOLING).await;
    store.settled().await;
    assert!(!store.refresh(FIRST).await);
    assert_eq!((origin.hits(), held(&store, FIRST)), (1, (0, Standing::Unfetched)));
}

#[tokio::test]
async fn the_last_good_set_outlives_every_kind_of_failure() {
    let elsewhere = Origin::start(Answer::document(&jwks(&["evil"]))).await;
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let store = KeyStore::open(&[at(&origin)], &fetcher(Duration::from_millis(300)), STILL, None).await.unwrap();
    store.settled().await;
    for (name, answer) in [
        ("429", Answer::Status(429)),
        ("500", Answer::Status(500)),
        ("404", Answer::Status(404)),
        ("a stall", Answer::Stall),
        ("a slow drip", Answer::Drip),
        ("a hang-up", Answer::HangUp),
        ("junk for HTTP", Answer::raw("\u{0}\u{1}\u{2}\r\n\r\n")),
        ("junk for JSON", Answer::document("<html>")),
        ("JSON that is no key set", Answer::document(r#"{"keys":7}"#)),
        ("a document cut off", Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n{\"keys\":[")),
        ("a document of 2 MiB", Answer::document(&format!("{}{}", jwks(&["b"]), " ".repeat(2 << 20)))),
        ("an endless document", Answer::Endless),
        ("a redirect to another origin", Answer::redirect(&elsewhere.url("/jwks").to_string())),
        ("a redirect to the cloud's metadata", Answer::redirect("http://169.254.169.254/latest/meta-data")),
        ("a redirect in a circle", Answer::redirect("/jwks")),
    ] {
        origin.answers(answer);
        assert!(store.refresh(FIRST).await, "{name}");
        assert_eq!(held(&store, FIRST), (1, Standing::Unreachable), "{name}");
        origin.answers(Answer::document(&jwks(&["a"])));
        assert!(store.refresh(FIRST).await, "after {name}");
        assert_eq!(held(&store, FIRST), (1, Standing::Current), "after {name}");
    }
    assert_eq!(elsewhere.hits(), 0);
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    origin.answers_at("/old", Answer::redirect("/jwks"));
    let store = open(&[issuer("id", KeySource::JwksUrl(origin.url("/old")))], STILL).await;
    store.settled().await;
    assert_eq!(held(&store, FIRST), (1, Standing::Current));
}

#[tokio::test]
async fn an_empty_set_is_believed_when_it_is_read_twice() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let store = open(&[at(&origin)], STILL).await;
    store.settled().await;
    origin.answers(Answer::document(&jwks(&[])));
    assert!(store.refresh(FIRST).await);
    assert_eq!(held(&store, FIRST), (1, Standing::Current));
    assert!(store.refresh(FIRST).await);
    assert_eq!(held(&store, FIRST), (0, Standing::Current));
}

#[tokio::test]
async fn an_empty_set_at_start_is_the_set() {
    let origin = Origin::start(Answer::document(&jwks(&[]))).await;
    let store = open(&[at(&origin)], STILL).await;
    store.settled().await;
    assert_eq!(held(&store, FIRST), (0, Standing::Current));
}

#[tokio::test]
async fn row_51_one_unusable_key_leaves_the_others() {
    let mixed = jwks(&["a"])
        .replace('[', r#"[{"kty":"AKP","alg":"ML-DSA-44","kid":"pq"},{"kty":"OKP","crv":"X25519","x":"AA"},"#);
    let origin = Origin::start(Answer::document(&mixed)).await;
    let store = open(&[at(&origin)], STILL).await;
    store.settled().await;
    assert_eq!(held(&store, FIRST), (1, Standing::Current));
}

#[tokio::test]
async fn one_issuers_outage_is_not_anothers() {
    let stalled = Origin::start(Answer::Stall).await;
    let healthy = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let issuers = [
        issuer("stalled", KeySource::JwksUrl(stalled.url("/jwks"))),
        issuer("healthy", KeySource::JwksUrl(healthy.url("/jwks"))),
    ];
    let store = Arc::new(open(&issuers, STILL).await);
    stalled.hit(1).await;
    assert!(store.refresh(IssuerId(1)).await);
    assert_eq!(held(&store, IssuerId(0)), (0, Standing::Unfetched));
    assert_eq!(held(&store, IssuerId(1)), (1, Standing::Current));
}

#[tokio::test]
async fn keys_are_refreshed_by_themselves() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let store = open(&[at(&origin)], Pace { refresh: Duration::from_millis(5), ..STILL }).await;
    store.settled().await;
    origin.answers(Answer::document(&jwks(&["b", "c"])));
    // One fetch may have been on its way when the answer changed; when the one after the next is asked for, the next
    // has been read.
    origin.hit(origin.hits() + 3).await;
    assert_eq!(held(&store, FIRST), (2, Standing::Current));
}

#[tokio::test]
async fn discovery_finds_the_key_set_of_the_issuer_that_it_names() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let document = |issuer: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{}"}}"#, origin.url("/jwks"));
    origin.answers_at("/.well-known/openid-configuration", Answer::document(&document("https://id.example")));
    let discovered = issuer("id", KeySource::Discovery(origin.url("/")));
    let store = open(std::slice::from_ref(&discovered), STILL).await;
    store.settled().await;
    assert_eq!(held(&store, FIRST), (1, Standing::Current));

    origin.answers_at("/.well-known/openid-configuration", Answer::document(&document("https://evil.example")));
    let store = open(&[discovered], STILL).await;
    store.settled().await;
    assert_eq!(held(&store, FIRST), (0, Standing::Unfetched));
    assert!(store.report()[0].fault.as_deref().unwrap().contains("https://evil.example"));
}

#[tokio::test]
async fn a_file_is_read_before_start_and_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks(&["a"])).unwrap();
    let store = open(&[issuer("id", KeySource::JwksFile(path.clone()))], STILL).await;
    assert_eq!(held(&store, FIRST), (1, Standing::Current));
    store.settled().await;
    std::fs::write(&path, jwks(&["b", "c"])).unwrap();
    assert!(store.refresh(FIRST).await);
    assert_eq!(held(&store, FIRST), (2, Standing::Current));
    std::fs::remove_file(&path).unwrap();
    assert!(store.refresh(FIRST).await);
    assert_eq!(held(&store, FIRST), (2, Standing::Unreachable));
}

#[tokio::test]
async fn a_file_that_holds_no_key_set_is_a_start_up_fault() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"not a key set").unwrap();
    let junk = issuer("junk", KeySource::JwksFile(file.path().into()));
    let missing = issuer("missing", KeySource::JwksFile("/nonexistent/jwks.json".into()));
    let opened = KeyStore::open(&[junk, missing], &fetcher(Duration::from_secs(5)), STILL, None).await;
    let faults: Vec<String> = opened.err().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["the key set of issuer `junk` is none", "the key set of issuer `missing` could not be read"]);
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_the_same_source_until_they_are_read_again() {
    let origin = Origin::start(Answer::document(&jwks(&["a"]))).await;
    let other = Origin::start(Answer::Stall).await;
    let before = open(&[at(&origin)], STILL).await;
    before.settled().await;
    origin.answers(Answer::Stall);
    let issuers = [issuer("other", KeySource::JwksUrl(other.url("/jwks"))), at(&origin)];
    let after = KeyStore::open(&issuers, &fetcher(Duration::from_secs(5)), STILL, Some(&before)).await.unwrap();
    assert_eq!(held(&after, IssuerId(0)), (0, Standing::Unfetched));
    assert_eq!(held(&after, IssuerId(1)), (1, Standing::Current));
    assert!(after.generation() > before.generation());
}

#[tokio::test]
async fn nobody_who_listens_is_reported_with_the_reason() {
    let origin = Origin::gone().await;
    let store = open(&[issuer("id", KeySource::JwksUrl(origin))], STILL).await;
    store.settled().await;
    let report = &store.report()[0];
    assert_eq!((report.standing, report.keys), ("unfetched", 0));
    assert!(report.fault.as_deref().unwrap().contains("no connection to `127.0.0.1`"), "{report:?}");
}
