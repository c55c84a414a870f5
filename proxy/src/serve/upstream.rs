//! Connections to the upstreams: each worker has its own, and keeps idle ones for the next request.
//!
//! An idle list of HTTP/1.1 connections on one thread needs no lock and no background task; the general client of the
//! HTTP library shares its pool between threads and pays for it on each request.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::{
    body::RequestBody,
    tls::UpstreamConnector,
    transport::{Carrier, Heard, Transport},
};
use crate::config::{Endpoint, Upstream};

/// Idle connections that one worker keeps to one endpoint.
const IDLE_CONNECTIONS: usize = 256;

/// How long an idle connection is kept: under the minute after which many servers close theirs.
const IDLE_TIME: Duration = Duration::from_secs(50);

/// How long an endpoint that refused a connection is passed over while there are others.
const EJECTION: Duration = Duration::from_secs(5);

/// How much is read ahead from an upstream whose client is slow.
const READ_AHEAD: usize = 64 * 1024;

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamFault {
    /// No endpoint accepts connections.
    #[error("no connection to {endpoint}")]
    Unreachable {
        /// The endpoint that was tried last.
        endpoint: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What came back was no HTTP answer.
    #[error("no valid answer")]
    Broken(#[source] hyper::Error),
}

/// One upstream as one worker sees it.
pub(super) struct Pool {
    endpoints: Vec<Rc<Idle>>,
    next: Cell<usize>,
    tls: Option<UpstreamConnector>,
    connect_timeout: Duration,
}

/// The idle connections to one endpoint.
struct Idle {
    endpoint: Endpoint,
    connections: RefCell<Vec<(Connection, Instant)>>,
    ejected_until: Cell<Option<Instant>>,
}

struct Connection {
    sender: SendRequest<RequestBody>,
    heard: Heard,
}

/// A connection in use. Dropped, it is closed; given back, it serves again.
pub(super) struct Lease {
    connection: Connection,
    home: Rc<Idle>,
    /// Whether it has served before, so that the other side may have closed it meanwhile.
    pub(super) kept: bool,
}

/// What became of a request that was sent.
pub(super) enum Sent {
    /// The answer's head, and the connection that its body comes from.
    Answer(Response<Incoming>, Lease),
    /// Not one byte of it was written: it can be sent again, whatever it is.
    Unsent(Box<Request<RequestBody>>, hyper::Error),
    /// The connection ended before any byte of an answer.
    Silent(hyper::Error),
    /// The connection broke in the middle of an answer, or the answer was none.
    Broken(hyper::Error),
}

impl Pool {
    pub(super) fn new(upstream: &Upstream, tls: Option<UpstreamConnector>, connect_timeout: Duration) -> Self {
        let idle = |endpoint: &Endpoint| {
            Rc::new(Idle {
                endpoint: endpoint.clone(),
                connections: RefCell::default(),
                ejected_until: Cell::new(None),
            })
        };
        let endpoints = upstream.endpoints.iter().map(idle).collect();
        Self { endpoints, next: Cell::new(0), tls, connect_timeout }
    }

    /// A connection that was kept from an earlier request, or a new one.
    pub(super) async fn lease(&self) -> Result<Lease, UpstreamFault> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let count = self.endpoints.len().max(1);
        for idle in self.endpoints.iter().cycle().skip(turn % count).take(count) {
            if !idle.is_ejected()
                && let Some(lease) = idle.take().await
            {
                return Ok(lease);
            }
        }
        self.connect().await
    }

    /// A new connection, to the endpoint whose turn it is or the next that accepts.
    pub(super) async fn connect(&self) -> Result<Lease, UpstreamFault> {
        let count = self.endpoints.len().max(1);
        let turn = self.next.get() % count;
        let in_turn = self.endpoints.iter().cycle().skip(turn).take(count);
        let (ejected, healthy): (Vec<_>, Vec<_>) = in_turn.partition(|idle| idle.is_ejected());
        let mut last = None;
        for idle in healthy.into_iter().chain(ejected) {
            match self.open(idle).await {
                Ok(lease) => {
                    idle.ejected_until.set(None);
                    return Ok(lease);
                }
                Err(source) => {
                    idle.ejected_until.set(Some(Instant::now() + EJECTION));
                    last = Some(UpstreamFault::Unreachable { endpoint: idle.endpoint.to_string(), source });
                }
            }
        }
        Err(last.unwrap_or_else(|| UpstreamFault::Unreachable {
            endpoint: "an upstream without endpoints".to_owned(),
            source: io::ErrorKind::AddrNotAvailable.into(),
        }))
    }

    async fn open(&self, idle: &Rc<Idle>) -> io::Result<Lease> {
        let opening = async {
            let carrier = match &idle.endpoint {
                Endpoint::Unix(path) => Carrier::Unix(UnixStream::connect(path).await?),
                Endpoint::Tcp { host, port } => {
                    let stream = TcpStream::connect((&**host, *port)).await?;
                    stream.set_nodelay(true)?;
                    match &self.tls {
                        None => Carrier::Tcp(stream),
                        Some(tls) => Carrier::Tls(Box::new(tls.connect(host, stream).await?)),
                    }
                }
            };
            handshake(Transport::new(carrier)).await.map_err(io::Error::other)
        };
        let connection = tokio::time::timeout(self.connect_timeout, opening).await.map_err(io::Error::from)??;
        Ok(Lease { connection, home: Rc::clone(idle), kept: false })
    }

    /// Closes what has been idle for too long.
    pub(super) fn tick(&self, now: Instant) {
        for idle in &self.endpoints {
            idle.connections
                .borrow_mut()
                .retain(|(connection, since)| !connection.sender.is_closed() && now.duration_since(*since) < IDLE_TIME);
        }
    }
}

async fn handshake(transport: Transport) -> hyper::Result<Connection> {
    let heard = transport.heard();
    let (sender, connection) =
        http1::Builder::new().max_buf_size(READ_AHEAD).handshake(TokioIo::new(transport)).await?;
    // The error is told to whoever sent the request.
    tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) });
    Ok(Connection { sender, heard })
}

impl Idle {
    fn is_ejected(&self) -> bool {
        self.ejected_until.get().is_some_and(|until| Instant::now() < until)
    }

    /// The connection that was used last: its other end is the least likely to have given up.
    async fn take(self: &Rc<Self>) -> Option<Lease> {
        loop {
            let (mut connection, _) = self.connections.borrow_mut().pop()?;
            if connection.sender.ready().await.is_ok() {
                return Some(Lease { connection, home: Rc::clone(self), kept: true });
            }
        }
    }
}

impl Lease {
    /// Sends one request and waits for the answer's head.
    pub(super) async fn send(mut self, request: Request<RequestBody>) -> Sent {
        self.connection.heard.clear();
        match self.connection.sender.try_send_request(request).await {
            Ok(answer) => Sent::Answer(answer, self),
            Err(mut fault) => match fault.take_message() {
                Some(request) => Sent::Unsent(Box::new(request), fault.into_error()),
                None if self.connection.heard.anything() => Sent::Broken(fault.into_error()),
                None => Sent::Silent(fault.into_error()),
            },
        }
    }

    /// Keeps the connection for the next request, once its answer has been read whole.
    pub(super) fn give_back(self) {
        let Self { connection, home, kept: _ } = self;
        let mut connections = home.connections.borrow_mut();
        if !connection.sender.is_closed() && connections.len() < IDLE_CONNECTIONS {
            connections.push((connection, Instant::now()));
        }
    }
}
