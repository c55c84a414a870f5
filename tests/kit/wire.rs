//! A client that sends exact bytes and accepts nothing but strict answers.

use std::net::Shutdown;
use std::time::Duration;

use crate::answer::{Answer, status_of};
use crate::message::{Body, Broken, Conversation, Framing, Head, framing};
use crate::request::Request;
use crate::socket::{Address, Socket};

/// What came of a request that may well be cut off.
#[derive(Debug)]
pub enum Outcome {
    /// A whole answer.
    Answered(Box<Answer>),
    /// The connection ended before or inside the answer.
    Closed,
}

impl Outcome {
    /// The status, or `None` for a closed connection.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answer) => Some(answer.status),
            Self::Closed => None,
        }
    }
}

/// One client connection.
#[derive(Debug)]
pub struct Wire {
    conversation: Conversation,
}

impl Wire {
    /// Connects to `address`.
    pub fn to(address: &Address) -> Self {
        let socket = Socket::connect(address).unwrap_or_else(|fault| panic!("cannot connect to {address}: {fault}"));
        Self::over(socket)
    }

    /// Goes on over a connection that there is already.
    pub fn over(socket: Socket) -> Self {
        Self { conversation: Conversation::over(socket) }
    }

    /// A second handle to the same connection, for sending and reading at once.
    pub fn second(&self) -> Self {
        Self::over(self.conversation.socket().try_clone().expect("a second handle"))
    }

    /// Waits this long for each later read, instead of the kit's default.
    #[must_use]
    pub fn patient(self, limit: Duration) -> Self {
        self.conversation.socket().set_patience(limit).expect("a connected socket takes a time limit");
        self
    }

    /// Sends a request and reads its answer; the connection stays for the next one.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Answer {
        self.send(request.bytes());
        if request.is_head() { self.answer_without_body() } else { self.answer() }
    }

    /// Sends these bytes and no others. A peer that has closed already shows in the answer, not here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.conversation.send(bytes.as_ref());
    }

    /// Sends these bytes and tells whether the connection took them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.conversation.send(bytes.as_ref()).is_ok()
    }

    /// Tells the peer that no more bytes will come.
    pub fn finish_sending(&self) {
        self.conversation.socket().shut_down(Shutdown::Write).expect("the connection is open");
    }

    /// The next answer, whole.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        match self.outcome() {
            Outcome::Answered(answer) => *answer,
            Outcome::Closed => panic!("the connection was closed instead of an answer"),
        }
    }

    /// The next answer, of a request for a head alone.
    #[track_caller]
    pub fn answer_without_body(&mut self) -> Answer {
        Answer::new(self.head(), Body::default())
    }

    /// The next head: of an interim answer, or of one whose body is read by hand.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        let head = self.conversation.head().unwrap_or_else(|fault| panic!("no head: {fault:?}"));
        head.expect("the connection was closed instead of an answer")
    }

    /// The next answer, or the end of the connection; a malformed answer is a failure in any case.
    #[track_caller]
    pub fn outcome(&mut self) -> Outcome {
        let read = self.try_answer();
        match read {
            Ok(Some(answer)) => Outcome::Answered(Box::new(answer)),
            Ok(None) => Outcome::Closed,
            Err(Broken::Cut(fault)) if fault.kind() != std::io::ErrorKind::WouldBlock => Outcome::Closed,
            Err(Broken::Cut(_)) => panic!("no answer in time"),
            Err(Broken::Grammar(fault)) => panic!("a malformed answer: {fault}"),
        }
    }

    fn try_answer(&mut self) -> Result<Option<Answer>, Broken> {
        let Some(head) = self.conversation.head()? else {
            return Ok(None);
        };
        let framing = match status_of(&head) {
            100..=199 | 204 | 304 => Framing::Length(0),
            _ => framing(&head, Framing::UntilClose)?,
        };
        let body = self.conversation.body(framing)?;
        Ok(Some(Answer::new(head, body)))
    }

    /// The connection below, for reading a body piece by piece.
    pub fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// Whether the peer closes without another byte; waits for it.
    pub fn is_closed(&mut self) -> bool {
        self.conversation.at_end()
    }
}
