//! Places to listen on.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use super::{Fault, loader::Loader, text::Text};

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A unix-domain socket.
    Unix(PathBuf),
    /// What the service manager has bound already: the sockets of this name, or all.
    Systemd(Option<Box<str>>),
}

/// The longest path that a unix-domain socket can have, in bytes (`sun_path` in unix(7), less its final NUL).
const UNIX_PATH_BYTES: usize = 107;

const WANTED: &str = "IP:PORT, localhost:PORT or unix:/PATH";
const LISTENER_WANTED: &str = "IP:PORT, localhost:PORT, unix:/PATH, systemd or systemd:NAME";

impl Address {
    pub(super) fn read(text: &Text, loader: &Loader<'_>) -> Result<Self, Fault> {
        Self::read_wanting(WANTED, text, loader)
    }

    /// One that the service manager may have bound.
    pub(super) fn read_listener(text: &Text, loader: &Loader<'_>) -> Result<Self, Fault> {
        match text.value.strip_prefix("systemd") {
            Some("") => Ok(Self::Systemd(None)),
            Some(name) => descriptor_name(name)
                .map(|name| Self::Systemd(Some(name)))
                .ok_or_else(|| text.fault("systemd:NAME, with the FileDescriptorName= of the socket unit")),
            None => Self::read_wanting(LISTENER_WANTED, text, loader),
        }
    }

    fn read_wanting(wanted: &str, text: &Text, loader: &Loader<'_>) -> Result<Self, Fault> {
        if let Some(path) = unix_path(text, loader)? {
            return Ok(Self::Unix(path));
        }
        let local = text.value.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        local.map_or_else(|| text.parse(wanted), Ok).map(Self::Tcp)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

/// systemd.socket(5), `FileDescriptorName=`.
fn descriptor_name(text: &str) -> Option<Box<str>> {
    let name = text.strip_prefix(':')?;
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    (!name.is_empty() && name.len() <= 255 && name.bytes().all(legal)).then(|| name.into())
}

/// The path of `unix:/path`; nothing if the text is of another kind.
pub(super) fn unix_path(text: &Text, loader: &Loader<'_>) -> Result<Option<PathBuf>, Fault> {
    let Some(path) = text.value.strip_prefix("unix:") else { return Ok(None) };
    let path = loader.path(&Text { value: path.to_owned(), ..text.clone() }).map_err(|_| text.fault("unix:/PATH"))?;
    if path.as_os_str().len() > UNIX_PATH_BYTES {
        return Err(text.fault(format!("unix: and a path of at most {UNIX_PATH_BYTES} bytes")));
    }
    Ok(Some(path))
}
