//! Where a key set is read from: a URL, a discovery document that names one, or a file.

use std::{io, path::PathBuf};

use bytes::Bytes;
use http::Uri;
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::fetch::{DOCUMENT_BYTES, FetchFault, Fetcher};

/// The path under an issuer at which its discovery document stands (OpenID Connect Discovery 1.0 §4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// A place that key sets come from and that may hold another one tomorrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A JSON Web Key Set at a URL.
    Url(Uri),
    /// A discovery document that names the URL.
    Discovery {
        /// The document, or the issuer that it stands under.
        document: Uri,
        /// The issuer that the document must name.
        issuer: Option<Box<str>>,
    },
    /// A JSON Web Key Set in a file.
    File(PathBuf),
}

/// Why a key set could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// The network or the server failed.
    #[error("{0}")]
    Fetch(Box<str>, #[source] FetchFault),
    /// The file could not be read.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The file is larger than any key set.
    #[error("{} is larger than {DOCUMENT_BYTES} bytes", .0.display())]
    FileTooLarge(PathBuf),
    /// The discovery document is none.
    #[error("{0} is no discovery document")]
    Discovery(Box<str>, #[source] serde_json::Error),
    /// The discovery document speaks for somebody else (OpenID Connect Discovery 1.0 §4.3).
    #[error("{document} names the issuer `{found}`, wanted `{wanted}`")]
    Issuer {
        /// The discovery document.
        document: Box<str>,
        /// The issuer in it.
        found: Box<str>,
        /// The configured one.
        wanted: Box<str>,
    },
    /// The discovery document names no usable key set URL.
    #[error("{document} names the key set `{jwks_uri}`, which is no URL or gives up https")]
    JwksUri {
        /// The discovery document.
        document: Box<str>,
        /// What it names.
        jwks_uri: Box<str>,
    },
}

impl SourceFault {
    /// Whether nothing was reached: asking again soon burdens nobody.
    pub(super) fn reached_nobody(&self) -> bool {
        match self {
            Self::Fetch(_, fault) => fault.reached_nobody(),
            Self::File(..) | Self::FileTooLarge(_) => true,
            Self::Discovery(..) | Self::Issuer { .. } | Self::JwksUri { .. } => false,
        }
    }
}

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: Box<str>,
    jwks_uri: Box<str>,
}

impl Source {
    /// The key set's text as it stands there now.
    pub(super) async fn read(&self, fetcher: &Fetcher) -> Result<Bytes, SourceFault> {
        match self {
            Self::Url(uri) => fetch(fetcher, uri).await,
            Self::Discovery { document, issuer } => {
                let document = well_known(document);
                let text = fetch(fetcher, &document).await?;
                fetch(fetcher, &jwks_uri(&document, &text, issuer.as_deref())?).await
            }
            Self::File(path) => read_file(path).await,
        }
    }
}

async fn fetch(fetcher: &Fetcher, uri: &Uri) -> Result<Bytes, SourceFault> {
    fetcher.get(uri).await.map_err(|fault| SourceFault::Fetch(uri.to_string().into(), fault))
}

async fn read_file(path: &PathBuf) -> Result<Bytes, SourceFault> {
    let lost = |fault| SourceFault::File(path.clone(), fault);
    let mut text = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(lost)?;
    file.take(DOCUMENT_BYTES as u64 + 1).read_to_end(&mut text).await.map_err(lost)?;
    if text.len() > DOCUMENT_BYTES {
        return Err(SourceFault::FileTooLarge(path.clone()));
    }
    Ok(text.into())
}

/// The discovery document's URL, which may be given as the issuer that it stands under.
fn well_known(given: &Uri) -> Uri {
    if given.path().contains("/.well-known/") {
        return given.clone();
    }
    let mut parts = given.clone().into_parts();
    let path = format!("{}{WELL_KNOWN}", given.path().trim_end_matches('/'));
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| given.clone())
}

/// The key set's URL, from a discovery document that speaks for the configured issuer.
fn jwks_uri(document: &Uri, text: &[u8], wanted: Option<&str>) -> Result<Uri, SourceFault> {
    let place = || document.to_string().into();
    let named: Discovery = serde_json::from_slice(text).map_err(|fault| SourceFault::Discovery(place(), fault))?;
    if let Some(wanted) = wanted
        && *named.issuer != *wanted
    {
        return Err(SourceFault::Issuer { document: place(), found: named.issuer, wanted: wanted.into() });
    }
    match named.jwks_uri.parse::<Uri>() {
        Ok(uri) if document.scheme_str() != Some("https") || uri.scheme_str() == Some("https") => Ok(uri),
        Ok(_) | Err(_) => Err(SourceFault::JwksUri { document: place(), jwks_uri: named.jwks_uri }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovery_document_is_found_under_its_issuer() {
        for (given, document) in [
            ("https://id.example", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/realms/a", "https://id.example/realms/a/.well-known/openid-configuration"),
            (
                "https://id.example/.well-known/oauth-authorization-server",
                "https://id.example/.well-known/oauth-authorization-server",
            ),
        ] {
            assert_eq!(well_known(&Uri::from_static(given)), document, "{given}");
        }
    }

    #[test]
    fn a_discovery_document_speaks_for_its_issuer_alone() {
        let document = Uri::from_static("https://id.example/.well-known/openid-configuration");
        for (text, accepted) in [
            (r#"{"issuer":"https://id.example","jwks_uri":"https://keys.example/jwks"}"#, true),
            (r#"{"issuer":"https://id.example/","jwks_uri":"https://keys.example/jwks"}"#, false),
            (r#"{"issuer":"https://evil.example","jwks_uri":"https://keys.example/jwks"}"#, false),
            (r#"{"issuer":"https://id.example","jwks_uri":"http://keys.example/jwks"}"#, false),
            (r#"{"issuer":"https://id.example","jwks_uri":"not a url"}"#, false),
            (r#"{"issuer":"https://id.example"}"#, false),
            ("<html>", false),
        ] {
            let found = jwks_uri(&document, text.as_bytes(), Some("https://id.example"));
            assert_eq!(found.is_ok(), accepted, "{text}");
        }
    }
}
