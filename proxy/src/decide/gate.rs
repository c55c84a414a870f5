//! The steps of the decision, in order: what an auditor reads first.
//!
//! 1. The request line, `Host` and framing have one reading ([`Head`]).
//! 2. A CORS preflight to a route with a policy is answered here.
//! 3. A public route needs no token and looks at none. For every other path, known or not, the token comes first, so
//!    that a caller without one learns nothing about the routes.
//! 4. The token is verified ([`Gate::verify`]).
//! 5. Only now is a missing route or method told.
//! 6. The route's issuers, owner, scopes and roles.
//!
//! A route with `access = "optional"` goes on without a caller where no token was sent. A route with `enforce = false`
//! only watches: its permit carries what steps 4 to 6 would have refused. Step 1 and repeated credentials are enforced
//! always, because what they refuse has no single reading.
//!
//! There is no fall-through: every path ends in a refusal or in a [`Permit`], and this file alone makes permits.

use std::{borrow::Cow, sync::Arc};

use ipnet::IpNet;

use super::{
    Access, Code, Cors, Decision, Denial, Head, Identity, IdentityHeaders, Issuer, Keys, Permit, Policy, Route,
    RouteId, Timestamp, TokenSource,
    bearer::{self, Bearer},
    cors,
    path::RequestPath,
    policy::Found,
    scrub::Scrub,
    verify,
};

/// Everything that the gate decides by, but keys and time.
#[derive(Clone, Debug)]
pub struct GateRules {
    /// The routes.
    pub policy: Policy,
    /// The issuers, in the order that the routes' issuer ids refer to.
    pub issuers: Vec<Issuer>,
    /// What the upstream is told of the caller.
    pub identity: IdentityHeaders,
    /// Peers whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The longest path and query, in bytes.
    pub path_bytes: usize,
    /// The longest head, in bytes, as target, header names and values with four bytes for each line's punctuation.
    pub head_bytes: usize,
    /// The longest token, in bytes.
    pub token_bytes: usize,
    /// The deepest nesting of a token's JSON.
    pub json_depth: usize,
}

/// Decides requests. Pure: the same head, keys and time give the same decision.
#[derive(Debug)]
pub struct Gate {
    rules: GateRules,
    scrub: Scrub,
    /// Where a token may stand: for each route, and last for paths that belong to none.
    sources: Box<[Box<[TokenSource]>]>,
}

/// How far a request came without its token being verified.
#[derive(Debug)]
pub enum Admission<'a> {
    /// Decided: public, a preflight, or refused.
    Decided(Decision),
    /// Waiting for the token to be verified.
    Pending(Pending<'a>),
}

/// A request whose token, and what depends on it, has yet to be checked.
#[derive(Debug)]
pub struct Pending<'a> {
    gate: &'a Gate,
    path: RequestPath<'a>,
    found: Found<'a>,
    bearer: Bearer<'a>,
}

impl Gate {
    /// A gate with these rules.
    pub fn new(rules: GateRules) -> Self {
        let everywhere: Vec<usize> = (0..rules.issuers.len()).collect();
        let places = |route: &Route| route.issuers.iter().map(|issuer| issuer.0).collect();
        let sources = rules.policy.routes().iter().map(places).chain([everywhere]);
        let sources = sources.map(|issuers: Vec<usize>| sources_of(&rules.issuers, &issuers)).collect();
        Self { scrub: Scrub::new(&rules.identity), sources, rules }
    }

    /// The rules.
    pub fn rules(&self) -> &GateRules {
        &self.rules
    }

    pub(super) fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    /// The whole decision in one call: [`Gate::admit`], [`Gate::verify`], [`Pending::conclude`].
    pub fn decide(&self, head: &Head<'_>, keys: &Keys, now: Timestamp) -> Decision {
        match self.admit(head) {
            Admission::Decided(decision) => decision,
            Admission::Pending(pending) => {
                let identity = self.verify(pending.token(), keys, now);
                pending.conclude(identity)
            }
        }
    }

    /// Steps 1 to 3, and where the token stands.
    pub fn admit<'a>(&'a self, head: &Head<'a>) -> Admission<'a> {
        let path = match head.check(self.rules.head_bytes, self.rules.path_bytes) {
            Ok(path) => path,
            Err(denial) => return Admission::Decided(Decision::Refuse(denial)),
        };
        if let Some(answer) = self.preflight(head, &path) {
            return Admission::Decided(answer);
        }
        let found = self.rules.policy.find(&path, head.method);
        if let Found::Route(id, route) = found
            && route.access == Access::Public
        {
            return Admission::Decided(Decision::Forward(permit(id, route, None)));
        }
        match bearer::find(head, self.sources_for(&found)) {
            Ok(Some(bearer)) => Admission::Pending(Pending { gate: self, path, found, bearer }),
            Ok(None) => Admission::Decided(without_token(&found)),
            Err(denial) => Admission::Decided(settle(&found, None, Err(denial))),
        }
    }

    /// Step 4: who the token's bearer is. The result may be kept for the same token bytes, until the identity
    /// expires or the issuer's keys or the rules change.
    ///
    /// # Errors
    /// The refusal that the token deserves.
    pub fn verify(&self, token: &str, keys: &Keys, now: Timestamp) -> Result<Arc<Identity>, Denial> {
        verify::verify(token, &self.rules, keys, now).map(Arc::new)
    }

    fn preflight(&self, head: &Head<'_>, path: &RequestPath<'_>) -> Option<Decision> {
        let method = cors::requested_method(head)?;
        let (id, policy): (RouteId, &Cors) = match self.rules.policy.find(path, &method) {
            Found::Route(id, route) => (id, route.cors.as_ref()?),
            Found::OtherMethods(ids) => {
                ids.iter().find_map(|id| Some((*id, self.rules.policy.route(*id)?.cors.as_ref()?)))?
            }
            Found::Nothing => return None,
        };
        Some(Decision::Preflight(id, policy.preflight(head)))
    }

    fn sources_for(&self, found: &Found<'_>) -> &[TokenSource] {
        let sources = match found {
            Found::Route(id, _) => self.sources.get(id.0),
            Found::OtherMethods(_) | Found::Nothing => self.sources.last(),
        };
        sources.map_or(&[], AsRef::as_ref)
    }

    fn issuer_takes(&self, identity: &Identity, source: &TokenSource) -> bool {
        self.rules.issuers.get(identity.issuer().0).is_some_and(|issuer| issuer.token_from.contains(source))
    }
}

impl Pending<'_> {
    /// The token as the client sent it.
    pub fn token(&self) -> &str {
        self.bearer.token
    }

    /// Steps 5 and 6, with what [`Gate::verify`] of this token said.
    pub fn conclude(self, identity: Result<Arc<Identity>, Denial>) -> Decision {
        let verdict = match &identity {
            Ok(identity) => self.check(identity),
            Err(denial) => Err(denial.clone()),
        };
        settle(&self.found, identity.ok(), verdict)
    }

    fn check(&self, identity: &Identity) -> Result<(), Denial> {
        if !self.gate.issuer_takes(identity, self.bearer.source) {
            return Err(Denial::from(Code::TokenMissing).because("the token's issuer takes none from where it stood"));
        }
        let policy = &self.gate.rules.policy;
        let route = match &self.found {
            Found::Route(_, route) => route,
            Found::OtherMethods(ids) => {
                return Err(Denial { allow: policy.methods(ids), ..Code::MethodNotAllowed.into() });
            }
            Found::Nothing => return Err(Code::RouteUnknown.into()),
        };
        if !route.issuers.contains(&identity.issuer()) {
            return Err(Denial::from(Code::IssuerMismatch).because("the route trusts other issuers"));
        }
        self.check_owner(route, identity)?;
        check_grants(route, identity)
    }

    /// The captured segment, decoded exactly once, is the user id byte for byte.
    fn check_owner(&self, route: &Route, identity: &Identity) -> Result<(), Denial> {
        let Access::Owner { capture } = &route.access else { return Ok(()) };
        let owner: Option<Cow<'_, str>> = route.pattern.place_of(capture).and_then(|place| self.path.decoded(place));
        match owner {
            Some(owner) if *owner == *identity.user().as_str() => Ok(()),
            Some(owner) => Err(Denial::from(Code::NotOwner)
                .because(format!("the path is of {owner:?}, the caller is {:?}", identity.user().as_str()))),
            None => Err(Denial::from(Code::NotOwner).because("the path has no owner segment")),
        }
    }
}

/// Scopes, all of them, and one of the roles.
fn check_grants(route: &Route, identity: &Identity) -> Result<(), Denial> {
    if let Some(missing) = route.scopes.iter().find(|scope| !identity.scopes().contains(scope)) {
        let denial = Denial::from(Code::ScopeMissing).because(format!("the token does not grant {missing:?}"));
        return Err(Denial { scope: Some(route.scopes.join(" ").into()), ..denial });
    }
    if !route.roles.is_empty() && !route.roles.iter().any(|role| identity.roles().contains(role)) {
        return Err(
            Denial::from(Code::ScopeMissing).because(format!("the caller has none of the roles {:?}", route.roles))
        );
    }
    Ok(())
}

fn without_token(found: &Found<'_>) -> Decision {
    match found {
        Found::Route(id, route) if route.access == Access::Optional => Decision::Forward(permit(*id, route, None)),
        _ => settle(found, None, Err(Code::TokenMissing.into())),
    }
}

/// The end of every path: a permit, or a refusal; or, on a route that only watches, a permit that carries the refusal.
fn settle(found: &Found<'_>, identity: Option<Arc<Identity>>, verdict: Result<(), Denial>) -> Decision {
    match (found, verdict) {
        (Found::Route(id, route), Ok(())) => Decision::Forward(permit(*id, route, identity)),
        (Found::Route(id, route), Err(denial)) if !route.enforce && denial.code != Code::CredentialsRepeated => {
            let shadowed = Some(Box::new(denial.on_route(*id)));
            Decision::Forward(Permit { shadowed, ..permit(*id, route, identity) })
        }
        (Found::Route(id, _), Err(denial)) => Decision::Refuse(denial.on_route(*id)),
        (Found::OtherMethods(_) | Found::Nothing, Err(denial)) => Decision::Refuse(denial),
        (Found::OtherMethods(_) | Found::Nothing, Ok(())) => Decision::Refuse(Code::RouteUnknown.into()),
    }
}

fn permit(id: RouteId, route: &Route, identity: Option<Arc<Identity>>) -> Permit {
    Permit {
        route: id,
        upstream: route.upstream,
        identity,
        forward_credentials: route.forward_credentials,
        shadowed: None,
    }
}

fn sources_of(issuers: &[Issuer], chosen: &[usize]) -> Box<[TokenSource]> {
    let mut sources = Vec::new();
    for source in chosen.iter().filter_map(|place| issuers.get(*place)).flat_map(|issuer| &issuer.token_from) {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    sources.into()
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{caller, code, decide, gate, head, methods, owner, request, route},
        *,
    };

    const TOKEN: &str = "authorization: Bearer a.b.c";

    fn outcome(gate: &Gate, method: &str, target: &str, lines: &[&str], user: &str) -> Option<Code> {
        code(&decide(gate, &request(method, target, lines), caller(user)))
    }

    #[test]
    fn the_owner_segment_is_the_user_id_byte_for_byte() {
        let gate = gate(vec![route("/api/{user_id}/**", owner())]);
        let table = [
            ("/api/alice", "alice", true),
            ("/api/alice/", "alice", true),
            ("/api/alice/tasks/7?a=b", "alice", true),
            ("/api/%61lice/tasks", "alice", true),
            ("/api/al%40example.com", "al@example.com", true),
            ("/api/%C3%BC", "ü", true),
            ("/api/a%20b", "a b", true),
            ("/api/100%25", "100%", true),
            ("/api/Alice", "alice", false),
            ("/api/bob", "alice", false),
            ("/api/alic", "alice", false),
            ("/api/alicee", "alice", false),
            ("/api/alice%20", "alice", false),
            // Row 39: the Kelvin sign, and one letter in two normal forms.
            ("/api/%E2%84%AA", "k", false),
            ("/api/e%CC%81", "é", false),
            // Row 40: no numeric reading.
            ("/api/7", "007", false),
            ("/api/7.0", "7", false),
            // Ids that can stand in no accepted path own none.
            ("/api/a/b", "a/b", false),
        ];
        for (target, user, forwarded) in table {
            let expected = if forwarded { None } else { Some(Code::NotOwner) };
            assert_eq!(outcome(&gate, "GET", target, &[TOKEN], user), expected, "{target} as {user}");
        }
    }

    #[test]
    fn a_caller_without_a_token_learns_nothing_of_the_routes() {
        let mut read_only = route("/api/{user_id}/**", owner());
        read_only.methods = methods(&["GET"]);
        let gate = gate(vec![read_only]);
        for (method, target) in [("GET", "/api/bob"), ("DELETE", "/api/bob"), ("GET", "/nothing"), ("GET", "/")] {
            assert_eq!(outcome(&gate, method, target, &[], "-"), Some(Code::TokenMissing), "{method} {target}");
        }
        assert_eq!(outcome(&gate, "GET", "/nothing", &[TOKEN], "alice"), Some(Code::RouteUnknown));
        assert_eq!(outcome(&gate, "DELETE", "/api/alice", &[TOKEN], "alice"), Some(Code::MethodNotAllowed));
        assert_eq!(outcome(&gate, "HEAD", "/api/alice", &[TOKEN], "alice"), None);
    }

    #[test]
    fn row_27_literals_match_only_in_their_plain_spelling() {
        let gate = gate(vec![route("/api/{user_id}/**", owner())]);
        for target in ["/API/alice", "/%61pi/alice", "/api2/alice", "/ap/alice"] {
            assert_eq!(outcome(&gate, "GET", target, &[TOKEN], "alice"), Some(Code::RouteUnknown), "{target}");
        }
    }

    #[test]
    fn row_45_a_public_route_looks_at_no_token_and_an_optional_one_refuses_a_bad_one() {
        let gate = gate(vec![route("/public/**", Access::Public), route("/feed", Access::Optional)]);
        assert_eq!(outcome(&gate, "GET", "/public/x", &["authorization: Bearer junk"], "-"), None);
        assert_eq!(outcome(&gate, "GET", "/feed", &[], "-"), None);
        let parts = request("GET", "/feed", &[TOKEN]);
        let Admission::Pending(pending) = gate.admit(&head(&parts)) else { panic!("the token was not looked at") };
        let decision = pending.conclude(Err(Code::SignatureInvalid.into()));
        assert_eq!(code(&decision), Some(Code::SignatureInvalid));
    }

    #[test]
    fn two_tokens_are_refused_before_either_is_read() {
        let gate = gate(vec![route("/api/{user_id}/**", owner())]);
        let lines = [TOKEN, "authorization: Bearer d.e.f"];
        assert_eq!(outcome(&gate, "GET", "/api/alice", &lines, "alice"), Some(Code::CredentialsRepeated));
    }

    #[test]
    fn a_route_trusts_its_own_issuers_alone() {
        let mut other = route("/api/{user_id}/**", owner());
        other.issuers = [super::super::IssuerId(1)].into();
        let gate = gate(vec![other]);
        assert_eq!(outcome(&gate, "GET", "/api/alice", &[TOKEN], "alice"), Some(Code::TokenMissing));
        let cookie = "cookie: session=a.b.c";
        // The fixture's caller is the first issuer's, which takes no token from a cookie.
        assert_eq!(outcome(&gate, "GET", "/api/alice", &[cookie], "alice"), Some(Code::TokenMissing));
        let parts = request("GET", "/api/alice", &[cookie]);
        let second = Identity { issuer: super::super::IssuerId(1), ..caller("alice") };
        assert_eq!(code(&decide(&gate, &parts, second)), None);
    }

    #[test]
    fn scopes_are_all_needed_and_of_roles_one() {
        let mut admin = route("/admin/**", Access::SignedIn);
        admin.scopes = ["read".into(), "write".into()].into();
        admin.roles = ["admin".into(), "owner".into()].into();
        let gate = gate(vec![admin]);
        let parts = request("GET", "/admin/x", &[TOKEN]);
        let with = |scopes: &[&str], roles: &[&str]| Identity {
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            ..caller("alice")
        };
        let missing = Some(Code::ScopeMissing);
        assert_eq!(code(&decide(&gate, &parts, with(&["read"], &["admin"]))), missing);
        assert_eq!(code(&decide(&gate, &parts, with(&["read", "write"], &[]))), missing);
        assert_eq!(code(&decide(&gate, &parts, with(&["write", "read"], &["owner"]))), None);
        let Decision::Refuse(denial) = decide(&gate, &parts, with(&[], &[])) else { panic!("forwarded") };
        assert_eq!(denial.scope.as_deref(), Some("read write"));
    }

    #[test]
    fn a_watching_route_forwards_and_tells_what_it_would_have_refused() {
        let mut watching = route("/api/{user_id}/**", owner());
        watching.enforce = false;
        let gate = gate(vec![watching]);
        for (lines, user, expected, identified) in
            [(&[][..], "-", Code::TokenMissing, false), (&[TOKEN][..], "alice", Code::NotOwner, true)]
        {
            let decision = decide(&gate, &request("GET", "/api/bob", lines), caller(user));
            let Decision::Forward(permit) = decision else { panic!("{expected} was enforced") };
            assert_eq!(permit.shadowed().map(|denial| denial.code), Some(expected));
            assert_eq!(permit.identity().is_some(), identified);
        }
        let ambiguous = outcome(&gate, "GET", "/api/../bob", &[], "-");
        assert_eq!(ambiguous, Some(Code::PathAmbiguous), "the path is never only watched");
    }

    #[test]
    fn a_preflight_is_answered_only_where_there_is_a_policy() {
        let mut shared = route("/api/{user_id}/**", owner());
        shared.cors = Some(Cors {
            origins: ["https://app.example".into()].into(),
            methods: methods(&["GET"]),
            headers: [http::header::AUTHORIZATION].into(),
            expose: [].into(),
            max_age_seconds: 600,
        });
        let gate = gate(vec![shared, route("/private/**", Access::SignedIn)]);
        let asking = ["origin: https://app.example", "access-control-request-method: GET"];
        let answer = decide(&gate, &request("OPTIONS", "/api/bob/x", &asking), caller("-"));
        let Decision::Preflight(_, headers) = answer else { panic!("{answer:?}") };
        assert_eq!(headers.get("access-control-allow-origin").unwrap(), "https://app.example");
        for (method, target, lines) in [
            ("OPTIONS", "/private/x", &asking[..]),
            ("OPTIONS", "/api/bob/x", &asking[..1]),
            ("OPTIONS", "/api/bob/x", &asking[1..]),
            ("GET", "/api/bob/x", &asking[..]),
            ("OPTIONS", "/nothing", &asking[..]),
        ] {
            assert_eq!(outcome(&gate, method, target, lines, "-"), Some(Code::TokenMissing), "{method} {target}");
        }
    }

    #[test]
    fn rows_13_14_20_no_header_moves_a_request_to_another_route() {
        let gate = gate(vec![route("/health", Access::Public), route("/api/{user_id}/**", owner())]);
        for line in [
            "x-forwarded-uri: /health",
            "x-original-url: /health",
            "x-rewrite-url: /health",
            "x-envoy-original-path: /health",
            "x-http-method-override: OPTIONS",
            "user-agent: GoogleHC/1.0",
            "x-middleware-subrequest: middleware",
        ] {
            assert_eq!(outcome(&gate, "GET", "/api/bob/x", &[line], "-"), Some(Code::TokenMissing), "{line}");
            assert_eq!(outcome(&gate, "GET", "/api/bob/x", &[line, TOKEN], "alice"), Some(Code::NotOwner), "{line}");
        }
        assert_eq!(outcome(&gate, "GET", "/api/bob/x?next=/health", &[TOKEN], "alice"), Some(Code::NotOwner));
    }
}
