//! `ownergate test FILE`: a table of requests and what should become of each, for operators' own CI.
//!
//! The configuration's routes and rules decide, but not its keys: each case's token is signed here, with claims that
//! the issuer's rules want where the case says no other.

use std::{collections::BTreeMap, fmt::Write, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use ownergate::{
    config::Config,
    decide::{Algorithm, Code, Decision, Gate, Head, Issuer, IssuerKeys, KeySet, Keys, Standing, Timestamp},
    serve::{State, jwks::KeyStore},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    CommandFault, jwt,
    load::{self, SettingsFault},
};

/// Seconds that a case's token is good for.
const LIFETIME: u64 = 300;

/// Signs the cases' tokens. No secret: nothing but the cases is decided by it.
const KEY: &[u8] = b"the key of ownergate test, good for nothing else";

/// Outcomes that are no refusal's code.
const FORWARD: &str = "forward";
const PREFLIGHT: &str = "preflight";

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

/// One request and what should become of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default = "get")]
    method: String,
    path: String,
    /// Claims of the token; none for no token.
    claims: Option<Map<String, Value>>,
    /// Whose token it is, where there are several issuers.
    issuer: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// `forward`, `preflight` or a refusal's code.
    expect: String,
}

fn get() -> String {
    "GET".into()
}

/// What the cases came to.
pub(super) struct Outcome {
    /// The cases that went otherwise, and a last line that counts.
    pub(super) text: String,
    /// Whether all went as expected.
    pub(super) passed: bool,
}

/// Decides every case of the file by the rules.
///
/// # Errors
/// A file that can't be read or is no table of cases, or faults of the settings.
pub(super) fn run(file: &Path, config: Config, now: Timestamp) -> Result<Outcome, CommandFault> {
    let state = bench(config)?;
    let table = Table::read(file).and_then(|table| table.decide(&state, now));
    table.with_context(|| file.display().to_string()).map_err(CommandFault::Usage)
}

impl Table {
    fn read(file: &Path) -> Result<Self> {
        let table: Self = toml::from_str(&std::fs::read_to_string(file)?)?;
        ensure!(!table.cases.is_empty(), "found no case, wanted [[case]] tables with path and expect");
        let wrong: Vec<String> = table.cases.iter().enumerate().filter_map(Case::expects_nothing).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(table)
    }

    fn decide(&self, state: &State, now: Timestamp) -> Result<Outcome> {
        let snapshot = state.keys.snapshot();
        let mut text = String::new();
        let mut failed = 0;
        for (place, case) in self.cases.iter().enumerate() {
            let found = case.decide(&state.gate, &snapshot.keys, now).with_context(|| format!("case[{place}]"))?;
            if found != case.expect {
                failed += 1;
                // Writing to a string does not fail.
                let _ = writeln!(text, "case[{place}] {} {}\n  - {}\n  + {found}", case.method, case.path, case.expect);
            }
        }
        let _ = write!(text, "{} passed, {failed} failed", self.cases.len() - failed);
        Ok(Outcome { text, passed: failed == 0 })
    }
}

/// The configuration's rules, with keys of which the private half is known.
fn bench(mut config: Config) -> Result<State, SettingsFault> {
    for issuer in &mut config.issuers {
        issuer.rules.algorithms = Box::new([Algorithm::HS256]);
    }
    // Certificates have no say in a decision, and where it is tested there may be none.
    config.server.tls = None;
    for upstream in &mut config.upstreams {
        upstream.tls = None;
    }
    let set = Arc::new(KeySet::from_secrets(&[KEY], &[Algorithm::HS256]));
    let keys = config.issuers.iter().map(|_| IssuerKeys { set: Arc::clone(&set), standing: Standing::Current });
    let keys = KeyStore::fixed(Keys(keys.collect()));
    load::prepare(config, keys)
}

impl Case {
    /// The fault of a case whose `expect` is no outcome: it could only fail.
    fn expects_nothing((place, case): (usize, &Self)) -> Option<String> {
        let mut known = [FORWARD, PREFLIGHT].into_iter().chain(Code::ALL.iter().map(|code| code.as_str()));
        (!known.any(|outcome| outcome == case.expect)).then(|| {
            format!(
                "case[{place}].expect: found {:?}, wanted forward, preflight or one of the codes, such as not_owner",
                case.expect
            )
        })
    }

    fn decide(&self, gate: &Gate, keys: &Keys, now: Timestamp) -> Result<String> {
        let method: Method = self.method.parse().with_context(|| format!("{:?} is no method", self.method))?;
        let Ok(uri) = self.path.parse::<Uri>() else {
            return Ok(Code::PathAmbiguous.to_string());
        };
        let headers = self.headers(gate, now)?;
        let head = Head { method: &method, uri: &uri, version: Version::HTTP_11, headers: &headers };
        Ok(match gate.decide(&head, keys, now) {
            Decision::Forward(_) => FORWARD.into(),
            Decision::Preflight(..) => PREFLIGHT.into(),
            Decision::Refuse(denial) => denial.code.to_string(),
        })
    }

    fn headers(&self, gate: &Gate, now: Timestamp) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().with_context(|| format!("{name:?} is no header name"))?;
            headers.append(name, value.parse().with_context(|| format!("{value:?} is no header value"))?);
        }
        headers.entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
        if let Some(claims) = &self.claims {
            let token = jwt::sign(&complete(self.issuer(gate)?, claims, now), KEY, Algorithm::HS256)?;
            headers.append(header::AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        Ok(headers)
    }

    fn issuer<'g>(&self, gate: &'g Gate) -> Result<&'g Issuer> {
        let issuers = &gate.rules().issuers;
        match &self.issuer {
            Some(name) => issuers.iter().find(|issuer| *issuer.name == **name),
            None => issuers.first(),
        }
        .with_context(|| format!("no issuer {:?}", self.issuer.as_deref().unwrap_or_default()))
    }
}

/// The case's claims over those that the issuer's rules want of any token.
fn complete(issuer: &Issuer, claims: &Map<String, Value>, now: Timestamp) -> Map<String, Value> {
    let mut all = Map::new();
    all.insert("iat".into(), json!(now.as_unix()));
    all.insert("exp".into(), json!(now.plus(LIFETIME).as_unix()));
    all.extend(issuer.issuer.as_ref().map(|name| ("iss".into(), json!(name))));
    all.extend(issuer.audience.first().map(|name| ("aud".into(), json!(name))));
    all.extend(claims.clone());
    all
}
