//! Routes: which paths, for whom, and where to.

use http::Method;
use toml::Value;

use super::{
    Config, Fault, IssuerConfig, Place, Upstream, cors,
    dump::Dump,
    limits::{EXCHANGE, RESPONSE_HEAD, body_bytes},
    named::{Named, names},
    rate_limit,
    section::Section,
    text::Text,
};
use crate::decide::{Access, IssuerId, Pattern, Route, UpstreamId};

/// A route, and where its path stands.
pub(super) struct Placed {
    pub(super) route: Route,
    pub(super) key: String,
    pub(super) place: Place,
}

/// What the keys of a route mean only where a token is looked at.
const TOKEN_KEYS: [&str; 5] = ["issuers", "scopes", "roles", "enforce", "end_at_expiry"];

pub(super) fn read(section: &mut Section<'_>, named: &Named<'_>) -> Option<Placed> {
    section.require("path", "a path pattern such as \"/api/{user_id}/**\"");
    section.require("access", ACCESS_WANTED);
    let path = section.text("path");
    let pattern = path.as_ref().and_then(|text| section.loader.accept(pattern(text)));
    let access = read_access(section, pattern.as_ref());
    let public = access == Some(Access::Public);
    let methods = section.some_parsed("methods", method).unwrap_or_default();
    let issuers = read_issuers(section, named, public);
    let roles = section.some_parsed("roles", Text::not_empty).unwrap_or_default();
    check_roles(section, named, &issuers, &roles);
    let scopes = section.some_parsed("scopes", scope).unwrap_or_default();
    let upstream = read_upstream(section, named);
    let forward_credentials = section.boolean("forward_credentials").unwrap_or(public);
    let body_bytes = body_bytes(section, "body_bytes");
    let response_head = section.seconds("response_head_seconds", RESPONSE_HEAD);
    let exchange = section.seconds("exchange_seconds", EXCHANGE);
    let end_at_expiry = section.boolean("end_at_expiry").unwrap_or(true);
    let cors = cors::read(section, &methods);
    let rate_limit = rate_limit::read(section, "rate_limit");
    let enforce = section.boolean("enforce").unwrap_or(true);
    if public {
        refuse_token_keys(section);
    }
    let (path, pattern, access, upstream) = (path?, pattern?, access?, upstream?);
    let route = Route {
        pattern,
        access,
        issuers,
        methods,
        scopes,
        roles,
        upstream,
        forward_credentials,
        body_bytes,
        response_head,
        exchange,
        end_at_expiry,
        cors,
        rate_limit,
        enforce,
    };
    Some(Placed { route, key: path.key, place: path.place })
}

fn refuse_token_keys(section: &Section<'_>) {
    if let Some(key) = TOKEN_KEYS.into_iter().find(|key| section.has(key)) {
        let wanted = "no such key, or another access: a public route looks at no token";
        section.loader.report(section.fault_at(key, "a rule for tokens on a public route", wanted));
    }
}

pub(super) fn write(route: &Route, config: &Config, dump: &mut Dump<'_>) {
    let issuers: Vec<&IssuerConfig> = route.issuers.iter().filter_map(|id| config.issuers.get(id.0)).collect();
    let upstream: Option<&Upstream> = config.upstreams.get(route.upstream.0);
    dump.table("[[route]]");
    dump.entry("path", route.pattern.as_str());
    dump.entry("access", written(&route.access));
    dump.some("issuers", issuers.iter().map(|issuer| &*issuer.rules.name));
    dump.some("methods", &*route.methods);
    dump.some("scopes", &*route.scopes);
    dump.some("roles", &*route.roles);
    dump.optional("upstream", upstream.map(|upstream| &*upstream.name));
    dump.entry("forward_credentials", route.forward_credentials);
    if let Some(body_bytes) = route.body_bytes {
        dump.number("body_bytes", body_bytes);
    }
    for (key, limit) in [("response_head_seconds", route.response_head), ("exchange_seconds", route.exchange)] {
        if let Some(limit) = limit {
            dump.seconds(key, limit);
        }
    }
    rate_limit::write(route.rate_limit, "rate_limit", dump);
    if route.access != Access::Public {
        dump.entry("enforce", route.enforce);
        dump.entry("end_at_expiry", route.end_at_expiry);
    }
    if let Some(cors) = &route.cors {
        cors::write(cors, dump);
    }
}

fn written(access: &Access) -> Value {
    match access {
        Access::Public => "public".into(),
        Access::Optional => "optional".into(),
        Access::SignedIn => "signed-in".into(),
        Access::Owner { capture } => inline([("owner", (&**capture).into())]),
    }
}

/// A table on one line.
pub(super) fn inline<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn pattern(text: &Text) -> Result<Pattern, Fault> {
    Pattern::parse(&text.value)
        .map_err(|fault| text.fault("a path pattern such as \"/api/{user_id}/**\"").advise(format!("this one {fault}")))
}

const ACCESS_WANTED: &str = "\"public\", \"optional\", \"signed-in\" or { owner = \"CAPTURE\" }";

fn read_access(section: &mut Section<'_>, pattern: Option<&Pattern>) -> Option<Access> {
    let (kind, capture) = section.variant("access")?;
    let access = match (kind.value.as_str(), &capture) {
        ("public", None) => Ok(Access::Public),
        ("optional", None) => Ok(Access::Optional),
        ("signed-in", None) => Ok(Access::SignedIn),
        ("owner", Some(capture)) => owner(capture, pattern),
        _ => Err(kind.fault(ACCESS_WANTED)),
    };
    section.loader.accept(access)
}

fn owner(capture: &Text, pattern: Option<&Pattern>) -> Result<Access, Fault> {
    match pattern {
        Some(pattern) if !pattern.has_capture(&capture.value) => {
            Err(capture.fault(format!("the name of a capture in {:?}", pattern.as_str())))
        }
        Some(_) | None => Ok(Access::Owner { capture: capture.value.as_str().into() }),
    }
}

/// The method of a route or a CORS policy. Methods are case-sensitive (RFC 9110 §9.1).
pub(super) fn method(text: &Text) -> Result<Method, Fault> {
    const WANTED: &str = "a method such as \"GET\"";
    let upper = text.value.to_ascii_uppercase();
    match text.parse(WANTED)? {
        Method::CONNECT | Method::TRACE => Err(text.fault("another method: CONNECT and TRACE are always refused")),
        _ if text.value == "*" => Err(text.fault(WANTED)),
        method if text.value == upper => Ok(method),
        _ => Err(text.fault(WANTED).advise(format!("methods are written in capitals: {upper:?}"))),
    }
}

/// RFC 6749 §3.3: visible ASCII but `"` and `\`.
fn scope(text: &Text) -> Result<Box<str>, Fault> {
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.value.is_empty() || !text.value.bytes().all(legal) {
        return Err(text.fault("one scope, without spaces"));
    }
    Ok(text.value.as_str().into())
}

fn read_issuers(section: &mut Section<'_>, named: &Named<'_>, public: bool) -> Box<[IssuerId]> {
    let names = names(named.issuers);
    if public || section.has("issuers") {
        return section.some_parsed("issuers", |text| find(text, &names).map(IssuerId)).unwrap_or_default();
    }
    section.pass_over("issuers");
    if names.len() > 1 {
        // The same sub from two issuers is not the same person.
        section.require("issuers", &format!("the issuers that it trusts, of {}", names.join(", ")));
    }
    [IssuerId(0)].into()
}

fn read_upstream(section: &mut Section<'_>, named: &Named<'_>) -> Option<UpstreamId> {
    let names = names(named.upstreams);
    if names.len() > 1 {
        section.require("upstream", &format!("one of {}", names.join(", ")));
    }
    if !section.has("upstream") {
        section.pass_over("upstream");
        return Some(UpstreamId(0));
    }
    section.parsed("upstream", |text| find(text, &names).map(UpstreamId))
}

/// The place of a name among those that there are.
fn find(text: &Text, names: &[&str]) -> Result<usize, Fault> {
    let wanted =
        if names.is_empty() { "a name that is configured".to_owned() } else { format!("one of {}", names.join(", ")) };
    names.iter().position(|name| *name == text.value).ok_or_else(|| text.fault(wanted))
}

/// Without a role claim nobody ever has a role.
fn check_roles(section: &Section<'_>, named: &Named<'_>, issuers: &[IssuerId], roles: &[Box<str>]) {
    let trusted = issuers.iter().filter_map(|id| named.issuers.get(id.0)?.1.as_ref());
    let without = trusted.map(|issuer| &issuer.rules).find(|rules| rules.role_claim.is_none());
    if let Some(rules) = without.filter(|_| !roles.is_empty()) {
        let found = format!("roles, where issuer {:?} has no role_claim", rules.name);
        section.loader.report(section.fault_at("roles", found, "a role_claim of every issuer that the route trusts"));
    }
}
