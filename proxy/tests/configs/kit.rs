//! A configuration's surroundings as tables: flags, variables and files.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use ownergate::config::{Config, Environment, Fault, Flags, Warning};

/// A secret that nothing is wrong with.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A key set with one key.
pub(crate) const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// What a configuration is loaded from.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    flags: Vec<String>,
    variables: Vec<(OsString, OsString)>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

pub(crate) fn setup() -> Setup {
    Setup::default()
        .file("c/secret.txt", SECRET)
        .file("c/jwks.json", JWKS)
        .file("secret.txt", SECRET)
        .file("jwks.json", JWKS)
}

/// The configuration file alone.
pub(crate) fn toml(text: &str) -> Setup {
    setup().file("c/o.toml", text).flags(&["--config", "c/o.toml"])
}

impl Setup {
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(0, (path.into(), content.as_ref().to_owned()));
        self
    }

    pub(crate) fn load(&self) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
        let arguments = ["ownergate"].into_iter().map(str::to_owned).chain(self.flags.clone());
        let flags = Flags::read(arguments).expect("legal flags");
        let environment: Environment = self.variables.iter().cloned().collect();
        Config::load(&flags.settings, &environment, &|path| self.read(path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.files.iter().find(|(name, _)| name == path);
        file.map(|(_, content)| content.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The configuration; what is wrong with it fails the test.
    #[track_caller]
    pub(crate) fn config(&self) -> Config {
        match self.load() {
            Ok((config, _)) => config,
            Err(faults) => panic!("{}", lines(&faults)),
        }
    }

    /// Every fault, a line each.
    #[track_caller]
    pub(crate) fn faults(&self) -> String {
        lines(&self.load().expect_err("a faulty configuration"))
    }

    /// Every warning, a line each.
    #[track_caller]
    pub(crate) fn warnings(&self) -> String {
        match self.load() {
            Ok((_, warnings)) => lines(&warnings),
            Err(faults) => panic!("{}", lines(&faults)),
        }
    }
}

fn lines<T: ToString>(findings: &[T]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
