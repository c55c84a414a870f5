//! One careful request over the network: a GET of a small document, or a POST of one.
//!
//! The caller's word decides nothing here: which URL is read is the operator's choice, yet what answers may be slow,
//! huge, hostile or gone. So every fetch has a time limit and a size cap, goes to no origin but the one it was sent to,
//! and uses plain HTTP only where the address it really connects to is this machine's or a private network's.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header, request, uri::Scheme};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::serve::tls::native_roots;

/// How many redirects within the origin are followed.
const REDIRECTS: usize = 3;

/// The largest document, in bytes.
pub(super) const DOCUMENT_BYTES: usize = 1 << 20;

/// Fetches documents.
#[derive(Clone)]
pub struct Fetcher {
    /// How a server over TLS proves who it is. Read when first needed: it takes longer than all else at start.
    tls: Arc<OnceLock<TlsConnector>>,
    /// Hosts that may be asked over plain HTTP wherever they are.
    plain_hosts: Arc<[Box<str>]>,
    /// For one document, redirects and all.
    time_limit: Duration,
}

/// Why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchFault {
    /// The URL is none that can be fetched.
    #[error("`{0}` is no absolute http or https URL")]
    Url(Box<str>),
    /// Keys over plain HTTP from the open network could be anybody's.
    #[error("`{host}` is reached over plain http at {address}, which is neither loopback nor private; use https")]
    Plain {
        /// The URL's host.
        host: String,
        /// What it resolved to.
        address: IpAddr,
    },
    /// The host name has no address.
    #[error("`{host}` could not be resolved")]
    Resolve {
        /// The URL's host.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("no connection to `{host}`")]
    Connect {
        /// The URL's host.
        host: String,
        /// What the last address that was tried answered.
        #[source]
        source: io::Error,
    },
    /// Nobody to vouch for any server.
    #[error("this system has no certificate authorities; install its ca-certificates or name a file in SSL_CERT_FILE")]
    NoAuthorities,
    /// The server did not prove to be the host.
    #[error("no TLS with `{host}`")]
    Tls {
        /// The URL's host.
        host: String,
        /// What the handshake failed on.
        #[source]
        source: io::Error,
    },
    /// The server broke off or spoke no HTTP.
    #[error("no valid HTTP answer")]
    Http(#[source] hyper::Error),
    /// The answer's body broke off.
    #[error("the answer broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer that holds no document.
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    /// A redirect elsewhere: whoever controls that place would choose the keys.
    #[error("the answer redirects to `{0}`, another origin; configure the final URL")]
    Elsewhere(String),
    /// A server that sends its visitors in a circle.
    #[error("the answer redirects more than {REDIRECTS} times")]
    Circle,
    /// A document beyond the cap.
    #[error("the document is larger than {DOCUMENT_BYTES} bytes")]
    TooLarge,
    /// Too slow.
    #[error("no complete answer within {} seconds", .0.as_secs_f32())]
    TimedOut(Duration),
}

impl FetchFault {
    /// Whether nothing was reached: asking again soon burdens nobody.
    pub(super) fn reached_nobody(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Resolve { .. })
    }
}

impl Fetcher {
    /// A fetcher that spends at most `time_limit` on a document, and trusts `plain_hosts` over plain HTTP wherever they
    /// are. Over TLS it trusts the system's certificate authorities, or those that `SSL_CERT_FILE` names.
    pub fn new(plain_hosts: Arc<[Box<str>]>, time_limit: Duration) -> Self {
        Self { tls: Arc::default(), plain_hosts, time_limit }
    }

    /// Reads the document at `uri`.
    ///
    /// # Errors
    /// [`FetchFault`] unless the answer is a 200 with a body within [`DOCUMENT_BYTES`].
    pub(super) async fn get(&self, uri: &Uri) -> Result<Bytes, FetchFault> {
        timeout(self.time_limit, self.follow(uri.clone())).await.map_err(|_| FetchFault::TimedOut(self.time_limit))?
    }

    /// Sends `body` to `uri`. Redirects are not followed: what is sent goes where it was meant to go, or nowhere.
    ///
    /// # Errors
    /// [`FetchFault`] unless the answer's status is one of success.
    pub(in crate::serve) async fn post(&self, uri: &Uri, kind: HeaderValue, body: Bytes) -> Result<(), FetchFault> {
        let sending = async {
            let target = Target::of(uri)?;
            let request = Request::post(target.path.as_str()).header(header::CONTENT_TYPE, kind);
            let status = self.send(&target, request, body).await?.status();
            if status.is_success() { Ok(()) } else { Err(FetchFault::Status(status)) }
        };
        timeout(self.time_limit, sending).await.map_err(|_| FetchFault::TimedOut(self.time_limit))?
    }

    /// Follows redirects as long as they stay within the origin.
    async fn follow(&self, mut uri: Uri) -> Result<Bytes, FetchFault> {
        for _ in 0..=REDIRECTS {
            match self.once(&uri).await? {
                Answer::Document(bytes) => return Ok(bytes),
                Answer::Redirect(headers) => uri = redirected(&uri, &headers)?,
            }
        }
        Err(FetchFault::Circle)
    }

    async fn once(&self, uri: &Uri) -> Result<Answer, FetchFault> {
        let target = Target::of(uri)?;
        let accepted = "application/jwk-set+json, application/json";
        let request = Request::get(target.path.as_str()).header(header::ACCEPT, accepted);
        let (head, document) = self.send(&target, request, Bytes::new()).await?.into_parts();
        match head.status {
            StatusCode::OK => Ok(Answer::Document(document)),
            status if status.is_redirection() && head.headers.contains_key(header::LOCATION) => {
                Ok(Answer::Redirect(head.headers))
            }
            status => Err(FetchFault::Status(status)),
        }
    }

    async fn send(
        &self,
        target: &Target,
        request: request::Builder,
        body: Bytes,
    ) -> Result<Response<Bytes>, FetchFault> {
        let stream = self.connect(target).await?;
        if !target.tls {
            return exchange(stream, target, request, body).await;
        }
        let lost = |source| FetchFault::Tls { host: target.host.clone(), source };
        let name = ServerName::try_from(target.host.clone()).map_err(|fault| lost(io::Error::other(fault)))?;
        let stream = self.tls()?.connect(name, stream).await.map_err(lost)?;
        exchange(stream, target, request, body).await
    }

    fn tls(&self) -> Result<&TlsConnector, FetchFault> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let roots = native_roots();
        if roots.is_empty() {
            return Err(FetchFault::NoAuthorities);
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(self.tls.get_or_init(|| TlsConnector::from(Arc::new(config))))
    }

    /// Connects to the first address that answers. What is connected to is what was checked: the name is resolved
    /// once.
    async fn connect(&self, target: &Target) -> Result<TcpStream, FetchFault> {
        let host = || target.host.clone();
        let unresolved = |source| FetchFault::Resolve { host: host(), source };
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in lookup_host((target.host.as_str(), target.port)).await.map_err(unresolved)? {
            if !target.tls && !self.may_be_plain(&target.host, address.ip()) {
                return Err(FetchFault::Plain { host: host(), address: address.ip() });
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(fault) => last = fault,
            }
        }
        Err(FetchFault::Connect { host: host(), source: last })
    }

    fn may_be_plain(&self, host: &str, address: IpAddr) -> bool {
        is_near(address) || self.plain_hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host))
    }
}

/// Whether nobody but this machine or its private network can stand at the address.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

enum Answer {
    Document(Bytes),
    Redirect(HeaderMap),
}

/// A URL taken apart.
struct Target {
    tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// `Host`, without any user name or password that the URL holds.
    authority: String,
    path: String,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, FetchFault> {
        let unfetchable = || FetchFault::Url(uri.to_string().into());
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) | None => return Err(unfetchable()),
        };
        let written = uri.host().ok_or_else(unfetchable)?;
        let port = uri.port_u16();
        Ok(Self {
            tls,
            host: written.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            authority: port.map_or_else(|| written.to_owned(), |port| format!("{written}:{port}")),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    fn is_same_origin(&self, other: &Self) -> bool {
        self.tls == other.tls && self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

/// Where a redirect leads, if it stays within the origin.
fn redirected(from: &Uri, headers: &HeaderMap) -> Result<Uri, FetchFault> {
    let location = headers.get(header::LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let location = location.unwrap_or_default();
    let elsewhere = || FetchFault::Elsewhere(location.clone());
    // `http::Uri` reads a network-path reference (RFC 3986 §4.2) as a path.
    if location.starts_with("//") {
        return Err(elsewhere());
    }
    let to = location.parse::<Uri>().map_err(|_| elsewhere())?.into_parts();
    let mut parts = from.clone().into_parts();
    if let Some(authority) = to.authority {
        parts.authority = Some(authority);
        parts.scheme = to.scheme.or(parts.scheme);
    }
    parts.path_and_query = to.path_and_query.or(Some(http::uri::PathAndQuery::from_static("/")));
    let next = Uri::from_parts(parts).map_err(|_| elsewhere())?;
    if Target::of(from)?.is_same_origin(&Target::of(&next)?) { Ok(next) } else { Err(elsewhere()) }
}

/// Asks over a connection of its own, which ends with the answer. The body of an answer that is no success is not read.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    target: &Target,
    request: request::Builder,
    body: Bytes,
) -> Result<Response<Bytes>, FetchFault> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(FetchFault::Http)?;
    // Dropped with this future, so that a fetch that runs out of time leaves no connection behind.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = request
        .header(header::HOST, &target.authority)
        .header(header::USER_AGENT, concat!("ownergate/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|_| FetchFault::Elsewhere(target.path.clone()))?;
    let (head, body) = sender.send_request(request).await.map_err(FetchFault::Http)?.into_parts();
    let body = if head.status.is_success() { document(body).await? } else { Bytes::new() };
    Ok(Response::from_parts(head, body))
}

async fn document(body: hyper::body::Incoming) -> Result<Bytes, FetchFault> {
    match Limited::new(body, DOCUMENT_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(fault) if fault.is::<LengthLimitError>() => Err(FetchFault::TooLarge),
        Err(fault) => Err(FetchFault::Body(fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_private_addresses_are_near() {
        for (address, near) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("10.0.0.1", true),
            ("172.31.0.1", true),
            ("192.168.1.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("169.254.169.254", false),
            ("8.8.8.8", false),
            ("::ffff:8.8.8.8", false),
            ("2606:4700::1111", false),
            ("0.0.0.0", false),
            ("172.32.0.1", false),
        ] {
            assert_eq!(is_near(address.parse().unwrap()), near, "{address}");
        }
    }

    #[test]
    fn a_redirect_is_followed_within_the_origin_alone() {
        let from = Uri::from_static("https://auth.example:8443/jwks?x=1");
        for (location, to) in [
            ("/keys", Some("https://auth.example:8443/keys")),
            ("https://AUTH.example:8443/keys?y=2", Some("https://AUTH.example:8443/keys?y=2")),
            ("https://auth.example/keys", None),
            ("http://auth.example:8443/keys", None),
            ("https://evil.example:8443/keys", None),
            ("https://auth.example:8443@evil.example/keys", None),
            ("//evil.example:8443/keys", None),
            ("http://169.254.169.254/latest", None),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            let found = redirected(&from, &headers).ok().map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), to, "{location}");
        }
    }
}
