//! One new connection to an upstream.

use std::{io, net::IpAddr, time::Duration};

use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::{
    tls::UpstreamConnector,
    transport::{Socket, Stream},
};
use crate::config::Endpoint;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialFault {
    #[error("the upstream's name does not resolve")]
    Resolve(#[source] io::Error),
    #[error("the upstream's name has no address")]
    NoAddress,
    #[error("the upstream does not accept connections")]
    Connect(#[source] io::Error),
    #[error("the upstream did not accept a connection in time")]
    Timeout,
    #[error("TLS with the upstream failed")]
    Tls(#[source] io::Error),
    #[error("HTTP with the upstream failed")]
    Handshake(#[source] hyper::Error),
    #[error("a connection that several requests waited for did not come about")]
    Shared,
}

/// Connects, within `limit` altogether.
pub(super) async fn dial(
    endpoint: &Endpoint,
    tls: Option<&UpstreamConnector>,
    limit: Duration,
) -> Result<Stream, DialFault> {
    let dialling = async {
        let socket = connect(endpoint).await?;
        match tls {
            None => Ok(Stream::Plain(socket)),
            Some(tls) => tls.connect(host(endpoint), socket).await.map_err(DialFault::Tls),
        }
    };
    tokio::time::timeout(limit, dialling).await.unwrap_or(Err(DialFault::Timeout))
}

async fn connect(endpoint: &Endpoint) -> Result<Socket, DialFault> {
    match endpoint {
        Endpoint::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix).map_err(DialFault::Connect),
        Endpoint::Tcp { host, port } => {
            let stream = match host.parse::<IpAddr>() {
                Ok(address) => TcpStream::connect((address, *port)).await.map_err(DialFault::Connect)?,
                Err(_) => connect_by_name(host, *port).await?,
            };
            stream.set_nodelay(true).map_err(DialFault::Connect)?;
            Ok(Socket::Tcp(stream))
        }
    }
}

/// Tries every address of the name in the resolver's order.
async fn connect_by_name(host: &str, port: u16) -> Result<TcpStream, DialFault> {
    let mut fault = DialFault::NoAddress;
    for address in lookup_host((host, port)).await.map_err(DialFault::Resolve)? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => fault = DialFault::Connect(error),
        }
    }
    Err(fault)
}

/// Whom TLS is spoken with where the configuration does not say.
fn host(endpoint: &Endpoint) -> &str {
    match endpoint {
        Endpoint::Tcp { host, .. } => host,
        Endpoint::Unix(_) => "localhost",
    }
}
