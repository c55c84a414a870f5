//! Sockets for clients, one a worker where the system can share an address.

use std::{fs, io, net::SocketAddr, os::unix::fs::FileTypeExt as _, path::Path};

use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, UnixListener};

use super::transport::Socket;
use crate::{config::Address, decide::Client};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A socket that is bound and not yet part of a runtime.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A socket that accepts.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds an address once for each worker. TCP workers have a queue each (`SO_REUSEPORT`); a unix socket is shared.
///
/// # Errors
/// When the address cannot be bound.
pub(super) fn bind(address: &Address, workers: usize) -> io::Result<(Address, Vec<Bound>)> {
    match address {
        Address::Tcp(wanted) => {
            refuse_shared(*wanted)?;
            let first = bind_tcp(*wanted)?;
            // Port 0 becomes a port that the others have to share.
            let bound = first.local_addr()?;
            let others = (1..workers).map(|_| bind_tcp(bound));
            let all = std::iter::once(Ok(first)).chain(others).map(|socket| socket.map(Bound::Tcp));
            Ok((Address::Tcp(bound), all.collect::<io::Result<_>>()?))
        }
        Address::Unix(path) => {
            remove_stale(path)?;
            let first = std::os::unix::net::UnixListener::bind(path)?;
            first.set_nonblocking(true)?;
            let others = (1..workers).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
            Ok((address.clone(), std::iter::once(first).chain(others).map(Bound::Unix).collect()))
        }
    }
}

/// Another proxy of the same user could share the address, and would then take every other connection to another
/// configuration: a socket that shares with nobody tells whether there is one.
fn refuse_shared(address: SocketAddr) -> io::Result<()> {
    let probe = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())?;
    probe.listen(1)
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Removes a socket file that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is no socket"))
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"))
        }
        Ok(_) => fs::remove_file(path),
    }
}

impl Listener {
    /// Makes the socket part of the current runtime.
    pub(super) fn open(bound: Bound) -> io::Result<Self> {
        match bound {
            Bound::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Bound::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Socket, Client)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Client { address: Some(peer.ip()), tls: false }))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Client { address: None, tls: false }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_another_proxy_has_is_refused() {
        let (first, _sockets) = bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), 2).unwrap();
        assert_eq!(bind(&first, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
