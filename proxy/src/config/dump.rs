//! From a configuration back to text: TOML that loads to the same, without secrets.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Value;

use super::{Address, Config, identity, route};

/// TOML as it grows.
pub(super) struct Dump<'a> {
    text: String,
    /// What paths are made absolute by: the text may be loaded from elsewhere.
    directory: &'a Path,
}

impl Config {
    /// The configuration as TOML that loads to the same, every default spelt out. Paths become absolute, by this
    /// working directory. A secret is named by its file or variable; one of the command line, which has neither, by the
    /// variable that it must be put into.
    pub fn to_toml(&self, working_directory: &Path) -> String {
        let mut dump = Dump { text: String::new(), directory: working_directory };
        self.server.write(&mut dump);
        self.log.write(&mut dump);
        self.traces.iter().for_each(|traces| traces.write(&mut dump));
        self.issuers.iter().for_each(|issuer| issuer.write(&mut dump));
        self.upstreams.iter().for_each(|upstream| upstream.write(&mut dump));
        self.policy.routes().iter().for_each(|route| route::write(route, self, &mut dump));
        identity::write(&self.identity, &mut dump);
        self.limits.write(&mut dump);
        self.timeouts.write(&mut dump);
        dump.text
    }
}

impl Dump<'_> {
    /// Begins a table, such as `[server]`.
    pub(super) fn table(&mut self, header: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(header);
        self.text.push('\n');
    }

    /// A line for people.
    pub(super) fn comment(&mut self, line: &str) {
        self.text.push_str("# ");
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A key and its value.
    pub(super) fn entry(&mut self, key: &str, value: impl Into<Value>) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "{} = {}", quoted_key(key), value.into());
    }

    /// A key and its value, if there is one.
    pub(super) fn optional(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.entry(key, value);
        }
    }

    /// A key and its list.
    pub(super) fn list<T: ToString>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let values = values.into_iter().map(|value| Value::String(value.to_string()));
        self.entry(key, Value::Array(values.collect()));
    }

    /// A key and its list, unless that is empty.
    pub(super) fn some<T: ToString>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.list(key, values);
        }
    }

    /// A number; what no TOML integer can hold is written as the largest.
    pub(super) fn number(&mut self, key: &str, number: impl TryInto<i64>) {
        self.entry(key, number.try_into().unwrap_or(i64::MAX));
    }

    /// Seconds, whole ones as a whole number.
    pub(super) fn seconds(&mut self, key: &str, duration: Duration) {
        if duration.subsec_nanos() == 0 {
            self.number(key, duration.as_secs());
        } else {
            self.entry(key, duration.as_secs_f64());
        }
    }

    pub(super) fn path(&self, path: &Path) -> String {
        self.absolute(path).display().to_string()
    }

    pub(super) fn address(&self, address: &Address) -> String {
        match address {
            Address::Tcp(_) | Address::Systemd(_) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", self.path(path)),
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

/// A key in its plain spelling where it has one.
pub(super) fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { key.to_owned() } else { Value::String(key.to_owned()).to_string() }
}
