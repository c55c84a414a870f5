//! The settings that are both a flag and a variable.

use super::{Place, loader::Loader, section::nearest};

/// What every variable of the proxy's own begins with.
const PREFIX: &str = "OWNERGATE_";

/// A setting that is a flag and a variable.
pub(super) struct Setting {
    pub(super) flag: &'static str,
    pub(super) variable: &'static str,
    /// Whether the variable is a list, separated by commas.
    pub(super) list: bool,
}

const fn one(flag: &'static str, variable: &'static str) -> Setting {
    Setting { flag, variable, list: false }
}

const fn several(flag: &'static str, variable: &'static str) -> Setting {
    Setting { flag, variable, list: true }
}

pub(super) const CONFIG: Setting = one("--config", "OWNERGATE_CONFIG");
pub(super) const LISTEN: Setting = several("--listen", "OWNERGATE_LISTEN");
pub(super) const UPSTREAM: Setting = one("--upstream", "OWNERGATE_UPSTREAM");
pub(super) const BETTER_AUTH: Setting = one("--better-auth", "OWNERGATE_BETTER_AUTH");
pub(super) const JWKS: Setting = one("--jwks", "OWNERGATE_JWKS");
pub(super) const ISSUER: Setting = one("--issuer", "OWNERGATE_ISSUER");
pub(super) const AUDIENCE: Setting = several("--audience", "OWNERGATE_AUDIENCE");
pub(super) const SECRET: Setting = one("--secret", "OWNERGATE_SECRET");
pub(super) const SECRET_FILE: Setting = several("--secret-file", "OWNERGATE_SECRET_FILE");
pub(super) const ADMIN: Setting = one("--admin", "OWNERGATE_ADMIN");
pub(super) const TRUSTED_PROXY: Setting = several("--trusted-proxy", "OWNERGATE_TRUSTED_PROXY");
pub(super) const WORKERS: Setting = one("--workers", "OWNERGATE_WORKERS");
pub(super) const LOG_FORMAT: Setting = one("--log-format", "OWNERGATE_LOG_FORMAT");
pub(super) const LOG_LEVEL: Setting = one("--log-level", "OWNERGATE_LOG_LEVEL");
pub(super) const OTLP: Setting = one("--otlp", "OWNERGATE_OTLP");

/// Every setting that is a flag and a variable.
pub(super) const SETTINGS: [Setting; 15] = [
    CONFIG,
    LISTEN,
    UPSTREAM,
    BETTER_AUTH,
    JWKS,
    ISSUER,
    AUDIENCE,
    SECRET,
    SECRET_FILE,
    ADMIN,
    TRUSTED_PROXY,
    WORKERS,
    LOG_FORMAT,
    LOG_LEVEL,
    OTLP,
];

/// Orchestrators set variables of their own under the same prefix, so that an unknown one is no fault.
pub(super) fn warn_of_misspelt_variables(loader: &Loader<'_>) {
    let known = SETTINGS.map(|setting| setting.variable.trim_start_matches(PREFIX));
    for name in loader.environment.names().filter_map(|name| name.strip_prefix(PREFIX)) {
        let near = nearest(name, &known).filter(|near| *near != name);
        if let Some(near) = near {
            let reason = format!("no setting has this name; did you mean {PREFIX}{near}?");
            loader.warn_ignored(&Place::Variable(format!("{PREFIX}{name}").into()), &reason);
        }
    }
}
