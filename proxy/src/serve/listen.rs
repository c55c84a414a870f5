//! Sockets for clients, one a worker where the system can share an address.

use std::{io, net::SocketAddr, path::Path};

use socket2::{Domain, Protocol, SockFilter, SockRef, Type};
use tokio::net::{TcpListener, UnixListener};

use super::{
    systemd::Inherited,
    transport::Socket,
    unix_socket::{self, SocketFile},
};
use crate::{
    config::{Address, Sockets},
    decide::Client,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// What may wait in the kernel to be sent to one client: the rest waits at the upstream. Clients that do not read could
/// otherwise take several megabytes each of the memory that all of this machine's connections share.
const UNSENT_BYTES: u32 = 128 << 10;

/// An address that is listened on.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: Address,
    /// One for each worker.
    pub(super) sockets: Vec<Bound>,
    /// What is to be removed when nobody listens any more.
    pub(super) file: Option<SocketFile>,
}

/// A socket that is bound and not yet part of a runtime.
#[derive(Debug)]
pub(super) struct Bound {
    queue: Queue,
    heir: Heir,
}

/// Who takes the connections that come after a listener's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heir {
    /// They are refused.
    Nobody,
    /// The service manager keeps them for the next proxy that it starts.
    Manager,
    /// Another proxy listens on the same address.
    Sharer,
}

#[derive(Debug)]
pub(super) enum Queue {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A socket that accepts.
#[derive(Debug)]
pub(super) struct Listener {
    queue: OpenQueue,
    pub(super) heir: Heir,
}

#[derive(Debug)]
enum OpenQueue {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Binds an address once for each worker, or takes the sockets that the service manager has bound. TCP workers have a
/// queue each (`SO_REUSEPORT`); unix sockets, and those of the manager, are shared.
///
/// # Errors
/// When the address cannot be bound, or there is no such socket to take.
pub(super) fn bind(
    address: &Address,
    sockets: Sockets,
    workers: usize,
    inherited: &mut Inherited,
) -> io::Result<Vec<Place>> {
    let heir = if sockets.shared { Heir::Sharer } else { Heir::Nobody };
    match address {
        Address::Tcp(wanted) => {
            if !sockets.shared {
                refuse_shared(*wanted)?;
            }
            let first = bind_tcp(*wanted)?;
            // Port 0 becomes a port that the others have to share.
            let bound = first.local_addr()?;
            let others = (1..workers).map(|_| bind_tcp(bound));
            let all = std::iter::once(Ok(first)).chain(others);
            let sockets =
                all.map(|socket| Ok(Bound { queue: Queue::Tcp(socket?), heir })).collect::<io::Result<_>>()?;
            Ok(vec![Place { address: Address::Tcp(bound), sockets, file: None }])
        }
        Address::Unix(path) => {
            let (socket, file) = unix_socket::bind(path, sockets)?;
            Ok(vec![Place { file, ..divided(Queue::Unix(socket), heir, workers)? }])
        }
        Address::Systemd(name) => {
            let queues = inherited.take(name.as_deref())?;
            queues.into_iter().map(|queue| divided(queue, Heir::Manager, workers)).collect()
        }
    }
}

/// One queue for all workers.
fn divided(queue: Queue, heir: Heir, workers: usize) -> io::Result<Place> {
    let address = queue.prepare()?;
    let others = (1..workers).map(|_| queue.try_clone()).collect::<io::Result<Vec<_>>>()?;
    let sockets = std::iter::once(queue).chain(others).map(|queue| Bound { queue, heir }).collect();
    Ok(Place { address, sockets, file: None })
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
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// That of a unix socket, which may have no path.
fn of_path(path: Option<&Path>) -> Address {
    Address::Unix(path.unwrap_or("".as_ref()).to_owned())
}

impl Queue {
    /// Sets what connections take from their listener; tells where it listens.
    fn prepare(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                SockRef::from(socket).set_tcp_nodelay(true)?;
                SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES)?;
                socket.local_addr().map(Address::Tcp)
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Ok(of_path(socket.local_addr()?.as_pathname()))
            }
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }
}

impl Bound {
    pub(super) fn heir(&self) -> Heir {
        self.heir
    }
}

impl Listener {
    /// Makes the socket part of the current runtime.
    pub(super) fn open(bound: Bound) -> io::Result<Self> {
        let queue = match bound.queue {
            Queue::Tcp(socket) => OpenQueue::Tcp(TcpListener::from_std(socket)?),
            Queue::Unix(socket) => OpenQueue::Unix(UnixListener::from_std(socket)?),
        };
        Ok(Self { queue, heir: bound.heir })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<Address> {
        match &self.queue {
            OpenQueue::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            OpenQueue::Unix(listener) => Ok(of_path(listener.local_addr()?.as_pathname())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Socket, Client)> {
        match &self.queue {
            OpenQueue::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Client::new(Some(peer.ip()), false)))
            }
            OpenQueue::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Client::new(None, false)))
            }
        }
    }

    /// Lets the system drop what would begin a new connection. The client's system asks again a second later, and then
    /// reaches whoever shares the address; connections that have begun come to their end here.
    pub(super) fn turn_away(&self) -> io::Result<()> {
        let OpenQueue::Tcp(listener) = &self.queue else { return Ok(()) };
        SockRef::from(listener).attach_filter(
            &NO_NEW_CONNECTION.map(|(code, then, otherwise, operand)| SockFilter::new(code, then, otherwise, operand)),
        )
    }
}

/// A classic BPF program over a segment's TCP header: of the flags in byte 13, SYN (2) without ACK (16) is dropped.
const NO_NEW_CONNECTION: [(u16, u8, u8, u32); 5] = [
    (0x30, 0, 0, 13),       // load the byte
    (0x54, 0, 0, 2 | 16),   // keep the two flags
    (0x15, 0, 1, 2),        // if SYN alone
    (0x06, 0, 0, 0),        // drop
    (0x06, 0, 0, u32::MAX), // else take all of it
];

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_PORT: Address = Address::Tcp(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0));

    #[test]
    fn an_address_that_another_proxy_has_is_refused_unless_both_share() {
        for shared in [false, true] {
            let sockets = Sockets { shared, ..Sockets::default() };
            let bind = |address: &Address| bind(address, sockets, 2, &mut Inherited::default());
            let first = bind(&ANY_PORT).unwrap();
            match bind(&first[0].address) {
                Ok(_) => assert!(shared),
                Err(fault) => assert_eq!((shared, fault.kind()), (false, io::ErrorKind::AddrInUse)),
            }
        }
    }
}
