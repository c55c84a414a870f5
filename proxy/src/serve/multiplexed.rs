//! HTTP/2 connections to one endpoint of an upstream: as few as can carry what is asked at once, each shared by many
//! exchanges.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use http::{Request, Response, Uri, header, request::Parts, uri::Authority, uri::Scheme};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http2::{self, SendRequest},
    },
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Mutex;

use super::{
    clock::Clock,
    counts::{self, Count},
    dial::DialFault,
    request_body::RequestBody,
    transport::Stream,
    upstream::IDLE_TIME,
};

/// Exchanges at once on one connection, if the upstream allows as many: more go by another one, so that they do not
/// wait for each other's bytes without need.
const STREAMS: usize = 100;

/// What is read ahead of a client that takes its answer slowly.
const STREAM_BYTES: u32 = 64 << 10;

/// Slow clients may fill the windows of their own streams, and still leave room for the others.
const CONNECTION_BYTES: u32 = STREAM_BYTES * STREAMS as u32;

/// What is held of a request that the upstream does not take.
const REQUEST_BYTES: usize = 64 << 10;

/// The largest response head.
const HEAD_BYTES: u32 = 64 << 10;

/// A connection with something open is asked this often whether it still lives, and given so long to say so.
const PING: Duration = Duration::from_secs(20);

/// The connections to one endpoint.
pub(super) struct Multiplexed {
    connections: RefCell<Vec<Rc<Connection>>>,
    /// How many exchanges each may carry, as the upstream last said.
    limit: Rc<Cell<usize>>,
    /// Whoever holds it connects for all that wait.
    dialling: Mutex<()>,
    failures: Cell<u64>,
}

struct Connection {
    sender: RefCell<SendRequest<RequestBody>>,
    open: Cell<usize>,
    /// Whether any answer has come by it.
    proven: Cell<bool>,
    /// Whether it is of no use to further exchanges.
    spent: Cell<bool>,
    idle_since: Cell<u64>,
    clock: Rc<Clock>,
}

/// One exchange's part of a connection.
pub(super) struct Share(Rc<Connection>);

/// What became of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The upstream says that it has not looked at it (RFC 9113 §8.7).
    Refused,
    /// Nobody knows: a connection broke that was good before.
    Unknown,
    /// The upstream, or its body, broke it off, or the connection was never good.
    Ended,
}

/// Runs hyper's tasks on the worker's own thread.
#[derive(Clone)]
struct Here;

impl<F: Future + 'static> Executor<F> for Here {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

impl Multiplexed {
    pub(super) fn new() -> Self {
        Self {
            connections: RefCell::default(),
            limit: Rc::new(Cell::new(STREAMS)),
            dialling: Mutex::default(),
            failures: Cell::default(),
        }
    }

    /// A connection that has room for one more exchange.
    pub(super) fn take(&self) -> Option<Share> {
        let connections = self.connections.borrow();
        connections.iter().find(|connection| connection.has_room(self.limit.get())).map(Share::of)
    }

    /// Connects by `dialled`, unless somebody else does meanwhile.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn connect(
        &self,
        clock: &Rc<Clock>,
        dialled: impl Future<Output = Result<Stream, DialFault>>,
    ) -> Result<Share, DialFault> {
        let failures = self.failures.get();
        let _turn = self.dialling.lock().await;
        if let Some(share) = self.take() {
            return Ok(share);
        }
        if self.failures.get() != failures {
            return Err(DialFault::Shared);
        }
        let connection = async { Connection::open(dialled.await?, &self.limit, clock).await }.await;
        let connection = connection.inspect_err(|_| self.failures.set(failures + 1))?;
        let share = Share::of(&connection);
        self.connections.borrow_mut().push(connection);
        Ok(share)
    }

    /// Lets go of connections that nobody has used for a while, and of those that are of no more use.
    pub(super) fn sweep(&self, now: u64) {
        self.connections.borrow_mut().retain(|connection| connection.is_usable(now));
    }
}

impl Connection {
    async fn open(stream: Stream, limit: &Rc<Cell<usize>>, clock: &Rc<Clock>) -> Result<Rc<Self>, DialFault> {
        let (sender, driver) = http2::Builder::new(Here)
            .initial_max_send_streams(limit.get())
            .initial_stream_window_size(STREAM_BYTES)
            .initial_connection_window_size(CONNECTION_BYTES)
            .max_send_buf_size(REQUEST_BYTES)
            .max_header_list_size(HEAD_BYTES)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(DialFault::Handshake)?;
        counts::add(Count::UpstreamConnected);
        let limit = Rc::clone(limit);
        // It ends once nobody can send any more and nothing is open.
        tokio::task::spawn_local(async move {
            let mut driver = pin!(driver);
            let ended = poll_fn(|context| {
                let polled = driver.as_mut().poll(context);
                // One is asked at a time in any case: a limit of none may be raised at any time.
                limit.set(driver.current_max_send_streams().clamp(1, STREAMS));
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(error = &error as &dyn Error, "a connection to an upstream broke");
            }
        });
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            open: Cell::new(0),
            proven: Cell::new(false),
            spent: Cell::new(false),
            idle_since: Cell::new(clock.millis()),
            clock: Rc::clone(clock),
        }))
    }

    fn is_alive(&self) -> bool {
        !self.spent.get() && self.sender.borrow().is_ready()
    }

    fn has_room(&self, limit: usize) -> bool {
        self.open.get() < limit && self.is_alive()
    }

    fn is_usable(&self, now: u64) -> bool {
        self.is_alive() && (self.open.get() > 0 || now < self.idle_since.get() + IDLE_TIME)
    }
}

impl Share {
    fn of(connection: &Rc<Connection>) -> Self {
        connection.open.set(connection.open.get() + 1);
        Self(Rc::clone(connection))
    }

    /// Sends the request; ends with the response head.
    pub(super) fn send(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        self.0.sender.borrow_mut().try_send_request(request)
    }

    /// An answer has come.
    pub(super) fn answers(&self) {
        self.0.proven.set(true);
    }

    /// What became of a request that failed so. A connection that failed with it is not used again.
    pub(super) fn fate(&self, error: &hyper::Error) -> Fate {
        let fault = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        let reset = fault.is_some_and(h2::Error::is_reset);
        self.0.spent.set(self.0.spent.get() || !reset);
        match fault {
            Some(fault) if fault.is_remote() && fault.is_go_away() => Fate::Refused,
            Some(fault) if fault.is_remote() && fault.reason() == Some(h2::Reason::REFUSED_STREAM) => Fate::Refused,
            Some(_) | None if !reset && self.0.proven.get() => Fate::Unknown,
            Some(_) | None => Fate::Ended,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(self.0.clock.millis());
    }
}

/// HTTP/2 has the authority in the target, and no `Host` (RFC 9113 §8.3.1).
pub(super) fn address(head: &mut Parts, tls: bool) {
    let host = head.headers.remove(header::HOST);
    let mut target = std::mem::take(&mut head.uri).into_parts();
    target.authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    target.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    // Without an authority it is no target, and sending it fails; the decision has seen to it that there is one.
    head.uri = Uri::from_parts(target).unwrap_or_default();
}
