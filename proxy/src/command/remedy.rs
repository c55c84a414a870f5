//! What would make a refused request pass.

use std::borrow::Cow;

use ownergate::{
    config::{IssuerConfig, KeySource},
    decide::{Code, Denial, Route},
};

/// What the operator or the caller may do about the refusal.
pub(super) fn remedy(denial: &Denial, route: Option<&Route>, issuers: &[IssuerConfig]) -> Cow<'static, str> {
    let text = match denial.code {
        Code::TokenMissing => return token_from(route, issuers).into(),
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
        | Code::UpstreamTimeout => denial.detail(),
    };
    text.into()
}

/// Where a token that the route accepts is to be had; that any issuer accepts, where no route is known.
fn token_from(route: Option<&Route>, issuers: &[IssuerConfig]) -> String {
    let trusted = |place: usize| route.is_none_or(|route| route.issuers.iter().any(|id| id.0 == place));
    let trusted = issuers.iter().enumerate().filter(|(place, _)| trusted(*place));
    let mut ways: Vec<&str> = trusted.map(|(_, issuer)| token_of(&issuer.keys)).collect();
    ways.dedup();
    let public = route.map_or("", |_| ", or make the route public");
    format!("send --token with {}{public}", ways.join(", or "))
}

fn token_of(keys: &KeySource) -> &'static str {
    match keys {
        KeySource::Secrets(_) => "what \"ownergate token --user ID\" prints with the same --config or --secret-file",
        KeySource::JwksUrl(_) | KeySource::JwksFile(_) | KeySource::Discovery(_) => {
            "a JWT from the issuer (Better Auth: GET /api/auth/token)"
        }
    }
}
