//! A key server over HTTP whose behaviour changes at run time, and which counts what it is asked.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::PATIENCE;
use crate::key::{Key, key_set};
use crate::message::Conversation;
use crate::socket::{Address, Listener, Socket};

/// How the issuer answers the next fetches.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// 200 with this document.
    Publish(Value),
    /// This status, with an empty body.
    Status(u16),
    /// 200 with these bytes as the document.
    Content(Vec<u8>),
    /// Takes the request and never answers.
    Stall,
    /// Announces a document, sends half of it and then nothing more.
    StallInside(Value),
    /// 302 to this URL.
    Redirect(String),
    /// A document without end.
    Endless,
    /// These bytes instead of an answer.
    Raw(Vec<u8>),
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    targets: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running issuer; it answers every path alike.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Issuer {
    /// Starts an issuer that publishes these keys.
    pub fn publishing(keys: &[&Key]) -> Self {
        Self::behaving(Behaviour::Publish(key_set(keys)))
    }

    /// Starts an issuer that behaves like this.
    pub fn behaving(behaviour: Behaviour) -> Self {
        let listener = Listener::bind(&Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))));
        Self::on(listener.expect("a free port on loopback"), behaviour)
    }

    /// Starts an issuer on a known address: one that was not reachable before.
    pub fn at(address: SocketAddr, keys: &[&Key]) -> Self {
        let listener = Listener::bind(&Address::Tcp(address)).expect("the port is still free");
        Self::on(listener, Behaviour::Publish(key_set(keys)))
    }

    fn on(listener: Listener, behaviour: Behaviour) -> Self {
        let Ok(Address::Tcp(address)) = listener.address() else { panic!("an issuer listens on TCP") };
        let state = Mutex::new(State { behaviour, targets: Vec::new() });
        let shared = Arc::new(Shared { state, asked: Condvar::new() });
        let issuer = Self { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            while let Ok(socket) = listener.accept() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(socket, &shared));
            }
        });
        issuer
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, keys: &[&Key]) {
        self.behave(Behaviour::Publish(key_set(keys)));
    }

    /// Behaves like this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.with(|state| state.behaviour = behaviour);
    }

    /// Scheme, host and port, as Better Auth uses them for `iss` and `aud`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the keys are.
    pub fn url(&self) -> String {
        format!("{}/jwks", self.origin())
    }

    /// How often it was asked so far.
    pub fn fetches(&self) -> usize {
        self.shared.with(|state| state.targets.len())
    }

    /// The paths it was asked for, in order.
    pub fn targets(&self) -> Vec<String> {
        self.shared.with(|state| state.targets.clone())
    }

    /// Waits until it has been asked `count` times in all.
    #[track_caller]
    pub fn wait_for_fetches(&self, count: usize) {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, timeout) = self
            .shared
            .asked
            .wait_timeout_while(state, PATIENCE, |state| state.targets.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "asked {} times, not {count}", state.targets.len());
    }
}

fn serve(socket: Socket, shared: &Shared) {
    let mut conversation = Conversation::over(socket);
    while let Ok(Some(head)) = conversation.head() {
        let target = head.start_line.split(' ').nth(1).unwrap_or_default().to_owned();
        let behaviour = shared.with(|state| {
            state.targets.push(target);
            state.behaviour.clone()
        });
        shared.asked.notify_all();
        if !answer(&mut conversation, &behaviour) {
            return;
        }
    }
}

/// Answers; whether the connection goes on.
fn answer(conversation: &mut Conversation, behaviour: &Behaviour) -> bool {
    let send = |conversation: &mut Conversation, bytes: &[u8]| conversation.send(bytes).is_ok();
    match behaviour {
        Behaviour::Publish(document) => send(conversation, &response(200, "", document.to_string().as_bytes())),
        Behaviour::Status(status) => send(conversation, &response(*status, "", b"")),
        Behaviour::Content(content) => send(conversation, &response(200, "", content)),
        Behaviour::Redirect(url) => send(conversation, &response(302, &format!("Location: {url}\r\n"), b"")),
        Behaviour::Stall => {
            conversation.at_end();
            false
        }
        Behaviour::StallInside(document) => {
            let whole = response(200, "", document.to_string().as_bytes());
            if send(conversation, &whole[..whole.len() - 10]) {
                conversation.at_end();
            }
            false
        }
        Behaviour::Endless => {
            let begun = send(conversation, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[");
            while begun && send(conversation, &[b' '; 64 * 1024]) {}
            false
        }
        Behaviour::Raw(bytes) => {
            send(conversation, bytes);
            conversation.close();
            false
        }
    }
}

fn response(status: u16, fields: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n",
        content.len()
    );
    [head.as_bytes(), content].concat()
}
