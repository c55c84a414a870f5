//! What flags and environment variables say, flags over variables.

use super::{
    Fault, Place,
    flags::Settings,
    loader::Loader,
    secret::{self, Hidden},
    section::{Given, Overrides},
    setting::{
        ADMIN, AUDIENCE, BETTER_AUTH, ISSUER, JWKS, LISTEN, LOG_FORMAT, LOG_LEVEL, OTLP, SECRET, SECRET_FILE, Setting,
        TRUSTED_PROXY, UPSTREAM, WORKERS, warn_of_misspelt_variables,
    },
    text::Text,
    url,
};

/// Better Auth's own variable, which the proxy may share.
pub(super) const BETTER_AUTH_SECRET: &str = "BETTER_AUTH_SECRET";

/// Where keys come from, as flags or variables say.
pub(super) enum GivenKeys {
    /// Secrets themselves, and files of secrets.
    Secrets {
        /// The secrets.
        inline: Vec<Text>,
        /// The files.
        files: Vec<Text>,
    },
    /// A key set's URL or file.
    Jwks(Text),
    /// They are given, and what is wrong with them is told already.
    Faulty,
}

/// What flags and variables say, by the table of the file that it goes over.
pub(super) struct GivenSettings {
    pub(super) server: Overrides,
    pub(super) log: Overrides,
    pub(super) traces: Overrides,
    pub(super) upstream: Overrides,
    pub(super) issuer: Overrides,
    pub(super) keys: Option<GivenKeys>,
}

/// One of the two places that keys can be given at.
struct Layer {
    secret: Option<Given>,
    secret_file: Option<Given>,
    jwks: Option<Given>,
    better_auth: Option<Given>,
}

impl GivenSettings {
    pub(super) fn read(settings: &Settings, loader: &Loader<'_>) -> Self {
        warn_of_misspelt_variables(loader);
        let text = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
        let given = |setting: &Setting, values: Vec<String>| {
            from_flag(setting, values).or_else(|| from_variable(setting, loader))
        };
        let over = |pairs: Vec<(&'static str, Option<Given>)>| -> Overrides {
            pairs.into_iter().filter_map(|(key, given)| Some((key, given?))).collect()
        };
        let mut issuer = over(vec![
            ("issuer", given(&ISSUER, text(&settings.issuer))),
            ("audience", given(&AUDIENCE, settings.audience.clone())),
        ]);
        Self {
            server: over(vec![
                ("listen", given(&LISTEN, settings.listen.clone())),
                ("admin", given(&ADMIN, text(&settings.admin))),
                ("trusted_proxies", given(&TRUSTED_PROXY, settings.trusted_proxy.clone())),
                ("workers", given(&WORKERS, text(&settings.workers))),
            ]),
            log: over(vec![
                ("format", given(&LOG_FORMAT, text(&settings.log_format))),
                ("level", given(&LOG_LEVEL, text(&settings.log_level))),
            ]),
            traces: over(vec![("otlp", given(&OTLP, text(&settings.otlp)))]),
            upstream: over(vec![("url", given(&UPSTREAM, text(&settings.upstream)))]),
            keys: keys(settings, loader, &mut issuer),
            issuer,
        }
    }

    /// Everything that goes over the one issuer.
    pub(super) fn of_issuer(&self) -> Vec<&Place> {
        let keys = self.keys.iter().flat_map(|keys| match keys {
            GivenKeys::Faulty => Vec::new(),
            GivenKeys::Jwks(text) => vec![text],
            GivenKeys::Secrets { inline, files } => inline.iter().chain(files).collect(),
        });
        self.issuer.iter().map(|(_, given)| &given.place).chain(keys.map(|text| &text.place)).collect()
    }
}

fn from_flag(setting: &Setting, values: Vec<String>) -> Option<Given> {
    (!values.is_empty()).then_some(Given { values, place: Place::Flag(setting.flag) })
}

fn from_variable(setting: &Setting, loader: &Loader<'_>) -> Option<Given> {
    let place = Place::Variable(setting.variable.into());
    let value = secret::variable(loader.environment, setting.variable)
        .map_err(|()| Fault::new(place.clone(), setting.variable, "bytes that are not UTF-8", "text"));
    let value = loader.accept(value)??;
    let values = if setting.list { value.split(',').map(|item| item.trim().to_owned()).collect() } else { vec![value] };
    Some(Given { values, place })
}

/// The key source of the flags, or else of the variables; what Better Auth's shorthand implies for the issuer goes
/// where nothing else was said of it.
fn keys(settings: &Settings, loader: &Loader<'_>, issuer: &mut Overrides) -> Option<GivenKeys> {
    let secrets: Vec<String> = settings.secret.iter().map(Hidden::expose).map(str::to_owned).collect();
    let flags = Layer {
        secret: from_flag(&SECRET, secrets),
        secret_file: from_flag(&SECRET_FILE, settings.secret_file.clone()),
        jwks: from_flag(&JWKS, settings.jwks.iter().cloned().collect()),
        better_auth: from_flag(&BETTER_AUTH, settings.better_auth.iter().cloned().collect()),
    };
    let variables = Layer {
        secret: from_variable(&SECRET, loader),
        secret_file: from_variable(&SECRET_FILE, loader),
        jwks: from_variable(&JWKS, loader),
        better_auth: from_variable(&BETTER_AUTH, loader),
    };
    if flags.is_empty() {
        return variables.keys(loader, issuer);
    }
    for given in variables.all() {
        loader.warn_ignored(&given.place, "a flag says where keys come from");
    }
    flags.keys(loader, issuer)
}

impl Layer {
    fn all(&self) -> impl Iterator<Item = &Given> {
        [&self.secret, &self.secret_file, &self.jwks, &self.better_auth].into_iter().flatten()
    }

    fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    fn keys(&self, loader: &Loader<'_>, issuer: &mut Overrides) -> Option<GivenKeys> {
        if self.is_empty() {
            return None;
        }
        let texts = |given: &Option<Given>, key| given.as_ref().map(|given| given.texts(key));
        let secrets = self.secret.as_ref().or(self.secret_file.as_ref());
        let key_set = self.jwks.as_ref().or(self.better_auth.as_ref());
        if let (Some(secrets), Some(key_set)) = (secrets, key_set) {
            loader.report(two_sources(&secrets.place, &key_set.place));
        }
        if secrets.is_some() {
            let inline = texts(&self.secret, "secret").unwrap_or_default();
            return Some(GivenKeys::Secrets {
                inline,
                files: texts(&self.secret_file, "secret_file").unwrap_or_default(),
            });
        }
        let implied = self.better_auth.as_ref().and_then(|given| better_auth(given, loader, issuer));
        let jwks = texts(&self.jwks, "jwks").and_then(|mut texts| texts.pop());
        Some(jwks.or(implied).map_or(GivenKeys::Faulty, GivenKeys::Jwks))
    }
}

/// The shorthand: the key set's URL, and over the issuer what nobody gave otherwise.
fn better_auth(given: &Given, loader: &Loader<'_>, issuer: &mut Overrides) -> Option<Text> {
    const WANTED: &str = "the origin of a Better Auth, such as https://app.example, without a path";
    let text = given.texts("better_auth").pop()?;
    let origin = loader.accept(url::read_origin(&text, WANTED))?;
    for key in ["issuer", "audience"] {
        if !issuer.iter().any(|(name, _)| *name == key) {
            issuer.push((key, Given { values: vec![origin.clone()], place: given.place.clone() }));
        }
    }
    Some(Text { value: format!("{origin}/api/auth/jwks"), ..text })
}

fn two_sources(secrets: &Place, key_set: &Place) -> Fault {
    Fault::new(secrets.clone(), "secret", format!("a secret beside {key_set}"), "one key source")
        .advise("two issuers need a configuration file (--config)")
}

/// One flag cannot say which of several tables it goes over.
pub(super) fn refuse_over_several<'p>(places: impl IntoIterator<Item = &'p Place>, table: &str, loader: &Loader<'_>) {
    for place in places {
        let found = format!("a setting for one {table}, where the file has several");
        let wanted = format!("it in the {table} of the file that is meant");
        loader.report(Fault::new(place.clone(), table, found, wanted));
    }
}
