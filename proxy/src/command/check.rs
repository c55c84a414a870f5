//! `ownergate check`: whether a configuration could be served, and what it would do.

use std::fmt;

use http::Method;
use ownergate::{
    config::{Config, KeySource, Warning},
    decide::{Access, Keys, Route},
    serve::jwks::KeyStore,
};

use super::load::{self, SettingsFault};

/// Does all that serving would do before it binds or connects, and sums the configuration up.
///
/// # Errors
/// Every file that cannot be used.
pub(super) async fn check(config: Config, warnings: &[Warning]) -> Result<String, SettingsFault> {
    let summary = summary(&config, warnings);
    // Files are read; nobody is asked over the network whether a configuration is well-formed.
    let mut of_files = config.clone();
    of_files.issuers.retain(|issuer| matches!(issuer.keys, KeySource::JwksFile(_)));
    let opened = load::open_keys(&of_files, &load::fetcher(&config)).await.err();
    let prepared = load::prepare(config, KeyStore::fixed(Keys::default())).err();
    let faults: Vec<String> = [opened, prepared].into_iter().flatten().flat_map(|fault| fault.0).collect();
    if faults.is_empty() { Ok(summary) } else { Err(SettingsFault(faults)) }
}

fn summary(config: &Config, warnings: &[Warning]) -> String {
    let mut text = String::new();
    let mut line = |what: fmt::Arguments<'_>| text.push_str(&format!("{what}\n"));
    for warning in warnings {
        line(format_args!("warning: {warning}"));
    }
    for address in &config.server.listen {
        line(format_args!("listens on {address}"));
    }
    match &config.server.admin {
        Some(address) => line(format_args!("admin on {address}")),
        None => line(format_args!("admin off")),
    }
    for issuer in &config.issuers {
        line(format_args!("issuer {}: {}", issuer.rules.name, keys_text(&issuer.keys)));
    }
    for upstream in &config.upstreams {
        let endpoints: Vec<String> = upstream.endpoints.iter().map(ToString::to_string).collect();
        line(format_args!("upstream {}: {}", upstream.name, endpoints.join(", ")));
    }
    for route in config.policy.routes() {
        let upstream = config.upstreams.get(route.upstream.0).map_or("", |upstream| &*upstream.name);
        line(format_args!("route {} → {upstream}: {}", route.pattern.as_str(), route_text(config, route)));
    }
    line(format_args!("the configuration is good"));
    text
}

/// Where an issuer's keys come from; never a secret.
pub(super) fn keys_text(keys: &KeySource) -> String {
    match keys {
        KeySource::Secrets(secrets) if secrets.len() == 1 => "a secret".into(),
        KeySource::Secrets(secrets) => format!("{} secrets", secrets.len()),
        KeySource::JwksUrl(uri) => format!("key set {uri}"),
        KeySource::JwksFile(path) => format!("key set {}", path.display()),
        KeySource::Discovery(uri) => format!("discovery {uri}"),
    }
}

/// Who may pass a route.
pub(super) fn access_text(access: &Access) -> String {
    match access {
        Access::Public => "public".into(),
        Access::Optional => "optional".into(),
        Access::SignedIn => "signed-in".into(),
        Access::Owner { capture } => format!("owner {capture}"),
    }
}

fn route_text(config: &Config, route: &Route) -> String {
    let mut text = access_text(&route.access);
    let mut add = |what: &str, values: Vec<&str>| {
        if !values.is_empty() {
            text.push_str(&format!(", {what} {}", values.join(" ")));
        }
    };
    if config.issuers.len() > 1 {
        let names = route.issuers.iter().filter_map(|id| config.issuers.get(id.0));
        add("issuers", names.map(|issuer| &*issuer.rules.name).collect());
    }
    add("methods", route.methods.iter().map(Method::as_str).collect());
    add("scopes", route.scopes.iter().map(AsRef::as_ref).collect());
    add("roles", route.roles.iter().map(AsRef::as_ref).collect());
    if !route.enforce {
        text.push_str(", not enforced");
    }
    text
}
