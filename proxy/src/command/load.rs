//! Flags, environment and files become a configuration, and what is wrong with them one list.

use std::{
    cell::RefCell,
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ownergate::{
    config::{Config, Environment, Fault, KeySource, SecretOrigin, Settings, Warning},
    serve::{
        State,
        jwks::{Fetcher, KeyStore, Pace},
        log::chain,
        reload,
    },
};

/// For one key set, redirects and all.
const FETCH_TIME: Duration = Duration::from_secs(5);

/// Secrets that the proxy knows by name even where another key source was chosen.
const SECRETS: [&str; 2] = ["OWNERGATE_SECRET", "BETTER_AUTH_SECRET"];

/// Every fault of the settings, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct SettingsFault(pub(super) Vec<String>);

/// What was loaded, and what is unwise about it.
pub(super) struct Loaded {
    /// The configuration.
    pub(super) config: Config,
    /// The files that it stands in.
    pub(super) files: Vec<PathBuf>,
    /// What works and should not be left so.
    pub(super) warnings: Vec<Warning>,
}

impl From<Vec<Fault>> for SettingsFault {
    fn from(faults: Vec<Fault>) -> Self {
        Self(faults.iter().map(ToString::to_string).collect())
    }
}

/// Reads the settings.
///
/// # Errors
/// Every fault of flags, variables and file.
pub(super) fn load(settings: &Settings, environment: &Environment) -> Result<Loaded, Vec<Fault>> {
    let files = RefCell::new(Vec::new());
    let read = |path: &Path| {
        files.borrow_mut().push(path.to_owned());
        std::fs::read(path)
    };
    let (config, warnings) = Config::load(settings, environment, &read)?;
    let mut files = files.into_inner();
    files.extend(pem_files(&config));
    Ok(Loaded { config, files, warnings })
}

impl Loaded {
    /// What a reload needs of it.
    pub(super) fn into_reload(self) -> reload::Loaded {
        reload::Loaded { config: self.config, files: self.files }
    }

    /// The environment variables that hold secrets.
    pub(super) fn secret_variables(&self) -> Vec<String> {
        let secrets = self.config.issuers.iter().flat_map(|issuer| match &issuer.keys {
            KeySource::Secrets(secrets) => secrets.as_slice(),
            KeySource::JwksUrl(_) | KeySource::JwksFile(_) | KeySource::Discovery(_) => &[],
        });
        let named = secrets.filter_map(|secret| match secret.origin() {
            SecretOrigin::Variable(name) => Some(name.to_string()),
            SecretOrigin::CommandLine | SecretOrigin::File(_) => None,
        });
        named.chain(SECRETS.map(str::to_owned)).collect()
    }
}

/// A fetcher by the configuration's rules.
pub(super) fn fetcher(config: &Config) -> Fetcher {
    Fetcher::new(Arc::clone(&config.server.plain_http_hosts), FETCH_TIME)
}

/// Opens the keys of a configuration's issuers.
///
/// # Errors
/// Every key set file that is none.
pub(super) async fn open_keys(config: &Config, fetcher: &Fetcher) -> Result<KeyStore, SettingsFault> {
    let keys = KeyStore::open(&config.issuers, fetcher, Pace::default(), None).await;
    keys.map_err(|faults| told(&faults))
}

/// Reads certificates and arranges the rules.
///
/// # Errors
/// Every certificate and key file that cannot be used.
pub(super) fn prepare(config: Config, keys: KeyStore) -> Result<State, SettingsFault> {
    State::new(config, Arc::new(keys)).map_err(|faults| told(&faults))
}

fn told<E: Error>(faults: &[E]) -> SettingsFault {
    SettingsFault(faults.iter().map(|fault| chain(fault)).collect())
}

/// The files that are read when the configuration is put into force, not when it is loaded.
fn pem_files(config: &Config) -> Vec<PathBuf> {
    let server = config.server.tls.iter();
    let server = server.flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]);
    let upstreams = config.upstreams.iter().filter_map(|upstream| upstream.tls.as_ref()).flat_map(|tls| {
        let own = tls.client_certificate.as_ref();
        [tls.ca.as_ref(), own.map(|(certificate, _)| certificate), own.map(|(_, key)| key)]
    });
    server.chain(upstreams).flatten().cloned().collect()
}
