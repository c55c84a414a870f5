//! From flags, environment and file to one configuration, or to every fault.

use std::path::Path;

use toml::de::DeTable;

use super::{
    Config, Environment, Fault, IssuerConfig, Limits, Log, Place, ReadFile, Server, Settings, Timeouts, Traces,
    Warning,
    given::GivenSettings,
    identity, issuers,
    loader::{Loader, Origin},
    named::Named,
    routes, secret,
    section::Section,
    setting::CONFIG,
    text::Text,
    upstreams,
};

impl Config {
    /// Reads the configuration: flags over environment over file over default.
    ///
    /// # Errors
    /// Every fault, in the order of their places. Where the file is no TOML, its faults as such.
    pub fn load(
        settings: &Settings,
        environment: &Environment,
        read: ReadFile<'_>,
    ) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        with_root(settings, environment, read, read_root)
    }
}

impl IssuerConfig {
    /// Reads the issuers alone, for what needs neither upstream nor route; none where no key source is given.
    ///
    /// # Errors
    /// Every fault of the issuers, in the order of their places.
    pub fn load(
        settings: &Settings,
        environment: &Environment,
        read: ReadFile<'_>,
    ) -> Result<(Vec<Self>, Vec<Warning>), Vec<Fault>> {
        with_root(settings, environment, read, |root, given| {
            for name in ["log", "traces", "identity", "limits", "timeouts", "upstream", "route"] {
                root.pass_over(name);
            }
            let server = root.within("server", given.server.clone(), Server::read);
            if !issuers::are_given(root, &given) {
                root.pass_over("issuer");
                return Some(Vec::new());
            }
            let issuers = issuers::read(root, &given, &server.plain_http_hosts);
            issuers.into_iter().map(|(_, issuer)| issuer).collect()
        })
    }
}

/// Opens the file, if there is one, and reads it with a function that gets the whole and what goes over it.
fn with_root<T>(
    settings: &Settings,
    environment: &Environment,
    read: ReadFile<'_>,
    read_root: impl FnOnce(&mut Section<'_>, GivenSettings) -> Option<T>,
) -> Result<(T, Vec<Warning>), Vec<Fault>> {
    let Some(file) = config_file(settings, environment).map_err(|fault| vec![fault])? else {
        return assemble(settings, Loader::new(environment, read, None), None, read_root);
    };
    let content = content(&file, &Loader::new(environment, read, None)).map_err(|fault| vec![fault])?;
    let origin = Origin::new(Path::new(&file.value), &content);
    let (table, errors) = DeTable::parse_recoverable(&content);
    if !errors.is_empty() {
        let mut faults: Vec<Fault> = errors.iter().map(|error| syntax(error, &origin)).collect();
        faults.sort();
        faults.dedup();
        return Err(faults);
    }
    assemble(settings, Loader::new(environment, read, Some(&origin)), Some(table.get_ref()), read_root)
}

fn content(file: &Text, loader: &Loader<'_>) -> Result<String, Fault> {
    let (path, content) = loader.content(file, "a configuration file")?;
    let found = || format!("{:?}, which is not UTF-8", path.display());
    String::from_utf8(content).map_err(|_| file.fault_finding(found(), "a TOML file"))
}

fn config_file(settings: &Settings, environment: &Environment) -> Result<Option<Text>, Fault> {
    let text = |value: String, place| Text { value, key: "config".to_owned(), place };
    if let Some(path) = &settings.config {
        return Ok(Some(text(path.clone(), Place::Flag(CONFIG.flag))));
    }
    let place = Place::Variable(CONFIG.variable.into());
    match secret::variable(environment, CONFIG.variable) {
        Ok(path) => Ok(path.map(|path| text(path, place))),
        Err(()) => Err(text(String::new(), place).fault_finding("bytes that are not UTF-8", "a path")),
    }
}

/// Tells where the text stops being TOML, and nothing of the text: a secret may stand there.
fn syntax(error: &toml::de::Error, origin: &Origin) -> Fault {
    let place = origin.place(&error.span().unwrap_or_default());
    Fault::new(place, "", format!("no TOML ({})", error.message()), "TOML 1.1")
}

fn assemble<T>(
    settings: &Settings,
    loader: Loader<'_>,
    table: Option<&DeTable<'_>>,
    read_root: impl FnOnce(&mut Section<'_>, GivenSettings) -> Option<T>,
) -> Result<(T, Vec<Warning>), Vec<Fault>> {
    let given = GivenSettings::read(settings, &loader);
    let place = (String::new(), loader.nowhere());
    let value = Section::read(&loader, place, table, Vec::new(), |root| read_root(root, given));
    let (faults, warnings) = loader.into_findings();
    match value {
        Some(value) if faults.is_empty() => Ok((value, warnings)),
        Some(_) | None => Err(faults),
    }
}

fn read_root(root: &mut Section<'_>, given: GivenSettings) -> Option<Config> {
    let server = root.within("server", given.server.clone(), Server::read);
    let log = root.within("log", given.log.clone(), Log::read);
    let traces = root.within("traces", given.traces.clone(), |section| Traces::read(section, &server.plain_http_hosts));
    let identity = root.within("identity", Vec::new(), identity::read);
    let limits = root.within("limits", Vec::new(), Limits::read);
    let timeouts = root.within("timeouts", Vec::new(), Timeouts::read);
    let issuers = issuers::read(root, &given, &server.plain_http_hosts);
    let upstreams = upstreams::read(root, given.upstream);
    let policy = routes::read(root, &Named { issuers: &issuers, upstreams: &upstreams });
    let issuers = issuers.into_iter().map(|(_, issuer)| issuer).collect::<Option<_>>();
    let upstreams = upstreams.into_iter().map(|(_, upstream)| upstream).collect::<Option<_>>();
    let (issuers, upstreams, policy) = (issuers?, upstreams?, policy?);
    Some(Config { server, log, traces, issuers, upstreams, policy, identity, limits, timeouts })
}
