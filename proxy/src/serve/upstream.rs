//! A worker's connections to one upstream.
//!
//! Idle connections stand in a list of the worker's own, the warmest on top: taking one is a pop, and nothing is
//! shared or locked. (`hyper_util::client::pool` composes tower services behind locks, for callers on many threads.)

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures_util::future::Either;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::{
    clock::Clock,
    counts::{self, Count},
    dial::{DialFault, dial},
    multiplexed::{Fate, Multiplexed, Share},
    request_body::RequestBody,
    tls::UpstreamConnector,
    transport::{Answered, Stream, Tapped},
};
use crate::config::{self, Endpoint, UpstreamProtocol};

/// Idle connections that are kept to one endpoint.
const IDLE: usize = 256;

/// Milliseconds for which one is kept.
pub(super) const IDLE_TIME: u64 = 60_000;

/// The largest response head, and the most that is read ahead of a client that reads slowly.
const BUFFER_BYTES: usize = 64 << 10;

/// Milliseconds for which an endpoint that refused a connection is passed over, if there are others.
const EJECTION: u64 = 5_000;

/// One upstream, as one worker reaches it.
pub(super) struct Pool {
    upstream: config::Upstream,
    tls: Option<UpstreamConnector>,
    connect: Duration,
    endpoints: Box<[Place]>,
    turn: Cell<usize>,
    clock: Rc<Clock>,
}

/// One endpoint.
struct Place {
    endpoint: Endpoint,
    /// The oldest first.
    idle: RefCell<Vec<Idle>>,
    /// Of an upstream that speaks HTTP/2.
    multiplexed: Multiplexed,
    ejected_until: Cell<u64>,
}

struct Idle {
    connection: Connection,
    since: u64,
}

struct Connection {
    sender: SendRequest<RequestBody>,
    answered: Answered,
    _driver: Driver,
}

/// The task that moves a connection's bytes. It ends with this, and the connection with it.
struct Driver(AbortHandle);

/// A connection for one exchange, or a share of one.
pub(super) struct Lease {
    pool: Rc<Pool>,
    place: usize,
    carrier: Carrier,
    fresh: bool,
}

enum Carrier {
    /// Closed when it is dropped, unless it is kept.
    Whole(Connection),
    Shared(Share),
}

/// Which connections will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any.
    Any,
    /// One that nobody has used, or that is shared and still of use.
    Fresh,
}

impl Pool {
    pub(super) fn new(
        upstream: config::Upstream,
        tls: Option<UpstreamConnector>,
        connect: Duration,
        clock: Rc<Clock>,
    ) -> Self {
        let place = |endpoint: &Endpoint| Place {
            endpoint: endpoint.clone(),
            idle: RefCell::default(),
            multiplexed: Multiplexed::new(),
            ejected_until: Cell::new(0),
        };
        let endpoints = upstream.endpoints.iter().map(place).collect();
        Self { upstream, tls, connect, endpoints, turn: Cell::new(0), clock }
    }

    /// Whether its connections are as good as new ones under such a configuration. Certificates may have changed with
    /// it.
    pub(super) fn serves(&self, upstream: &config::Upstream, connect: Duration) -> bool {
        self.tls.is_none() && self.upstream == *upstream && self.connect == connect
    }

    /// A connection to the endpoint whose turn it is, or to the next that accepts one.
    ///
    /// # Errors
    /// Why the last endpoint that was tried did not accept.
    pub(super) async fn lease(self: &Rc<Self>, wanted: Wanted) -> Result<Lease, DialFault> {
        let mut fault = DialFault::NoAddress;
        for place in self.in_turn() {
            let lease = |carrier, fresh| Lease { pool: Rc::clone(self), place, carrier, fresh };
            let shares = self.upstream.protocol == UpstreamProtocol::Http2;
            if let Some(carrier) = self.kept(&self.endpoints[place], wanted) {
                return Ok(lease(carrier, wanted == Wanted::Fresh));
            }
            // On the heap, so that requests that need no new connection carry nothing of it about.
            match Box::pin(self.connect(&self.endpoints[place])).await {
                // A new connection that is shared may refuse what came before it could say how much it takes.
                Ok(carrier) => return Ok(lease(carrier, !shares || wanted == Wanted::Fresh)),
                Err(error) => {
                    counts::add(Count::UpstreamUnreached);
                    self.eject(place);
                    fault = error;
                }
            }
        }
        Err(fault)
    }

    /// Closes connections that nobody has used for a while.
    pub(super) fn sweep(&self) {
        let now = self.clock.millis();
        for place in &self.endpoints {
            place.idle.borrow_mut().retain(|idle| idle.is_usable(now));
            place.multiplexed.sweep(now);
        }
    }

    /// Each endpoint once, beginning with the one whose turn it is; those that lately failed last.
    fn in_turn(&self) -> impl Iterator<Item = usize> {
        let (count, now) = (self.endpoints.len(), self.clock.millis());
        let first = self.turn.get();
        self.turn.set(if first + 1 < count { first + 1 } else { 0 });
        let turn = move |ejected: bool| {
            (first..count).chain(0..first).filter(move |place| {
                ejected == self.endpoints.get(*place).is_some_and(|place| place.ejected_until.get() > now)
            })
        };
        turn(false).chain(turn(true))
    }

    pub(super) fn protocol(&self) -> UpstreamProtocol {
        self.upstream.protocol
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn kept(&self, place: &Place, wanted: Wanted) -> Option<Carrier> {
        match (self.upstream.protocol, wanted) {
            (UpstreamProtocol::Http1, Wanted::Any) => place.take(self.clock.millis()).map(Carrier::Whole),
            (UpstreamProtocol::Http1, Wanted::Fresh) => None,
            (UpstreamProtocol::Http2, _) => place.multiplexed.take().map(Carrier::Shared),
        }
    }

    async fn connect(&self, place: &Place) -> Result<Carrier, DialFault> {
        let dialled = dial(&place.endpoint, self.tls.as_ref(), self.connect);
        match self.upstream.protocol {
            UpstreamProtocol::Http1 => Connection::open(dialled.await?).await.map(Carrier::Whole),
            UpstreamProtocol::Http2 => place.multiplexed.connect(&self.clock, dialled).await.map(Carrier::Shared),
        }
    }

    fn eject(&self, place: usize) {
        if let Some(place) = self.endpoints.get(place) {
            place.ejected_until.set(self.clock.millis() + EJECTION);
        }
    }
}

impl Connection {
    async fn open(stream: Stream) -> Result<Self, DialFault> {
        let answered = Answered::default();
        let io = TokioIo::new(Tapped::new(stream, answered.clone()));
        let (sender, driver) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(io).await.map_err(DialFault::Handshake)?;
        counts::add(Count::UpstreamConnected);
        // How it ends is told to whoever waits for an answer on it.
        let driver = Driver(tokio::task::spawn_local(driver.with_upgrades()).abort_handle());
        Ok(Self { sender, answered, _driver: driver })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Place {
    fn take(&self, now: u64) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(|idle| idle.is_usable(now)).map(|idle| idle.connection)
    }
}

impl Idle {
    fn is_usable(&self, now: u64) -> bool {
        self.connection.sender.is_ready() && now < self.since + IDLE_TIME
    }
}

impl Lease {
    /// Where it leads.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.pool.endpoints[self.place].endpoint
    }

    /// Whether there is no better one to be had after it.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// What became of a request that failed so.
    pub(super) fn fate(&self, error: &hyper::Error) -> Fate {
        match &self.carrier {
            Carrier::Whole(connection) if connection.answered.any() => Fate::Ended,
            Carrier::Whole(_) => Fate::Unknown,
            Carrier::Shared(share) => share.fate(error),
        }
    }

    /// Sends the request; ends with the response head. A plain function, so that the caller's future holds the request
    /// once, and not also as this one's argument.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        match &mut self.carrier {
            Carrier::Whole(connection) => {
                connection.answered.begin();
                Either::Left(connection.sender.try_send_request(request))
            }
            Carrier::Shared(share) => Either::Right(share.send(request)),
        }
    }

    /// An answer has come by it.
    pub(super) fn proved(&self) {
        if let Carrier::Shared(share) = &self.carrier {
            share.answers();
        }
    }

    /// Gives the connection back after a whole exchange, if it can have another.
    pub(super) fn keep(self) {
        let Self { pool, place, carrier, .. } = self;
        if let Carrier::Whole(connection) = carrier
            && connection.sender.is_ready()
            && let Some(place) = pool.endpoints.get(place)
        {
            let mut idle = place.idle.borrow_mut();
            if idle.len() < IDLE {
                idle.push(Idle { connection, since: pool.clock.millis() });
            }
        }
    }
}
