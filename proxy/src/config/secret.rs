//! HMAC secrets: where they come from, and which ones are no secrets at all.

use std::{fmt, path::PathBuf};

use super::{
    Fault, Place, Warning,
    dump::Dump,
    fault::quoted,
    loader::{Environment, Loader},
    text::Text,
};

/// An HMAC secret. Its `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    bytes: Box<[u8]>,
    origin: SecretOrigin,
}

/// Where a secret comes from. Never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// The command line, where others can see it.
    CommandLine,
    /// An environment variable of this name.
    Variable(Box<str>),
    /// A file.
    File(PathBuf),
}

/// A text of the command line that no `Debug` shows.
#[derive(Clone)]
pub struct Hidden(String);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Hidden {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// What Better Auth uses where nobody gave it a secret: everybody knows it.
const PUBLIC_DEFAULT: &str = "better-auth-secret-12345678901234567890";

/// Shorter secrets are refused, in bytes.
const SHORTEST: usize = 16;

/// Shorter secrets are warned of, in bytes: HS256 wants as many as its hash has (RFC 7518 §3.2).
const SOUND: usize = 32;

const WANTED: &str = "a random secret of at least 32 bytes, such as from `openssl rand -base64 32`";

impl Secret {
    /// Takes the exact bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>, origin: SecretOrigin) -> Self {
        Self { bytes: bytes.into(), origin }
    }

    /// The exact bytes of the key.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it comes from.
    pub fn origin(&self) -> &SecretOrigin {
        &self.origin
    }

    /// A secret that a flag or a variable of the proxy's own holds.
    pub(super) fn read_inline(text: &Text, loader: &Loader<'_>) -> Result<Self, Fault> {
        let origin = match &text.place {
            Place::Variable(name) => SecretOrigin::Variable(name.clone()),
            Place::Flag(_) | Place::CommandLine | Place::File { .. } => SecretOrigin::CommandLine,
        };
        if origin == SecretOrigin::CommandLine {
            warn(text, loader, "a secret on the command line can be read by every user of this machine; use a file");
        }
        Self::check(text, &text.value, origin, loader)
    }

    /// A secret in a variable that the file names.
    pub(super) fn read_variable(name: &Text, loader: &Loader<'_>) -> Result<Self, Fault> {
        let wanted = "the name of an environment variable that is set";
        if !is_variable_name(&name.value) {
            // It may be the secret itself.
            return Err(name.fault_finding("what is no name of a variable", format!("{wanted}, in capitals")));
        }
        let value = variable(loader.environment, &name.value)
            .map_err(|()| name.fault_finding(format!("{} that is not UTF-8", quoted(&name.value)), WANTED))?
            .ok_or_else(|| name.fault_finding(format!("{}, which is not set", quoted(&name.value)), wanted))?;
        Self::check(name, &value, SecretOrigin::Variable(name.value.as_str().into()), loader)
    }

    /// A secret in a file, of which one final newline is dropped.
    pub(super) fn read_file(text: &Text, loader: &Loader<'_>) -> Result<Self, Fault> {
        let (path, content) = loader.content(text, "a file that holds a secret")?;
        let content = String::from_utf8(content)
            .map_err(|_| text.fault_finding(format!("{} that is not UTF-8", quoted(&text.value)), WANTED))?;
        let line = content.strip_suffix('\n').map_or(&*content, |line| line.strip_suffix('\r').unwrap_or(line));
        Self::check(text, line, SecretOrigin::File(path), loader)
    }

    fn check(text: &Text, value: &str, origin: SecretOrigin, loader: &Loader<'_>) -> Result<Self, Fault> {
        let bytes = value.len();
        let trimmed = value.trim();
        let found = if trimmed.is_empty() {
            "an empty secret".to_owned()
        } else if trimmed == PUBLIC_DEFAULT {
            "Better Auth's public default".to_owned()
        } else if looks_like_a_key_file(trimmed) {
            let fault = text.fault_finding("a PEM or SSH key", WANTED);
            return Err(fault.advise("a public key goes into a JSON Web Key Set (jwks)"));
        } else if bytes < SHORTEST {
            format!("a secret of {bytes} bytes")
        } else {
            if bytes < SOUND {
                warn(text, loader, &format!("the secret has {bytes} bytes; use {WANTED}"));
            }
            return Ok(Self::new(value.as_bytes(), origin));
        };
        Err(text.fault_finding(found, WANTED))
    }
}

/// Says where secrets are, and not what they are.
pub(super) fn write(secrets: &[Secret], dump: &mut Dump<'_>) {
    let (mut variables, mut files, mut nowhere) = (Vec::new(), Vec::new(), 0);
    for secret in secrets {
        match &secret.origin {
            SecretOrigin::Variable(name) => variables.push(name.to_string()),
            SecretOrigin::File(path) => files.push(dump.path(path)),
            SecretOrigin::CommandLine => {
                nowhere += 1;
                let name =
                    if nowhere == 1 { "OWNERGATE_SECRET".to_owned() } else { format!("OWNERGATE_SECRET_{nowhere}") };
                dump.comment(&format!("A secret of the command line: put it into {name} before this file is loaded."));
                variables.push(name);
            }
        }
    }
    dump.some("secret_env", variables);
    dump.some("secret_file", files);
}

fn warn(text: &Text, loader: &Loader<'_>, message: &str) {
    loader.warn(Warning { place: text.place.clone(), key: text.key.as_str().into(), message: message.into() });
}

/// A variable's value; an error if it is not UTF-8.
pub(super) fn variable(environment: &Environment, name: &str) -> Result<Option<String>, ()> {
    environment.value(name).map(|value| value.to_str().map(str::to_owned).ok_or(())).transpose()
}

/// Public keys taken for secrets let anybody sign (CVE-2022-29217, CVE-2024-33663).
fn looks_like_a_key_file(text: &str) -> bool {
    const STARTS: [&str; 7] =
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN", "PuTTY-User-Key-File-", "-----BEGIN"];
    STARTS.iter().any(|start| text.starts_with(start)) || text.contains("-----BEGIN ")
}

/// Capitals alone: what has others may be a secret that was put in the wrong place, and would be shown.
fn is_variable_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(legal)
}
