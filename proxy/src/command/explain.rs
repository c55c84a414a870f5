//! `ownergate explain`: one request's decision, step by step.

use std::fmt::{self, Write};

use anyhow::{Context, anyhow};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use ownergate::{
    config::{Config, Explain},
    decide::{Access, Admission, Code, Decision, Denial, Gate, Head, Identity, Keys, Permit, Route, Timestamp},
    serve::jwks::IssuerReport,
};

use super::{CommandFault, check::access_text, load};

/// The steps of the decision as people see them, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Request,
    Token,
    Route,
    Owner,
    Grants,
}

/// An account of one decision.
pub(super) struct Account {
    /// A line a step.
    pub(super) text: String,
    /// Whether the request would be forwarded.
    pub(super) forwarded: bool,
}

/// Decides the request by the configuration and its issuers' keys, and tells how.
///
/// # Errors
/// What keeps the configuration from being served, or the request from being one.
pub(super) async fn explain(request: &Explain, config: Config, now: Timestamp) -> Result<Account, CommandFault> {
    let method: Method = request.method.parse().with_context(|| format!("{:?} is no method", request.method))?;
    let headers = headers_of(request)?;
    let keys = load::open_keys(&config, &load::fetcher(&config)).await?;
    let state = load::prepare(config, keys)?;
    let mut account = Account { text: String::new(), forwarded: false };
    account.line(format_args!("{method} {}", request.path));
    match request.path.parse::<Uri>() {
        Ok(uri) if !request.path.contains('#') => {
            let head = Head { method: &method, uri: &uri, version: Version::HTTP_11, headers: &headers };
            if let Admission::Pending(_) = state.gate.admit(&head) {
                state.keys.settled().await;
            }
            account.decide(&state.gate, &state.keys.snapshot().keys, &head, now);
            account.sources(&state.keys.report());
        }
        Ok(_) | Err(_) => {
            let denial = Denial::from(Code::PathAmbiguous).because("this is no request target");
            account.refused(&state.gate, &denial, None);
        }
    }
    Ok(account)
}

fn headers_of(request: &Explain) -> Result<HeaderMap, anyhow::Error> {
    let mut headers = HeaderMap::new();
    for line in &request.header {
        let (name, value) = line.expose().split_once(':').ok_or_else(|| anyhow!("--header wants \"NAME: VALUE\""))?;
        let name: HeaderName = name.trim().parse().with_context(|| format!("{name:?} is no header name"))?;
        headers.append(name, value.trim().parse().context("a header's value holds what none may")?);
    }
    if let Some(token) = &request.token {
        let bearer = format!("Bearer {}", token.expose());
        headers.append(header::AUTHORIZATION, bearer.parse().context("the token holds what no header may")?);
    }
    headers.entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    Ok(headers)
}

impl Account {
    fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{text}");
    }

    fn decide(&mut self, gate: &Gate, keys: &Keys, head: &Head<'_>, now: Timestamp) {
        let (identity, decision) = match gate.admit(head) {
            Admission::Decided(decision) => (None, decision),
            Admission::Pending(pending) => {
                let identity = gate.verify(pending.token(), keys, now);
                (identity.clone().ok(), pending.conclude(identity))
            }
        };
        match &decision {
            Decision::Forward(permit) => self.forwarded(gate, permit, now),
            Decision::Preflight(route, answer) => {
                self.step("request", "one reading of path and host");
                let pattern = gate.rules().policy.route(*route).map_or("", |route| route.pattern.as_str());
                self.line(format_args!("answered here: a CORS preflight to {pattern}, with {} headers", answer.len()));
            }
            Decision::Refuse(denial) => self.refused(gate, denial, identity.as_deref().map(|caller| (caller, now))),
        }
    }

    /// Tells of issuers whose keys could not be read: a token that was refused might be good.
    fn sources(&mut self, issuers: &[IssuerReport]) {
        for issuer in issuers {
            if let Some(fault) = &issuer.fault {
                self.line(format_args!("issuer {}: the keys could not be read: {fault}", issuer.issuer));
            }
        }
    }

    fn step(&mut self, name: &str, what: impl fmt::Display) {
        self.line(format_args!("  {name:<8} ok       {what}"));
    }

    fn forwarded(&mut self, gate: &Gate, permit: &Permit, now: Timestamp) {
        self.forwarded = true;
        let rules = gate.rules();
        let Some(route) = rules.policy.route(permit.route()) else { return };
        self.step("request", "one reading of path and host");
        match permit.identity() {
            Some(caller) => self.step("token", caller_text(gate, caller, now)),
            None => self.step("token", "none is looked at"),
        }
        self.step("route", route_text(route));
        if let Some(denial) = permit.shadowed() {
            self.line(format_args!("  {:<8} watched  {}: {}", "refusal", denial.code, reason(denial)));
        } else {
            self.checks(route, Step::Grants);
        }
        let user =
            permit.identity().map(|caller| format!(" with {}: {}", rules.identity.header, caller.user().as_str()));
        self.line(format_args!("forwarded by route {}{}", route.pattern.as_str(), user.unwrap_or_default()));
    }

    fn refused(&mut self, gate: &Gate, denial: &Denial, caller: Option<(&Identity, Timestamp)>) {
        let route = denial.route.and_then(|id| gate.rules().policy.route(id));
        let failed = step_of(denial.code);
        if failed > Step::Request {
            self.step("request", "one reading of path and host");
        }
        if let Some((caller, now)) = caller {
            self.step("token", caller_text(gate, caller, now));
        }
        if let Some(route) = route {
            self.step("route", route_text(route));
            self.checks(route, failed);
        }
        self.line(format_args!("  {:<8} REFUSED  {}: {}", failed.name(), denial.code, reason(denial)));
        let status = denial.code.status().as_u16();
        let by = route.map(|route| format!(" by route {}", route.pattern.as_str())).unwrap_or_default();
        self.line(format_args!("refused with {status} {}{by}", denial.code));
        self.line(format_args!("to pass: {}", remedy(denial.code)));
    }

    /// The checks of a route that were passed before the step that failed.
    fn checks(&mut self, route: &Route, failed: Step) {
        if let Access::Owner { capture } = &route.access
            && failed > Step::Owner
        {
            self.step("owner", format_args!("{{{capture}}} is the caller"));
        }
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Token => "token",
            Self::Route => "route",
            Self::Owner => "owner",
            Self::Grants => "grants",
        }
    }
}

fn caller_text(gate: &Gate, caller: &Identity, now: Timestamp) -> String {
    let issuer = gate.rules().issuers.get(caller.issuer().0).map_or("", |issuer| &*issuer.name);
    format!("issuer {issuer}, user {:?}, good for {} s more", caller.user().as_str(), caller.expires_at().since(now))
}

fn route_text(route: &Route) -> String {
    format!("{} ({})", route.pattern.as_str(), access_text(&route.access))
}

fn reason(denial: &Denial) -> &str {
    denial.reason.as_deref().unwrap_or(denial.detail())
}

/// Where in the decision a refusal belongs.
fn step_of(code: Code) -> Step {
    match code {
        Code::PathAmbiguous | Code::RequestMalformed | Code::HeadTooLarge | Code::RequestTimeout => Step::Request,
        Code::CredentialsRepeated
        | Code::TokenMissing
        | Code::TokenMalformed
        | Code::TokenEncrypted
        | Code::TokenTooLarge
        | Code::AlgorithmNotAllowed
        | Code::KeyUnknown
        | Code::SignatureInvalid
        | Code::TokenExpired
        | Code::TokenNotYetValid
        | Code::IssuerMismatch
        | Code::AudienceMismatch
        | Code::ClaimMissing
        | Code::ClaimInvalid
        | Code::TokenTypeRefused
        | Code::KeysUnavailable => Step::Token,
        Code::RouteUnknown | Code::MethodNotAllowed => Step::Route,
        Code::NotOwner => Step::Owner,
        Code::ScopeMissing
        | Code::BodyTooLarge
        | Code::RateLimited
        | Code::UpstreamUnreachable
        | Code::UpstreamBroken
        | Code::Overloaded
        | Code::UpstreamTimeout => Step::Grants,
    }
}

/// What would make such a request pass.
fn remedy(code: Code) -> &'static str {
    match code {
        Code::TokenMissing => "send a token (--token \"$(ownergate token --user ID)\"), or make the route public",
        Code::CredentialsRepeated => "send one token, in one place",
        Code::AlgorithmNotAllowed => {
            "configure the issuer that signs these tokens: a secret for HS256, its JWKS (--better-auth) for EdDSA and the like"
        }
        Code::KeyUnknown | Code::SignatureInvalid => "get a token from the issuer whose keys are configured",
        Code::TokenExpired => "get a new token",
        Code::IssuerMismatch => "set the issuer to the token's \"iss\" exactly, or list it in the route's issuers",
        Code::AudienceMismatch => "set the audience to one of the token's \"aud\" exactly",
        Code::ClaimMissing | Code::ClaimInvalid => "have the issuer put that claim into its tokens",
        Code::TokenTypeRefused => "send an access token, or list its \"typ\" in the issuer's token_types",
        Code::KeysUnavailable => "make the issuer's key set reachable from here",
        Code::NotOwner => "ask for a path of the caller's own, or send the owner's token",
        Code::ScopeMissing => "get a token that grants what the route requires",
        Code::RouteUnknown => "add a route whose path matches",
        Code::MethodNotAllowed => "add the method to the route, or use one that it answers",
        Code::PathAmbiguous
        | Code::RequestMalformed
        | Code::TokenMalformed
        | Code::TokenEncrypted
        | Code::TokenTooLarge
        | Code::TokenNotYetValid
        | Code::RequestTimeout
        | Code::BodyTooLarge
        | Code::RateLimited
        | Code::HeadTooLarge
        | Code::UpstreamUnreachable
        | Code::UpstreamBroken
        | Code::Overloaded
        | Code::UpstreamTimeout => code.detail(),
    }
}
