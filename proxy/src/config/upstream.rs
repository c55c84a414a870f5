//! Upstreams: the applications behind the proxy.

use std::{fmt, path::PathBuf, str::FromStr};

use super::{
    Fault, UnknownName,
    address::unix_path,
    defaults,
    dump::{Dump, quoted_key},
    loader::Loader,
    section::Section,
    text::Text,
    url::{self, bare_host, default_port},
};

/// One application behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name by which routes, logs and metrics know it.
    pub name: Box<str>,
    /// Its addresses, tried in turn.
    pub endpoints: Vec<Endpoint>,
    /// What is spoken with it.
    pub protocol: UpstreamProtocol,
    /// Requests that it may have at once, over all its addresses; 0 for any number.
    pub requests: usize,
    /// TLS towards it; `None` for plain HTTP.
    pub tls: Option<UpstreamTls>,
}

/// What is spoken with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1: a connection for each exchange at a time.
    #[default]
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS: gRPC needs it.
    Http2,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host name or IP address, resolved when connecting.
    Tcp {
        /// Host name or address, IPv6 without brackets.
        host: Box<str>,
        /// Port.
        port: u16,
    },
    /// A unix-domain socket.
    Unix(PathBuf),
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that the certificate must be for; `None` for the endpoint's host.
    pub server_name: Option<Box<str>>,
    /// Authorities to trust instead of the well-known ones: a PEM file.
    pub ca: Option<PathBuf>,
    /// The proxy's own certificate chain and key: PEM files.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

const WANTED: &str = "http://HOST:PORT, https://HOST:PORT or unix:/PATH";

/// The keys that mean something with TLS alone.
const TLS_KEYS: [&str; 4] = ["server_name", "ca", "client_certificate", "client_key"];

impl Upstream {
    pub(super) fn read(section: &mut Section<'_>, name: &str) -> Option<Self> {
        let loader = section.loader;
        section.require("url", WANTED);
        let addresses = section.some_parsed("url", |text| endpoint(text, loader));
        let tls = read_tls(section);
        let addresses = addresses?.into_vec();
        let secure = addresses.first().is_some_and(|(_, tls)| *tls);
        if addresses.iter().any(|(_, tls)| *tls != secure) {
            section.loader.report(section.fault_at("url", "https beside others", "addresses of one kind"));
        }
        if !secure && let Some(key) = TLS_KEYS.into_iter().find(|key| section.has(key)) {
            section.loader.report(section.fault_at(key, "a key of TLS beside a url without it", "an https:// url"));
        }
        let endpoints = addresses.into_iter().map(|(endpoint, _)| endpoint).collect();
        let protocol = section.parsed("protocol", |text| text.parse("http/1.1 or http/2")).unwrap_or_default();
        let requests = section.integer("requests", 0..=1_000_000).and_then(|requests| usize::try_from(requests).ok());
        Some(Self {
            name: name.into(),
            endpoints,
            protocol,
            requests: requests.unwrap_or(defaults::UPSTREAM_REQUESTS),
            tls: secure.then_some(tls),
        })
    }

    pub(super) fn write(&self, dump: &mut Dump<'_>) {
        dump.table(&format!("[upstream.{}]", quoted_key(&self.name)));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tcp { .. } => format!("{scheme}://{endpoint}"),
            Endpoint::Unix(path) => format!("unix:{}", dump.path(path)),
        };
        let urls: Vec<String> = self.endpoints.iter().map(url).collect();
        dump.list("url", urls);
        dump.entry("protocol", self.protocol.as_str());
        dump.number("requests", self.requests);
        if let Some(tls) = &self.tls {
            dump.optional("server_name", tls.server_name.as_deref());
            dump.optional("ca", tls.ca.as_deref().map(|path| dump.path(path)));
            if let Some((certificate, key)) = &tls.client_certificate {
                dump.entry("client_certificate", dump.path(certificate));
                dump.entry("client_key", dump.path(key));
            }
        }
    }
}

impl UpstreamProtocol {
    const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// The name in the file.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "http/2",
        }
    }
}

impl FromStr for UpstreamProtocol {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name).ok_or(UnknownName)
    }
}

fn read_tls(section: &mut Section<'_>) -> UpstreamTls {
    let loader = section.loader;
    let certificate = section.parsed("client_certificate", |text| loader.file(text, "a PEM file of certificates"));
    let key = section.parsed("client_key", |text| loader.file(text, "a PEM file of a private key"));
    for (name, other) in [("client_certificate", "client_key"), ("client_key", "client_certificate")] {
        if section.has(other) {
            section.require(name, &format!("a PEM file, as there is a {other}"));
        }
    }
    UpstreamTls {
        server_name: section.parsed("server_name", server_name),
        ca: section.parsed("ca", |text| loader.file(text, "a PEM file of certificates")),
        client_certificate: certificate.zip(key),
    }
}

fn server_name(text: &Text) -> Result<Box<str>, Fault> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if text.value.is_empty() || text.value.len() > 253 || !text.value.bytes().all(legal) {
        return Err(text.fault("a host name or IP address"));
    }
    Ok(text.value.as_str().into())
}

/// An address, and whether it is behind TLS.
fn endpoint(text: &Text, loader: &Loader<'_>) -> Result<(Endpoint, bool), Fault> {
    if let Some(path) = unix_path(text, loader)? {
        return Ok((Endpoint::Unix(path), false));
    }
    let uri = url::read(text, WANTED)?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err(text.fault(WANTED).advise("paths are forwarded as they came, so the url has none"));
    }
    let port = uri.port_u16().unwrap_or_else(|| default_port(&uri));
    Ok((Endpoint::Tcp { host: bare_host(&uri).into(), port }, url::is_https(&uri)))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
