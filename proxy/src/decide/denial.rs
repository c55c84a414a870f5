//! The closed list of refusals. Each row is the one source of a refusal's status, body, challenge, log field, metric
//! label and README row.

use std::borrow::Cow;

use http::{Method, StatusCode};

use super::{IssuerId, RouteId};

macro_rules! refusals {
    ($($variant:ident = $status:ident $code:literal, $title:literal, $detail:literal;)+) => {
        /// Why a request was refused. Stable: clients, dashboards and tests rely on the names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $detail] $variant,)+
        }

        impl Code {
            /// Every refusal, in the order of the README's table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name that clients and logs see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The HTTP status of the answer.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// A short summary that is the same for every occurrence (RFC 9457 §3.1.3).
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// The sentence for the client: what is wrong and what to do about it.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }
    };
}

refusals! {
    PathAmbiguous = BAD_REQUEST "path_ambiguous", "Ambiguous path",
        "The path can be read in more than one way. Send it without dot segments, empty segments, backslashes, semicolons, doubly encoded or invalid escapes.";
    RequestMalformed = BAD_REQUEST "request_malformed", "Malformed request",
        "The request's Host or framing is missing, repeated, invalid or contradictory.";
    CredentialsRepeated = BAD_REQUEST "credentials_repeated", "Repeated credentials",
        "The request carries more than one token. Send exactly one.";
    TokenMissing = UNAUTHORIZED "token_missing", "Token missing",
        "This request needs a token. Send it as \"Authorization: Bearer <JWT>\".";
    TokenMalformed = UNAUTHORIZED "token_malformed", "Malformed token",
        "The token is not a well-formed signed JWT.";
    TokenEncrypted = UNAUTHORIZED "token_encrypted", "Encrypted token",
        "The token is encrypted (JWE). Send a signed JWT (JWS).";
    TokenTooLarge = UNAUTHORIZED "token_too_large", "Token too large",
        "The token is longer than is accepted here. Put fewer claims into it.";
    AlgorithmNotAllowed = UNAUTHORIZED "algorithm_not_allowed", "Algorithm not allowed",
        "The token is signed with an algorithm that is not accepted here.";
    KeyUnknown = UNAUTHORIZED "key_unknown", "Unknown key",
        "The token names a key that its issuer does not publish. Get a new token.";
    SignatureInvalid = UNAUTHORIZED "signature_invalid", "Invalid signature",
        "The token's signature does not verify.";
    TokenExpired = UNAUTHORIZED "token_expired", "Token expired",
        "The token has expired. Get a new one.";
    TokenNotYetValid = UNAUTHORIZED "token_not_yet_valid", "Token not yet valid",
        "The token is not valid yet. Check the clock of the machine that issued it.";
    IssuerMismatch = UNAUTHORIZED "issuer_mismatch", "Issuer mismatch",
        "The token comes from an issuer that is not accepted here.";
    AudienceMismatch = UNAUTHORIZED "audience_mismatch", "Audience mismatch",
        "The token was issued for another audience.";
    ClaimMissing = UNAUTHORIZED "claim_missing", "Claim missing",
        "The token lacks a claim that is required here.";
    ClaimInvalid = UNAUTHORIZED "claim_invalid", "Invalid claim",
        "A claim of the token has a type or value that is not accepted here.";
    TokenTypeRefused = UNAUTHORIZED "token_type_refused", "Token type refused",
        "The token is of a type that is not accepted here. Send an access token.";
    NotOwner = FORBIDDEN "not_owner", "Not the owner",
        "This path belongs to another user.";
    ScopeMissing = FORBIDDEN "scope_missing", "Scope missing",
        "The token does not grant what this route requires.";
    RouteUnknown = NOT_FOUND "route_unknown", "Unknown route",
        "There is nothing at this path.";
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed", "Method not allowed",
        "This path does not answer this method.";
    RequestTimeout = REQUEST_TIMEOUT "request_timeout", "Request timeout",
        "The request did not arrive in time. Send it again.";
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large", "Body too large",
        "The request's body is larger than is accepted here.";
    RateLimited = TOO_MANY_REQUESTS "rate_limited", "Rate limited",
        "Too many requests. Wait as long as Retry-After says.";
    HeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "head_too_large", "Head too large",
        "The request's target or headers are larger than is accepted here.";
    UpstreamUnreachable = BAD_GATEWAY "upstream_unreachable", "Upstream unreachable",
        "The application behind this address does not accept connections.";
    UpstreamBroken = BAD_GATEWAY "upstream_broken", "Upstream broken",
        "The application behind this address gave no valid answer.";
    KeysUnavailable = SERVICE_UNAVAILABLE "keys_unavailable", "Keys unavailable",
        "The keys to check this token with cannot be fetched at the moment. Try again.";
    Overloaded = SERVICE_UNAVAILABLE "overloaded", "Overloaded",
        "There is more work than can be done at the moment. Try again.";
    UpstreamTimeout = GATEWAY_TIMEOUT "upstream_timeout", "Upstream timeout",
        "The application behind this address did not answer in time.";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal of one request: what the client is told, and beside it what only the log may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Which refusal this is.
    pub code: Code,
    /// The sentence for the client where it says more than the code's own.
    pub detail: Option<&'static str>,
    /// For the log alone: values found and wanted. Never a token, secret or cookie.
    pub reason: Option<Cow<'static, str>>,
    /// The methods of the `Allow` header; empty unless the code is [`Code::MethodNotAllowed`].
    pub allow: Box<[Method]>,
    /// The scopes of the challenge, space-separated; only with [`Code::ScopeMissing`].
    pub scope: Option<Box<str>>,
    /// The issuer whose keys or rules refused, where one was chosen.
    pub issuer: Option<IssuerId>,
    /// The route that was matched, for its log field and its CORS headers.
    pub route: Option<RouteId>,
}

impl Denial {
    /// A refusal with the code's own sentence and nothing for the log to add.
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, reason: None, allow: Box::default(), scope: None, issuer: None, route: None }
    }

    /// Adds what the log should say: values found and wanted.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Replaces the sentence for the client.
    #[must_use]
    pub fn telling(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Names the issuer that refused.
    #[must_use]
    pub fn from_issuer(mut self, issuer: IssuerId) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// Names the route that was matched.
    #[must_use]
    pub fn on_route(mut self, route: RouteId) -> Self {
        self.route = Some(route);
        self
    }

    /// The sentence that the client reads.
    pub fn detail(&self) -> &'static str {
        self.detail.unwrap_or(self.code.detail())
    }

    /// The issuer whose key set may be out of date: the refusal could become a permit once it is fetched anew.
    pub fn stale_keys(&self) -> Option<IssuerId> {
        let depends_on_keys = matches!(self.code, Code::KeyUnknown | Code::SignatureInvalid | Code::KeysUnavailable);
        self.issuer.filter(|_| depends_on_keys)
    }
}

impl From<Code> for Denial {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}
