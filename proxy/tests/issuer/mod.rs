//! A server on loopback that hands out key sets, well or badly, and counts who asks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Uri;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
};

/// How a request is answered.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes, then the end of the connection.
    Raw(Arc<[u8]>),
    /// This status and an empty body.
    Status(u16),
    /// Nothing, ever.
    Stall,
    /// A body that comes a byte at a time and never ends within any time limit.
    Drip,
    /// A chunked body without an end.
    Endless,
    /// The connection ends.
    HangUp,
    /// As the inner answer says, once released.
    Held(Arc<Notify>, Box<Answer>),
}

impl Answer {
    pub(crate) fn raw(text: &str) -> Self {
        Self::Raw(text.as_bytes().into())
    }

    pub(crate) fn document(body: &str) -> Self {
        Self::raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::raw(&format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
    }
}

/// A key set with one P-256 key (RFC 7517 appendix A.1) under each of these ids.
pub(crate) fn jwks(kids: &[&str]) -> String {
    let key = |kid: &&str| {
        format!(
            r#"{{"kty":"EC","crv":"P-256","alg":"ES256","kid":"{kid}","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}"#
        )
    };
    format!(r#"{{"keys":[{}]}}"#, kids.iter().map(key).collect::<Vec<_>>().join(","))
}

/// A running server. It stops when this is dropped.
pub(crate) struct Origin {
    authority: String,
    script: Arc<Mutex<Script>>,
    hits: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

struct Script {
    otherwise: Answer,
    at: HashMap<String, Answer>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Origin {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(Script { otherwise: answer, at: HashMap::new() }));
        let (count, hits) = watch::channel(0);
        let server = tokio::spawn(serve(listener, Arc::clone(&script), Arc::new(count)));
        Self { authority, script, hits, server }
    }

    /// A URL at which nobody listens.
    pub(crate) async fn gone() -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/jwks", listener.local_addr().unwrap()).parse().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.authority).parse().unwrap()
    }

    /// From now on, on every path that has no answer of its own.
    pub(crate) fn answers(&self, answer: Answer) {
        self.script.lock().unwrap().otherwise = answer;
    }

    pub(crate) fn answers_at(&self, path: &str, answer: Answer) {
        self.script.lock().unwrap().at.insert(path.into(), answer);
    }

    /// From now on, but only once released.
    pub(crate) fn holds(&self, answer: Answer) -> Arc<Notify> {
        let release = Arc::new(Notify::new());
        self.answers(Answer::Held(Arc::clone(&release), Box::new(answer)));
        release
    }

    /// Requests so far.
    pub(crate) fn hits(&self) -> usize {
        *self.hits.borrow()
    }

    /// Returns when there have been that many requests.
    pub(crate) async fn hit(&self, wanted: usize) {
        self.hits.clone().wait_for(|hits| *hits >= wanted).await.unwrap();
    }
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>, hits: Arc<watch::Sender<usize>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&hits)));
    }
}

async fn converse(mut stream: TcpStream, script: Arc<Mutex<Script>>, hits: Arc<watch::Sender<usize>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let answer = {
        let script = script.lock().unwrap();
        script.at.get(path).unwrap_or(&script.otherwise).clone()
    };
    hits.send_modify(|hits| *hits += 1);
    answer_with(&mut stream, answer).await;
}

/// The client may hang up at any time: what it then misses is its own affair.
async fn answer_with(stream: &mut TcpStream, mut answer: Answer) {
    while let Answer::Held(release, then) = answer {
        release.notified().await;
        answer = *then;
    }
    match answer {
        Answer::Raw(bytes) => drop(stream.write_all(&bytes).await),
        Answer::Status(status) => {
            drop(stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").as_bytes()).await);
        }
        Answer::Stall => drop(stream.read_u8().await),
        Answer::Drip => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await);
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            while stream.write_all(b" ").await.is_ok() {
                tick.tick().await;
            }
        }
        Answer::Endless => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await);
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
        Answer::HangUp | Answer::Held(..) => {}
    }
}
