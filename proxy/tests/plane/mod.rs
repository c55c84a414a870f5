//! A proxy in this process between a raw client and a raw upstream.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ownergate::{
    config::{Address, Config, Environment, Flags},
    decide::{Algorithm, IssuerKeys, KeySet, Keys, Standing},
    serve::{Control, Drained, Proxy, Silent, State, jwks::KeyStore, systemd::Inherited},
};
use tokio::sync::oneshot;

const SECRET: &str = "a secret of thirty-two bytes or so";

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Routes `/api/{user_id}/**` to its owner and `/public/**` to anybody.
pub(crate) fn config(upstream: SocketAddr) -> Config {
    config_with(
        upstream,
        r#"
        [[route]]
        path = "/api/{user_id}/**"
        access = { owner = "user_id" }

        [[route]]
        path = "/public/**"
        access = "public"
        "#,
    )
}

/// One upstream, one secret, these routes and whatever else.
pub(crate) fn config_with(upstream: SocketAddr, rest: &str) -> Config {
    let text = format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        admin = "off"
        workers = 1

        [[issuer]]
        name = "test"
        secret_file = "secret.txt"
        leeway_seconds = 0

        [upstream.backend]
        url = "http://{upstream}"
        {rest}"#
    );
    let flags = Flags::read(["ownergate", "--config", "o.toml"].map(str::to_owned)).unwrap();
    let read = |path: &Path| match path.to_str() {
        Some("o.toml") => Ok(text.clone().into_bytes()),
        Some("secret.txt") => Ok(SECRET.as_bytes().to_vec()),
        _ => Err(ErrorKind::NotFound.into()),
    };
    let (config, _) = Config::load(&flags.settings, &Environment::default(), &read).unwrap();
    config
}

pub(crate) fn state(config: Config) -> State {
    let set = KeySet::from_secrets(&[SECRET.as_bytes()], &[Algorithm::HS256]);
    let keys = Keys(vec![IssuerKeys { set: Arc::new(set), standing: Standing::Current }]);
    State::new(config, Arc::new(KeyStore::fixed(keys))).unwrap()
}

/// An `Authorization` line for `user`, good for so long.
pub(crate) fn token(user: &str, lifetime: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = format!(r#"{{"sub":"{user}","exp":{}}}"#, (now + lifetime).as_secs());
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
    format!("Authorization: Bearer {signed}.{signature}\r\n")
}

pub(crate) fn alice() -> String {
    token("alice", Duration::from_secs(600))
}

/// A running proxy. It drains when it is dropped.
pub(crate) struct Running {
    pub(crate) control: Control,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Drained>>,
}

pub(crate) fn start(config: Config) -> Running {
    let proxy = Proxy::bind(state(config), Arc::new(Silent), Inherited::default()).unwrap();
    let control = proxy.control();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(proxy.run(async { drop(stopped.await) })).unwrap()
    });
    Running { control, stop: Some(stop), thread: Some(thread) }
}

impl Running {
    pub(crate) fn connect(&self) -> Client {
        let Some(Address::Tcp(address)) = self.control.addresses().first() else { panic!("no address") };
        Client::connect(*address).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let Some(Address::Tcp(address)) = self.control.addresses().first() else { panic!("no address") };
        *address
    }

    /// Begins to drain.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end of the drain.
    pub(crate) fn join(&mut self) -> Drained {
        self.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A raw connection, from either side.
pub(crate) struct Client {
    pub(crate) reader: BufReader<TcpStream>,
}

/// A message as it came.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// The first line and the fields, with their line ends.
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// Every value of the field.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Self> {
        TcpStream::connect(address).map(Self::new)
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, text: &str) {
        // The other side may have answered and gone before it had everything.
        let _ = self.reader.get_mut().write_all(text.as_bytes());
    }

    /// Sends a request line and a `Host`, these lines and this body.
    pub(crate) fn request(&mut self, line: &str, lines: &str, body: &str) {
        self.send(&format!("{line} HTTP/1.1\r\nHost: app.example\r\n{lines}\r\n{body}"));
    }

    /// The whole answer to one request.
    pub(crate) fn ask(&mut self, line: &str, lines: &str, body: &str) -> Message {
        self.request(line, lines, body);
        self.answer(!line.starts_with("HEAD"))
    }

    pub(crate) fn answer(&mut self, has_body: bool) -> Message {
        self.message(has_body).expect("an answer")
    }

    /// `None` when the connection ended before any byte of a message.
    pub(crate) fn message(&mut self, has_body: bool) -> Option<Message> {
        let head = self.head()?;
        let mut message = Message { head, ..Message::default() };
        let length = message.values("content-length").first().map(|length| length.parse::<u64>().unwrap());
        let bodiless = !has_body || matches!(message.status(), 101 | 204 | 304);
        if bodiless {
            message.whole = true;
        } else if message.values("transfer-encoding").contains(&"chunked") {
            self.chunks(&mut message);
        } else if let Some(length) = length {
            let read = (&mut self.reader).take(length).read_to_string(&mut message.body);
            message.whole = read.is_ok_and(|read| read as u64 == length);
        } else if message.head.starts_with("HTTP/") {
            message.whole = self.reader.read_to_string(&mut message.body).is_ok();
        } else {
            message.whole = true;
        }
        Some(message)
    }

    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let read = self.reader.read_line(&mut head);
            match read {
                Ok(0) => return None,
                Ok(_) if head.ends_with("\r\n\r\n") => return Some(head),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error} after {head:?}"),
            }
        }
    }

    /// Chunks and trailers; the trailers stay in the body's text after an empty line.
    fn chunks(&mut self, message: &mut Message) {
        loop {
            let mut size = String::new();
            if self.reader.read_line(&mut size).is_err() || size.is_empty() {
                return;
            }
            let size = u64::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                break;
            }
            let mut chunk = String::new();
            let read = (&mut self.reader).take(size + 2).read_to_string(&mut chunk);
            message.body.push_str(chunk.trim_end_matches("\r\n"));
            if !read.is_ok_and(|read| read as u64 == size + 2) {
                return;
            }
        }
        let mut trailers = String::new();
        while self.reader.read_line(&mut trailers).is_ok_and(|read| read > 0) && !trailers.ends_with("\r\n\r\n") {
            if trailers == "\r\n" {
                break;
            }
        }
        message.body.push_str(trailers.strip_suffix("\r\n").unwrap_or_default());
        message.whole = true;
    }

    /// Whether the other side has ended the connection, within the time that a test waits.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// An upstream that hands each connection, with its number from 0, to a script.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    received: Mutex<mpsc::Receiver<Message>>,
}

/// What a script tells of the requests that it reads.
pub(crate) type Heard = mpsc::Sender<Message>;

impl Backend {
    pub(crate) fn scripted(script: impl Fn(usize, Client, &Heard) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, received) = mpsc::channel();
        let script = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (script, heard) = (Arc::clone(&script), heard.clone());
                thread::spawn(move || script(number, Client::new(stream.unwrap()), &heard));
            }
        });
        Self { address, received: Mutex::new(received) }
    }

    /// Answers every request with these bytes.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::scripted(move |_, mut connection, heard| {
            while let Some(request) = connection.message(true) {
                let _ = heard.send(request);
                connection.send(answer);
            }
        })
    }

    /// The next request that any connection has read.
    pub(crate) fn received(&self) -> Message {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.recv_timeout(PATIENCE).expect("a request reaches the upstream")
    }

    /// A request that has been read and not been asked for yet.
    pub(crate) fn heard(&self) -> Option<Message> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).try_recv().ok()
    }
}
