//! The list of issuers: those of the file, or the one that flags and variables describe.

use super::{
    Fault, IssuerConfig, KeySource, Place, Secret, SecretOrigin, defaults,
    given::{BETTER_AUTH_SECRET, GivenKeys, GivenSettings, refuse_over_several},
    issuer,
    loader::Loader,
    named::{self, NameList},
    secret::variable,
    section::Section,
    text::Text,
};

pub(super) fn read(root: &mut Section<'_>, given: &GivenSettings, plain_hosts: &[Box<str>]) -> NameList<IssuerConfig> {
    let loader = root.loader;
    let issuers = match root.count("issuer") {
        0 if !root.has("issuer") => vec![without_file(root, given, plain_hosts)],
        0 | 1 => root.each("issuer", given.issuer.clone(), |section| {
            let name = section.parsed("name", named::name).unwrap_or_else(|| defaults::NAME.into());
            let shared = shared_secret(loader).filter(|_| !issuer::has_keys(section));
            let keys = given.keys.as_ref().or(shared.as_ref());
            (name.clone(), IssuerConfig::read(section, name, keys, plain_hosts))
        }),
        _ => {
            refuse_over_several(given.of_issuer(), "issuer", loader);
            several(root, plain_hosts)
        }
    };
    warn_of_unused_secret(&issuers, loader);
    issuers
}

/// Whether anything says where keys come from.
pub(super) fn are_given(root: &Section<'_>, given: &GivenSettings) -> bool {
    root.has("issuer") || given.keys.is_some() || root.loader.environment.value(BETTER_AUTH_SECRET).is_some()
}

fn without_file(
    root: &mut Section<'_>,
    given: &GivenSettings,
    plain_hosts: &[Box<str>],
) -> (Box<str>, Option<IssuerConfig>) {
    let (loader, name) = (root.loader, Box::from(defaults::NAME));
    root.pass_over("issuer");
    let shared = shared_secret(loader);
    let keys = given.keys.as_ref().or(shared.as_ref());
    if keys.is_none() {
        let wanted = "a key source: --better-auth, --jwks, --secret-file, BETTER_AUTH_SECRET, or [[issuer]] in a file";
        loader.report(root.fault_at("issuer", "nothing", wanted));
        return (name, None);
    }
    let place = ("issuer[0]".to_owned(), loader.nowhere());
    let issuer = Section::read(loader, place, None, given.issuer.clone(), |section| {
        section.pass_over("name");
        IssuerConfig::read(section, name.clone(), keys, plain_hosts)
    });
    (name, issuer)
}

/// Each with a name and an `iss` of its own: by these, routes and tokens choose.
fn several(root: &mut Section<'_>, plain_hosts: &[Box<str>]) -> NameList<IssuerConfig> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut claims: Vec<Option<Box<str>>> = Vec::new();
    root.each("issuer", Vec::new(), |section| {
        section.require("name", "a name, as there are several issuers");
        let name = section.parsed("name", named::name).unwrap_or_default();
        if !name.is_empty() && names.contains(&name) {
            section.loader.report(section.fault_at("name", format!("{name:?} again"), "a name of its own"));
        }
        names.push(name.clone());
        let issuer = IssuerConfig::read(section, name.clone(), None, plain_hosts);
        if let Some(issuer) = &issuer {
            let claim = issuer.rules.issuer.clone();
            if claims.contains(&claim) {
                section.loader.report(same_claim(section, claim.as_deref()));
            }
            claims.push(claim);
        }
        (name, issuer)
    })
}

fn same_claim(section: &Section<'_>, claim: Option<&str>) -> Fault {
    match claim {
        Some(claim) => {
            section.fault_at("issuer", format!("{claim:?} again"), "an iss of its own: tokens are told by it")
        }
        None => section.fault_at("issuer", "a second issuer without one", "an iss: at most one issuer may have none"),
    }
}

/// The secret that the proxy may share with Better Auth.
fn shared_secret(loader: &Loader<'_>) -> Option<GivenKeys> {
    let text =
        |value| Text { value, key: BETTER_AUTH_SECRET.to_owned(), place: Place::Variable(BETTER_AUTH_SECRET.into()) };
    let value = variable(loader.environment, BETTER_AUTH_SECRET)
        .map_err(|()| text(String::new()).fault_finding("bytes that are not UTF-8", "a secret in UTF-8"));
    let value = loader.accept(value)??;
    Some(GivenKeys::Secrets { inline: vec![text(value)], files: Vec::new() })
}

fn warn_of_unused_secret(issuers: &NameList<IssuerConfig>, loader: &Loader<'_>) {
    let variable = SecretOrigin::Variable(BETTER_AUTH_SECRET.into());
    let used = |issuer: &IssuerConfig| match &issuer.keys {
        KeySource::Secrets(secrets) => secrets.iter().map(Secret::origin).any(|origin| *origin == variable),
        KeySource::JwksUrl(_) | KeySource::JwksFile(_) | KeySource::Discovery(_) => false,
    };
    let all_read = issuers.iter().all(|(_, issuer)| issuer.is_some());
    if all_read
        && loader.environment.value(BETTER_AUTH_SECRET).is_some()
        && !issuers.iter().filter_map(|(_, issuer)| issuer.as_ref()).any(used)
    {
        loader.warn_ignored(&Place::Variable(BETTER_AUTH_SECRET.into()), "keys come from elsewhere");
    }
}
