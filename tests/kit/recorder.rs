//! A backend that keeps what reached it, byte for byte, and answers by script.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use tempfile::TempDir;

use crate::PATIENCE;
use crate::message::{Body, Broken, Conversation, Framing, Head, framing};
use crate::socket::{Address, Listener};

/// The answer of a recorder without a script.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request as it reached the backend.
#[derive(Clone, Debug)]
pub struct Received {
    /// The connection it came on, counted from 0.
    pub connection: usize,
    /// The request line and the fields.
    pub head: Head,
    /// Content and trailers.
    pub body: Body,
    /// Whether the body came whole.
    pub complete: bool,
}

impl Received {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.start_line.split(' ').next().unwrap_or_default()
    }

    /// The request target, byte for byte.
    pub fn target(&self) -> &str {
        self.head.start_line.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of the one `X-User-Id`; any second spelling of that name, in the head or in the trailers, is a failure.
    #[track_caller]
    pub fn user(&self) -> Vec<u8> {
        let aliases = self.head.aliases("x-user-id");
        assert_eq!(aliases.len(), 1, "not exactly one identity: {aliases:?}");
        assert!(aliases[0].0.eq_ignore_ascii_case("x-user-id"), "not the plain name: {aliases:?}");
        assert!(self.body.trailers.is_empty() || !self.has_identity_trailer(), "{:?}", self.body.trailers);
        aliases[0].1.clone()
    }

    fn has_identity_trailer(&self) -> bool {
        let fold = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
        self.body.trailers.iter().any(|(name, _)| fold(name) == "x-user-id")
    }
}

/// What the backend does with a request it has read.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these bytes and keeps the connection.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    SendAndClose(Vec<u8>),
}

impl Reply {
    /// A 200 with this text.
    pub fn ok(text: &str) -> Self {
        let length = text.len();
        Self::Send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}").into())
    }

    /// These bytes, and the connection stays.
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(bytes.as_ref().to_vec())
    }

    /// These bytes, and the end of the connection.
    pub fn send_and_close(bytes: impl AsRef<[u8]>) -> Self {
        Self::SendAndClose(bytes.as_ref().to_vec())
    }
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    grown: Condvar,
    faults: Mutex<Vec<String>>,
    connections: AtomicUsize,
    bytes: Arc<AtomicUsize>,
}

impl Shared {
    fn keep(&self, received: Received) {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        self.grown.notify_all();
    }

    fn fault(&self, fault: String) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }
}

/// A running backend.
#[derive(Debug)]
pub struct Recorder {
    address: Address,
    shared: Arc<Shared>,
    _folder: Option<TempDir>,
}

impl Recorder {
    /// A backend that answers `200 ok` to everything.
    pub fn start() -> Self {
        Self::answering(|_| Reply::send(OK))
    }

    /// A backend that reads whole requests and answers as `script` says.
    pub fn answering(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(loopback(), None, converse(script))
    }

    /// A backend on a unix socket that answers `200 ok` to everything.
    pub fn on_unix_socket() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = Address::Unix(folder.path().join("backend.sock"));
        Self::on(address, Some(folder), converse(|_| Reply::send(OK)))
    }

    /// A backend that hands each connection, with its number, to `script`; nothing is read for it, only counted.
    pub fn by_hand(script: impl Fn(Conversation, usize) + Send + Sync + 'static) -> Self {
        Self::on(loopback(), None, move |conversation, number, _: &Shared| {
            script(conversation, number);
        })
    }

    /// A backend on a known address: one that was not there before.
    pub fn at(address: Address) -> Self {
        Self::on(address, None, converse(|_| Reply::send(OK)))
    }

    fn on(
        address: Address,
        folder: Option<TempDir>,
        script: impl Fn(Conversation, usize, &Shared) + Send + Sync + 'static,
    ) -> Self {
        let listener = Listener::bind(&address).expect("the backend's address is free");
        let address = listener.address().expect("a bound listener has an address");
        let shared = Arc::<Shared>::default();
        let recorder = Self { address, shared: Arc::clone(&shared), _folder: folder };
        let script = Arc::new(script);
        thread::spawn(move || {
            while let Ok(socket) = listener.accept() {
                let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                let conversation = Conversation::over(socket).counted_by(&shared.bytes);
                let (script, shared) = (Arc::clone(&script), Arc::clone(&shared));
                thread::spawn(move || script(conversation, number, &shared));
            }
        });
        recorder
    }

    /// As the `--upstream` flag wants it.
    pub fn url(&self) -> String {
        self.address.upstream_url()
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many bytes reached it.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Every request so far, in order of their ends. What was no strict HTTP is a failure here.
    #[track_caller]
    pub fn received(&self) -> Vec<Received> {
        let faults = self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(faults.is_empty(), "the backend got malformed HTTP: {faults:?}");
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "not exactly one request reached the backend: {received:?}");
        received.remove(0)
    }

    /// Waits for `count` requests in all.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let received = self.shared.received.lock().unwrap_or_else(PoisonError::into_inner);
        let (received, timeout) = self
            .shared
            .grown
            .wait_timeout_while(received, PATIENCE, |received| received.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{} requests reached the backend, not {count}", received.len());
        received.clone()
    }

    /// Checks that not one byte has reached it.
    #[track_caller]
    pub fn is_untouched(&self) {
        assert_eq!(self.bytes(), 0, "the backend was reached: {:?}", self.received());
    }
}

fn loopback() -> Address {
    Address::Tcp(([127, 0, 0, 1], 0).into())
}

fn converse(
    script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
) -> impl Fn(Conversation, usize, &Shared) + Send + Sync + 'static {
    move |mut conversation, connection, shared| loop {
        let received = match receive(&mut conversation, connection) {
            Ok(Some(received)) => received,
            Ok(None) | Err(Broken::Cut(_)) => return,
            Err(Broken::Grammar(fault)) => return shared.fault(fault),
        };
        let complete = received.complete;
        let reply = script(&received);
        shared.keep(received);
        match reply {
            Reply::Send(bytes) if complete => {
                if conversation.send(&bytes).is_err() {
                    return;
                }
            }
            Reply::Send(bytes) | Reply::SendAndClose(bytes) => {
                let _ = conversation.send(&bytes);
                return conversation.close();
            }
        }
    }
}

/// The next request on a connection; one whose body was cut off is told as incomplete.
pub fn receive(conversation: &mut Conversation, connection: usize) -> Result<Option<Received>, Broken> {
    let Some(head) = conversation.head()? else {
        return Ok(None);
    };
    let framing = framing(&head, Framing::Length(0))?;
    let (body, complete) = match conversation.body(framing) {
        Ok(body) => (body, true),
        Err(Broken::Cut(_)) => (Body::default(), false),
        Err(fault) => return Err(fault),
    };
    Ok(Some(Received { connection, head, body, complete }))
}
