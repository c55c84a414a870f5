//! What requests are decided and carried by, as of one load of the configuration.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use tokio_rustls::TlsAcceptor;

use super::{
    capacity::Capacity,
    jwks::KeyStore,
    rate::Rates,
    signer::Signer,
    tls::{self, UpstreamConnector},
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
    /// Signs who calls, where the configuration wants it.
    pub(super) signer: Option<Arc<Signer>>,
    /// How often callers may call.
    pub(super) rates: Rates,
    /// How many requests each upstream is given at once, in the order of the upstreams.
    pub(super) capacities: Box<[Capacity]>,
    /// TLS with clients.
    pub(super) acceptor: Option<TlsAcceptor>,
    /// When the certificate that clients are shown ends, from the Unix epoch.
    pub(super) certificate_expiry: Option<Duration>,
    /// TLS with each upstream that wants it, in the order of the upstreams.
    pub(super) connectors: Vec<Option<UpstreamConnector>>,
}

/// Why a configuration that was read well cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be used")]
pub struct StateFault {
    /// The part of the configuration.
    pub place: String,
    /// What is wrong with what it names.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl State {
    /// Prepares to serve by `config`: reads certificates, arranges the rules.
    ///
    /// # Errors
    /// Every part whose certificates or keys cannot be used or made.
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
        let signer = config.identity.signed.then(|| Signer::generate().map(Arc::new)).transpose();
        let signer = signer.map_err(|source| note("[identity]".to_owned(), source.into())).ok().flatten();
        let acceptor = config.server.tls.as_ref().and_then(|files| {
            tls::acceptor(files).map_err(|source| note("[server.tls]".to_owned(), source.into())).ok()
        });
        let certificate_expiry = config.server.tls.as_ref().and_then(|files| tls::expiry(&files.certificate));
        let connectors = config.upstreams.iter().map(|upstream| {
            let opened = UpstreamConnector::new(upstream.tls.as_ref()?, upstream.protocol);
            opened.map_err(|source| note(format!("[upstream.{}]", upstream.name), source.into())).ok()
        });
        let connectors = connectors.collect();
        if faults.is_empty() {
            Ok(Self {
                rates: Rates::new(&config),
                capacities: config.upstreams.iter().map(Capacity::of).collect(),
                config,
                gate,
                keys,
                signer,
                acceptor,
                certificate_expiry,
                connectors,
            })
        } else {
            Err(faults)
        }
    }

    /// Goes on with what outlasts a load: the key that backends know, and the count of what is in flight to each.
    pub(super) fn keep(&mut self, previous: &Self) {
        if let (Some(own), Some(known)) = (&mut self.signer, &previous.signer) {
            *own = Arc::clone(known);
        }
        for (upstream, capacity) in self.config.upstreams.iter().zip(&mut self.capacities) {
            let mut known = previous.config.upstreams.iter().zip(&previous.capacities);
            if let Some((_, counted)) = known.find(|(known, _)| known.name == upstream.name) {
                capacity.keep_count(counted);
            }
        }
    }

    /// The requests in flight to each upstream that has a cap, with its name.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (&str, usize)> {
        let upstreams = self.config.upstreams.iter().zip(&self.capacities);
        upstreams.filter_map(|(upstream, capacity)| Some((&*upstream.name, capacity.in_flight()?)))
    }

    /// The public half of the key that identities are signed with, as a key set; `None` where none is.
    pub fn jwks(&self) -> Option<&str> {
        self.signer.as_deref().map(Signer::jwks)
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
