//! What requests are decided and carried by, as of one load of the configuration.

use std::{path::PathBuf, sync::Arc};

use super::jwks::KeyStore;
use crate::{
    config::Config,
    decide::{Gate, GateRules},
};

/// Everything that changes together when the configuration is loaded again.
pub struct State {
    /// The configuration. Listeners and worker count are those of the first load.
    pub config: Config,
    /// Decides requests by this configuration.
    pub gate: Gate,
    /// The keys of the configuration's issuers.
    pub keys: Arc<KeyStore>,
}

/// Why a configuration that was read well cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// A PEM file for TLS.
    #[error("{role} {}: {reason}", .path.display())]
    Pem {
        /// What the file is for.
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what is wanted.
        reason: String,
    },
}

impl State {
    /// Prepares to serve by `config`: reads certificates, arranges the rules.
    ///
    /// # Errors
    /// Every certificate or key file that cannot be used.
    pub fn new(config: Config, keys: Arc<KeyStore>) -> Result<Self, Vec<StateFault>> {
        let gate = Gate::new(GateRules {
            policy: config.policy.clone(),
            issuers: config.issuers.iter().map(|issuer| issuer.rules.clone()).collect(),
            identity: config.identity.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            path_bytes: config.limits.path_bytes,
            head_bytes: config.limits.head_bytes,
            token_bytes: config.limits.token_bytes,
            json_depth: config.limits.json_depth,
        });
        Ok(Self { config, gate, keys })
    }
}
