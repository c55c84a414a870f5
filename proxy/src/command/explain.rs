//! `ownergate explain`: one request's decision, step by step.

use std::fmt::{self, Write};

use anyhow::{Context, Result, anyhow, ensure};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use ownergate::{
    config::{Config, Explain},
    decide::{Access, Admission, Code, Decision, Denial, Head, Identity, Permit, Route, Timestamp},
    serve::State,
};

use super::{CommandFault, check::access_text, load, remedy::remedy};

/// The steps of the decision as people see them, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Request,
    Token,
    Route,
    Issuer,
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

/// What an account is given of.
struct Subject<'a> {
    state: &'a State,
    route: Option<&'a Route>,
    caller: Option<&'a Identity>,
    now: Timestamp,
}

/// Decides the request by the configuration and its issuers' keys, and tells how.
///
/// # Errors
/// What keeps the configuration from being served, or the request from being one.
pub(super) async fn explain(request: &Explain, config: Config, now: Timestamp) -> Result<Account, CommandFault> {
    let (method, headers) = head_of(request).map_err(CommandFault::Usage)?;
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
            account.decide(&state, &head, now);
            account.sources(&state);
        }
        Ok(_) | Err(_) => {
            let denial = Denial::from(Code::PathAmbiguous).because("this is no request target");
            account.refused(&Subject { state: &state, route: None, caller: None, now }, &denial);
        }
    }
    Ok(account)
}

fn head_of(request: &Explain) -> Result<(Method, HeaderMap)> {
    let method = request.method.parse().with_context(|| format!("{:?} is no method", request.method))?;
    let absolute = ["http://", "https://"].iter().any(|scheme| request.path.starts_with(scheme));
    ensure!(
        absolute || request.path.starts_with('/'),
        "the path {:?} does not begin with \"/\": wanted one such as \"/api/alice/tasks\"",
        request.path
    );
    Ok((method, headers_of(request)?))
}

fn headers_of(request: &Explain) -> Result<HeaderMap> {
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

    fn decide(&mut self, state: &State, head: &Head<'_>, now: Timestamp) {
        let (identity, decision) = match state.gate.admit(head) {
            Admission::Decided(decision) => (None, decision),
            Admission::Pending(pending) => {
                let identity = state.gate.verify(pending.token(), &state.keys.snapshot().keys, now);
                (identity.clone().ok(), pending.conclude(identity))
            }
        };
        let routes = &state.gate.rules().policy;
        let subject = |route| Subject { state, route, caller: identity.as_deref(), now };
        match &decision {
            Decision::Forward(permit) => self.forwarded(&subject(routes.route(permit.route())), permit),
            Decision::Preflight(route, answer) => {
                self.step(Step::Request, "ok", REQUEST);
                let pattern = routes.route(*route).map_or("", |route| route.pattern.as_str());
                self.line(format_args!("answered here: a CORS preflight to {pattern}"));
                self.allowance(answer);
            }
            Decision::Refuse(denial) => {
                self.refused(&subject(denial.route.and_then(|id| routes.route(id))), denial);
            }
        }
    }

    /// What a preflight's answer allows, by which the browser decides.
    fn allowance(&mut self, answer: &HeaderMap) {
        if !answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            self.line(format_args!("  nothing is allowed: the Origin is none of the route's cors.origins"));
        }
        for (name, value) in answer.iter().filter(|(name, _)| name.as_str().starts_with("access-control-")) {
            self.line(format_args!("  {name}: {}", value.to_str().unwrap_or_default()));
        }
    }

    /// Tells of issuers whose keys could not be read: a token that was refused might be good.
    fn sources(&mut self, state: &State) {
        for issuer in state.keys.report() {
            if let Some(fault) = &issuer.fault {
                self.line(format_args!("issuer {}: the keys could not be read: {fault}", issuer.issuer));
            }
        }
    }

    fn step(&mut self, step: Step, came_to: &str, what: impl fmt::Display) {
        self.line(format_args!("  {:<8} {came_to:<8} {what}", step.name()));
    }

    fn forwarded(&mut self, subject: &Subject<'_>, permit: &Permit) {
        self.forwarded = true;
        match permit.shadowed() {
            Some(denial) => self.fault(subject, denial, "watched"),
            None => self.passed(subject, None),
        }
        let header = &subject.state.gate.rules().identity.header;
        let user = subject.caller.map(|caller| format!(" with {header}: {}", caller.user().as_str()));
        let pattern = subject.route.map_or("", |route| route.pattern.as_str());
        self.line(format_args!("forwarded by route {pattern}{}", user.unwrap_or_default()));
    }

    fn refused(&mut self, subject: &Subject<'_>, denial: &Denial) {
        self.fault(subject, denial, "REFUSED");
        let status = denial.code.status().as_u16();
        let by = subject.route.map(|route| format!(" by route {}", route.pattern.as_str())).unwrap_or_default();
        self.line(format_args!("refused with {status} {}{by}", denial.code));
        self.line(format_args!("to pass: {}", remedy(denial, subject.route, &subject.state.config.issuers)));
    }

    /// The steps up to the one that failed.
    fn fault(&mut self, subject: &Subject<'_>, denial: &Denial, came_to: &str) {
        let failed = step_of(denial.code, subject.caller.is_some());
        self.passed(subject, Some(failed));
        let reason = denial.reason.as_deref().unwrap_or(denial.detail());
        self.step(failed, came_to, format_args!("{}: {reason}", denial.code));
    }

    /// The steps that were passed before the one that failed, in the order of the decision.
    fn passed(&mut self, subject: &Subject<'_>, failed: Option<Step>) {
        let before = |step| failed.is_none_or(|failed| step < failed);
        if before(Step::Request) {
            self.step(Step::Request, "ok", REQUEST);
        }
        if before(Step::Token) {
            self.step(Step::Token, "ok", subject.token_text());
        }
        let Some(route) = subject.route else { return };
        if before(Step::Route) {
            self.step(Step::Route, "ok", format_args!("{} ({})", route.pattern.as_str(), access_text(&route.access)));
        }
        if let Access::Owner { capture } = &route.access
            && before(Step::Owner)
        {
            self.step(Step::Owner, "ok", format_args!("{{{capture}}} is the caller"));
        }
        if !(route.scopes.is_empty() && route.roles.is_empty()) && before(Step::Grants) {
            self.step(Step::Grants, "ok", "the scopes and roles of the route");
        }
    }
}

/// What it means that the first step was passed.
const REQUEST: &str = "one reading of path and host";

impl Subject<'_> {
    fn token_text(&self) -> String {
        let Some(caller) = self.caller else {
            let public = self.route.is_some_and(|route| route.access == Access::Public);
            return if public { "none is looked at" } else { "none was sent, none is needed" }.into();
        };
        let Some(issuer) = self.state.gate.rules().issuers.get(caller.issuer().0) else { return String::new() };
        let (left, leeway) = (caller.expires_at().since(self.now), u64::from(issuer.leeway_seconds));
        let expiry = if left > leeway {
            format!("expires in {} s, leeway {leeway} s", left - leeway)
        } else {
            format!("expired {} s ago, leeway {leeway} s", leeway - left)
        };
        format!("issuer {}, user {:?}, {expiry}", issuer.name, caller.user().as_str())
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Token => "token",
            Self::Route => "route",
            Self::Issuer => "issuer",
            Self::Owner => "owner",
            Self::Grants => "grants",
        }
    }
}

/// Where in the decision a refusal belongs. A verified token can still be of an issuer that the route does not trust,
/// and a method can be refused before any token is looked at.
fn step_of(code: Code, verified: bool) -> Step {
    match code {
        Code::PathAmbiguous | Code::RequestMalformed | Code::HeadTooLarge | Code::RequestTimeout => Step::Request,
        Code::MethodNotAllowed if !verified => Step::Request,
        Code::IssuerMismatch if verified => Step::Issuer,
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
