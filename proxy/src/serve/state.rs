//! What requests are decided and carried by, as of one load of the configuration.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use tokio_rustls::TlsAcceptor;

use super::{
    jwks::KeyStore,
    tls::{self, TlsFault, UpstreamConnector},
};
use crate::{
    config::Config,
    decide::{Gate, GateRules, Route, RouteId},
};

/// Everything that changes together when the configuration is loaded again.
pub struct State {
    /// The configuration. Listeners and worker count are those of the first load.
    pub config: Config,
    /// Decides requests by this configuration.
    pub gate: Gate,
    /// The keys of the configuration's issuers.
    pub keys: Arc<KeyStore>,
    /// TLS with clients.
    pub(super) acceptor: Option<TlsAcceptor>,
    /// TLS with each upstream that wants it, in the order of the upstreams.
    pub(super) connectors: Vec<Option<UpstreamConnector>>,
}

/// Why a configuration that was read well cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be used")]
pub struct StateFault {
    /// The part of the configuration that names the certificates.
    pub place: String,
    /// What is wrong with them.
    #[source]
    pub source: TlsFault,
}

impl State {
    /// Prepares to serve by `config`: reads certificates, arranges the rules.
    ///
    /// # Errors
    /// Every part whose certificates or keys cannot be used.
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
        let mut faults = Vec::new();
        let mut note = |place: String, source| faults.push(StateFault { place, source });
        let acceptor = config
            .server
            .tls
            .as_ref()
            .and_then(|files| tls::acceptor(files).map_err(|source| note("[server.tls]".to_owned(), source)).ok());
        let connectors = config.upstreams.iter().map(|upstream| {
            let opened = UpstreamConnector::new(upstream.tls.as_ref()?);
            opened.map_err(|source| note(format!("[upstream.{}]", upstream.name), source)).ok()
        });
        let connectors = connectors.collect();
        if faults.is_empty() { Ok(Self { config, gate, keys, acceptor, connectors }) } else { Err(faults) }
    }

    pub(super) fn route(&self, id: RouteId) -> Option<&Route> {
        self.config.policy.route(id)
    }

    /// Lets a browser's script read an answer, as the route's CORS policy says.
    pub(super) fn decorate(&self, route: Option<RouteId>, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if let Some(cors) = route.and_then(|id| self.route(id)).and_then(|route| route.cors.as_ref()) {
            cors.decorate(origin, answer);
        }
    }
}
