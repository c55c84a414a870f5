//! TLS towards upstreams and from clients, by rustls.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use x509_cert::{Certificate, der::Decode};

use super::transport::{Socket, Stream};
use crate::config::{ServerTls, UpstreamProtocol, UpstreamTls};

/// HTTP/2's name in the negotiation of protocols (RFC 9113 §3.2).
pub(super) const HTTP2: &[u8] = b"h2";

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A PEM file that cannot be read, or holds no such thing.
    #[error("{path} holds no usable PEM")]
    Pem {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificates and key that do not go together, or are of no use.
    #[error("the certificates cannot be used")]
    Unusable(#[source] rustls::Error),
    /// Authorities that no certificate can be checked against.
    #[error("the authorities for client certificates cannot be used")]
    Authorities(#[source] rustls::server::VerifierBuilderError),
}

/// Opens TLS to an upstream.
#[derive(Clone)]
pub(super) struct UpstreamConnector {
    connector: TlsConnector,
    server_name: Option<Box<str>>,
}

impl UpstreamConnector {
    pub(super) fn new(tls: &UpstreamTls, protocol: UpstreamProtocol) -> Result<Self, TlsFault> {
        let roots = match &tls.ca {
            Some(path) => root_store(certificates(path)?)?,
            None => native_roots(),
        };
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match &tls.client_certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                builder.with_client_auth_cert(certificates(chain)?, private_key(key)?).map_err(TlsFault::Unusable)?
            }
        };
        if protocol == UpstreamProtocol::Http2 {
            config.alpn_protocols = vec![HTTP2.to_vec()];
        }
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server_name: tls.server_name.clone() })
    }

    /// Speaks TLS over `socket`, with whom the configuration names, or else with `host`.
    pub(super) async fn connect(&self, host: &str, socket: Socket) -> io::Result<Stream> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = self.connector.connect(name, socket).await;
        let stream = stream.map_err(|error| if agrees_on_none(&error) { no_http2() } else { error })?;
        let wanted = self.connector.config().alpn_protocols.first().map(Vec::as_slice);
        if wanted.is_some() && stream.get_ref().1.alpn_protocol() != wanted {
            return Err(no_http2());
        }
        Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
    }
}

/// Whether the other side has ended the handshake because it speaks no protocol that it was offered (RFC 7301 §3.2).
fn agrees_on_none(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}

fn no_http2() -> io::Error {
    io::Error::other("the upstream does not speak HTTP/2")
}

/// Takes TLS from clients.
///
/// # Errors
/// [`TlsFault`] when the files cannot be used.
pub(super) fn acceptor(tls: &ServerTls) -> Result<TlsAcceptor, TlsFault> {
    let builder = match &tls.client_ca {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(root_store(certificates(path)?)?);
            let verifier = WebPkiClientVerifier::builder(roots).build().map_err(TlsFault::Authorities)?;
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&tls.certificate)?;
    let mut config = builder.with_single_cert(chain, private_key(&tls.key)?).map_err(TlsFault::Unusable)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// When the leaf of a chain ends, from the Unix epoch; `None` where that cannot be read.
pub(super) fn expiry(chain: &Path) -> Option<Duration> {
    let leaf = certificates(chain).ok()?.into_iter().next()?;
    let leaf = Certificate::from_der(&leaf).ok()?;
    Some(leaf.tbs_certificate.validity.not_after.to_unix_duration())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |source| TlsFault::Pem { path: path.display().to_string(), source };
    let text = fs::read(path).map_err(|error| fault(rustls::pki_types::pem::Error::Io(error)))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(fault)?;
    if found.is_empty() { Err(fault(rustls::pki_types::pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsFault::Pem { path: path.display().to_string(), source })
}

fn root_store(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(TlsFault::Unusable)?;
    }
    Ok(roots)
}

/// The authorities that this system trusts, or that `SSL_CERT_FILE` names.
pub(super) fn native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Self-signed; ends on 23 November 2036.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBajCCARCgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwHhcNMjYxMTI2MDUwMzU1WhcNMzYxMTIzMDUwMzU1WjAUMRIwEAYDVQQDDAls
b2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATMs9MuCTCtKVXONvt4
UiId4AaXOHjI5cyIIvwg0WlmCRBPVYVJZujOIDv7sePacwFKVWGDpWdJMKGuJJ80
oHW/o1MwUTAdBgNVHQ4EFgQUCzrdfEqhnEKO6E3Rg7TtINmUAPUwHwYDVR0jBBgw
FoAUCzrdfEqhnEKO6E3Rg7TtINmUAPUwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjO
PQQDAgNIADBFAiEA6t65l88dATDyJs1eClUSocvdkrpwVANAPmP3BWQi6Z4CIByY
c/lQ1k8i1IFMb4u+Iluv3EIKqFfaG/KG+EwPFwft
-----END CERTIFICATE-----
";

    #[test]
    fn the_end_of_the_leaf_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        fs::write(&path, CERTIFICATE).unwrap();
        assert_eq!(expiry(&path), Some(Duration::from_secs(2_111_029_435)));
        fs::write(&path, "no certificate").unwrap();
        assert_eq!(expiry(&path), None);
    }
}
