//! What loading knows of its surroundings, and the faults that it gathers.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::OsString,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Fault, Place, Warning, text::Text};

/// The environment variables that a configuration may refer to.
#[derive(Clone, Default)]
pub struct Environment(HashMap<OsString, OsString>);

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl Environment {
    pub(super) fn value(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.to_str())
    }
}

/// How files are read: `std::fs::read`, or a table in a test.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The configuration file as a place.
pub(super) struct Origin {
    path: Arc<Path>,
    /// What its relative paths are relative to.
    directory: PathBuf,
    /// The offset at which each line begins.
    lines: Vec<usize>,
    text: String,
}

impl Origin {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        let lines = [0].into_iter().chain(text.match_indices('\n').map(|(offset, _)| offset + 1)).collect();
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { path: path.into(), directory, lines, text: text.to_owned() }
    }

    /// Where a part of the text begins.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.start);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let column = self.text.get(start..span.start).map_or(0, |before| before.chars().count());
        Place::File { path: self.path.clone(), line, column: column + 1 }
    }

    pub(super) fn start(&self) -> Place {
        Place::File { path: self.path.clone(), line: 1, column: 1 }
    }
}

/// Gathers faults and warnings, and reaches files and variables.
pub(super) struct Loader<'a> {
    pub(super) environment: &'a Environment,
    read: ReadFile<'a>,
    pub(super) origin: Option<&'a Origin>,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Warning>>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(environment: &'a Environment, read: ReadFile<'a>, origin: Option<&'a Origin>) -> Self {
        Self { environment, read, origin, faults: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn report(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    pub(super) fn warn(&self, warning: Warning) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Warns of what is given and has no effect.
    pub(super) fn warn_ignored(&self, place: &Place, reason: &str) {
        let message = format!("is ignored: {reason}").into();
        self.warn(Warning { place: place.clone(), key: Box::default(), message });
    }

    /// The value, or nothing and a fault to tell.
    pub(super) fn accept<T>(&self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.report(fault)).ok()
    }

    /// Where something that is missing could stand.
    pub(super) fn nowhere(&self) -> Place {
        self.origin.map_or(Place::CommandLine, Origin::start)
    }

    /// A path: of the file relative to the file, of anything else to the working directory.
    pub(super) fn path(&self, text: &Text) -> Result<PathBuf, Fault> {
        if text.value.is_empty() || text.value.contains('\0') {
            return Err(text.fault("a path"));
        }
        Ok(match (&text.place, self.origin) {
            (Place::File { .. }, Some(origin)) => origin.directory.join(&text.value),
            (Place::File { .. } | Place::Flag(_) | Place::Variable(_) | Place::CommandLine, _) => {
                PathBuf::from(&text.value)
            }
        })
    }

    /// The path and content of a file that must be there.
    pub(super) fn content(&self, text: &Text, wanted: &str) -> Result<(PathBuf, Vec<u8>), Fault> {
        let path = self.path(text)?;
        match (self.read)(&path) {
            Ok(content) => Ok((path, content)),
            Err(fault) => {
                Err(text.fault_finding(format!("{:?}, which cannot be read ({fault})", path.display()), wanted))
            }
        }
    }

    /// The path of a file that must be there; what reads it later judges its content.
    pub(super) fn file(&self, text: &Text, wanted: &str) -> Result<PathBuf, Fault> {
        self.content(text, wanted).map(|(path, _)| path)
    }

    /// The faults and warnings, each once and in the order of their places.
    pub(super) fn into_findings(self) -> (Vec<Fault>, Vec<Warning>) {
        let (mut faults, mut warnings) = (self.faults.into_inner(), self.warnings.into_inner());
        faults.sort();
        faults.dedup();
        warnings.sort();
        warnings.dedup();
        (faults, warnings)
    }
}
