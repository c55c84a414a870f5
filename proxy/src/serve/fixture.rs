//! A state and tokens for the tests of this folder.

use std::{io::ErrorKind, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{State, jwks::KeyStore};
use crate::{
    config::{Config, Environment, Flags},
    decide::{Algorithm, Identity, IssuerKeys, KeySet, Keys, Standing, Timestamp},
};

const SECRET: &str = "a secret of thirty-two bytes or so";

/// What no key set of these tests begins with.
pub(super) const OTHER_SECRET: &str = "another secret of thirty-two bytes";

/// The default route and one secret.
pub(super) fn state() -> State {
    let arguments = ["ownergate", "--upstream", "http://127.0.0.1:9", "--secret-file", "secret.txt"];
    let flags = Flags::read(arguments.map(str::to_owned)).unwrap();
    let read =
        |path: &Path| if path.ends_with("secret.txt") { Ok(SECRET.into()) } else { Err(ErrorKind::NotFound.into()) };
    let (config, _) = Config::load(&flags.settings, &Environment::default(), &read).unwrap();
    State::new(config, Arc::new(KeyStore::fixed(keys(SECRET)))).unwrap()
}

/// The issuer's keys, where this is its secret.
pub(super) fn keys(secret: &str) -> Keys {
    let set = KeySet::from_secrets(&[secret.as_bytes()], &[Algorithm::HS256]);
    Keys(vec![IssuerKeys { set: Arc::new(set), standing: Standing::Current }])
}

/// A token of `user` that expires at second 2000 of the epoch.
pub(super) fn token(user: &str) -> String {
    token_by(SECRET, user, 2_000)
}

/// A token of `user` under this secret, which expires at this second of the epoch.
pub(super) fn token_by(secret: &str, user: &str, expiry: u64) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&format!(r#"{{"sub":"{user}","exp":{expiry}}}"#)));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
}

/// What such a token proves.
pub(super) fn identity(user: &str) -> Arc<Identity> {
    let state = state();
    let keys = state.keys.snapshot();
    state.gate.verify(&token(user), &keys.keys, Timestamp::from_unix(1_000)).unwrap()
}
