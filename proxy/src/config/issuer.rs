//! Issuers: what their tokens must say, and where their keys come from.

use std::path::PathBuf;

use http::Uri;
use toml::Value;

use super::{
    Fault, Secret, defaults, dump::Dump, given::GivenKeys, loader::Loader, route::inline, secret, section::Section,
    text::Text, url,
};
use crate::decide::{Algorithm, Issuer, KeySet, TokenSource};

/// One issuer: its rules and where its keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// What its tokens must say.
    pub rules: Issuer,
    /// Where its keys come from.
    pub keys: KeySource,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// HMAC secrets, any of which may verify.
    Secrets(Vec<Secret>),
    /// A JSON Web Key Set at a URL.
    JwksUrl(Uri),
    /// A JSON Web Key Set in a file.
    JwksFile(PathBuf),
    /// An OpenID Connect discovery document that names the key set.
    Discovery(Uri),
}

/// The keys of an issuer that say where its keys come from.
const KEY_SOURCES: [&str; 4] = ["jwks", "discovery", "secret_env", "secret_file"];

const KEY_SOURCE_WANTED: &str = "one key source: jwks, discovery, or secret_env and secret_file";

impl IssuerConfig {
    /// Reads an issuer whose keys may be fetched over plain HTTP from these hosts too.
    pub(super) fn read(
        section: &mut Section<'_>,
        name: Box<str>,
        given: Option<&GivenKeys>,
        plain_hosts: &[Box<str>],
    ) -> Option<Self> {
        let rules = read_rules(section, name);
        let keys = KeySource::read(section, given, plain_hosts)?;
        check_together(section, &rules, &keys);
        Some(Self { rules, keys })
    }
}

impl IssuerConfig {
    pub(super) fn write(&self, dump: &mut Dump<'_>) {
        let rules = &self.rules;
        dump.table("[[issuer]]");
        dump.entry("name", &*rules.name);
        self.keys.write(dump);
        dump.optional("issuer", rules.issuer.as_deref());
        dump.some("audience", &*rules.audience);
        dump.some("algorithms", &*rules.algorithms);
        dump.number("leeway_seconds", rules.leeway_seconds);
        dump.list("token_types", &*rules.token_types);
        dump.entry("user_claim", &*rules.user_claim);
        dump.list("required_claims", &*rules.required_claims);
        if let Some(seconds) = rules.max_lifetime_seconds {
            dump.number("max_lifetime_seconds", seconds);
        }
        dump.list("scope_claims", &*rules.scope_claims);
        dump.optional("role_claim", rules.role_claim.as_deref());
        dump.entry("token_from", Value::Array(rules.token_from.iter().map(written).collect()));
    }
}

fn written(source: &TokenSource) -> Value {
    match source {
        TokenSource::Header => "header".into(),
        TokenSource::Cookie(name) => inline([("cookie", (&**name).into())]),
        TokenSource::Query(name) => inline([("query", (&**name).into())]),
        TokenSource::WebSocketProtocol => "websocket-protocol".into(),
    }
}

fn read_rules(section: &mut Section<'_>, name: Box<str>) -> Issuer {
    let texts = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect();
    Issuer {
        name,
        issuer: section.parsed("issuer", Text::not_empty),
        audience: section.some_parsed("audience", Text::not_empty).unwrap_or_default(),
        algorithms: section.some_parsed("algorithms", algorithm).unwrap_or_default(),
        leeway_seconds: section.integer("leeway_seconds", 0..=300).map_or(defaults::LEEWAY_SECONDS, narrow),
        token_types: section
            .parsed_list("token_types", Text::not_empty)
            .unwrap_or_else(|| texts(&defaults::TOKEN_TYPES)),
        user_claim: section.parsed("user_claim", Text::not_empty).unwrap_or_else(|| defaults::USER_CLAIM.into()),
        required_claims: section.parsed_list("required_claims", Text::not_empty).unwrap_or_default(),
        max_lifetime_seconds: section.integer("max_lifetime_seconds", 1..=defaults::TEN_YEARS_SECONDS),
        scope_claims: section
            .parsed_list("scope_claims", Text::not_empty)
            .unwrap_or_else(|| texts(&defaults::SCOPE_CLAIMS)),
        role_claim: section.parsed("role_claim", Text::not_empty),
        token_from: token_from(section).unwrap_or_else(|| [TokenSource::Header].into()),
    }
}

fn token_from(section: &mut Section<'_>) -> Option<Box<[TokenSource]>> {
    const WANTED: &str = "\"header\", { cookie = \"NAME\" }, { query = \"NAME\" } or \"websocket-protocol\", each once";
    let variants = section.variants("token_from")?;
    let mut sources: Vec<TokenSource> = Vec::new();
    for (kind, name) in variants {
        let source = match (kind.value.as_str(), &name) {
            ("header", None) => Some(TokenSource::Header),
            ("websocket-protocol", None) => Some(TokenSource::WebSocketProtocol),
            ("cookie", Some(name)) if is_token(&name.value) => Some(TokenSource::Cookie(name.value.as_str().into())),
            ("query", Some(name)) if is_plain(&name.value) => Some(TokenSource::Query(name.value.as_str().into())),
            _ => None,
        };
        match source {
            Some(source) if !sources.contains(&source) => sources.push(source),
            Some(_) | None => section.loader.report(name.unwrap_or(kind).fault(WANTED)),
        }
    }
    Some(sources.into())
}

/// A cookie's name is a token (RFC 6265 §4.1.1), and so is a header's.
fn is_token(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// A parameter's name in its plain spelling: an escaped one would be another text.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// A number that its range keeps below 2^32.
pub(super) fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn algorithm(text: &Text) -> Result<Algorithm, Fault> {
    let names = Algorithm::ALL.map(Algorithm::as_str);
    text.parse(&format!("one of {}", names.join(", ")))
}

/// Rules that tie the keys of one issuer together.
fn check_together(section: &Section<'_>, rules: &Issuer, keys: &KeySource) {
    let secrets = matches!(keys, KeySource::Secrets(_));
    if let Some(other) = rules.algorithms.iter().find(|algorithm| algorithm.is_hmac() != secrets) {
        let wanted = if secrets { "HS256, HS384 or HS512 for a secret" } else { "public-key algorithms for a key set" };
        section.loader.report(section.fault_at("algorithms", other.as_str(), wanted));
    }
    if !secrets {
        // Without them, every token under the same keys would do: an ID token, a session cache, a logout token.
        section.require("issuer", "the iss of its tokens (--issuer): with a key set it must be checked");
        section.require("audience", "the aud of its tokens (--audience): with a key set it must be checked");
    }
}

/// Whether the file says where the issuer's keys come from.
pub(super) fn has_keys(section: &Section<'_>) -> bool {
    KEY_SOURCES.into_iter().any(|name| section.has(name))
}

impl KeySource {
    fn read(section: &mut Section<'_>, given: Option<&GivenKeys>, plain_hosts: &[Box<str>]) -> Option<Self> {
        if let Some(given) = given {
            KEY_SOURCES.into_iter().for_each(|name| section.pass_over(name));
            return Self::of_given(given, section.loader, plain_hosts);
        }
        let present = KEY_SOURCES.into_iter().filter(|name| section.has(name)).collect::<Vec<_>>();
        if !matches!(*present, ["jwks" | "discovery" | "secret_env" | "secret_file"] | ["secret_env", "secret_file"]) {
            KEY_SOURCES.into_iter().for_each(|name| section.pass_over(name));
            let found = if present.is_empty() { "nothing".to_owned() } else { present.join(" and ") };
            section.loader.report(section.fault_at(present.last().unwrap_or(&"jwks"), found, KEY_SOURCE_WANTED));
            return None;
        }
        Self::of_file(section, plain_hosts)
    }

    fn of_file(section: &mut Section<'_>, plain_hosts: &[Box<str>]) -> Option<Self> {
        let loader = section.loader;
        let jwks = section.parsed("jwks", |text| Self::of_jwks(text, loader, plain_hosts));
        let discovery = section.parsed("discovery", |text| url::read_safe(text, plain_hosts));
        let variables = section.some_parsed("secret_env", |name| Secret::read_variable(name, loader));
        let files = section.some_parsed("secret_file", |text| Secret::read_file(text, loader));
        let secrets: Vec<Secret> = variables.into_iter().chain(files).flatten().collect();
        let secrets = (!secrets.is_empty()).then_some(Self::Secrets(secrets));
        jwks.or(discovery.map(Self::Discovery)).or(secrets)
    }

    fn of_given(given: &GivenKeys, loader: &Loader<'_>, plain_hosts: &[Box<str>]) -> Option<Self> {
        match given {
            GivenKeys::Faulty => None,
            GivenKeys::Jwks(text) => loader.accept(Self::of_jwks(text, loader, plain_hosts)),
            GivenKeys::Secrets { inline, files } => {
                let inline = inline.iter().map(|text| Secret::read_inline(text, loader));
                let secrets = inline.chain(files.iter().map(|text| Secret::read_file(text, loader)));
                Some(Self::Secrets(secrets.filter_map(|secret| loader.accept(secret)).collect()))
            }
        }
    }

    fn write(&self, dump: &mut Dump<'_>) {
        match self {
            Self::JwksUrl(url) => dump.entry("jwks", url.to_string()),
            Self::JwksFile(path) => dump.entry("jwks", dump.path(path)),
            Self::Discovery(url) => dump.entry("discovery", url.to_string()),
            Self::Secrets(secrets) => secret::write(secrets, dump),
        }
    }

    fn of_jwks(text: &Text, loader: &Loader<'_>, plain_hosts: &[Box<str>]) -> Result<Self, Fault> {
        const WANTED: &str = "a file that holds a JSON Web Key Set";
        if text.value.contains("://") {
            return url::read_safe(text, plain_hosts).map(Self::JwksUrl);
        }
        let (path, content) = loader.content(text, WANTED)?;
        KeySet::from_jwks(&content, &[])
            .map_err(|fault| text.fault_finding(format!("{:?}, in which {fault}", path.display()), WANTED))?;
        Ok(Self::JwksFile(path))
    }
}
