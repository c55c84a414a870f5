//! A state and tokens for the tests of this folder.

use std::{io::ErrorKind, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{State, jwks::KeyStore};
use crate::{
    config::{Config, Environment, Flags},
    decide::{Algorithm, Identity, IssuerKeys, KeySet, Keys, Standing, Timestamp},
};

const SECRET: &str = "a secret of thirty-two bytes or so";

/// The default route and one secret.
pub(super) fn state() -> State {
    let arguments = ["ownergate", "--upstream", "http://127.0.0.1:9", "--secret-file", "secret.txt"];
    let flags = Flags::read(arguments.map(str::to_owned)).unwrap();
    let read =
        |path: &Path| if path.ends_with("secret.txt") { Ok(SECRET.into()) } else { Err(ErrorKind::NotFound.into()) };
    let (config, _) = Config::load(&flags.settings, &Environment::default(), &read).unwrap();
    let set = KeySet::from_secrets(&[SECRET.as_bytes()], &[Algorithm::HS256]);
    let keys = Keys(vec![IssuerKeys { set: Arc::new(set), standing: Standing::Current }]);
    State::new(config, Arc::new(KeyStore::fixed(keys))).unwrap()
}

/// A token of `user` that expires at second 2000 of the epoch.
pub(super) fn token(user: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&format!(r#"{{"sub":"{user}","exp":2000}}"#)));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
}

/// What such a token proves.
pub(super) fn identity(user: &str) -> Arc<Identity> {
    let state = state();
    let keys = state.keys.snapshot();
    state.gate.verify(&token(user), &keys.keys, Timestamp::from_unix(1_000)).unwrap()
}
