//! Starts the binary and speaks HTTP/1.1 to it byte by byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder and a database, which outlive the services started on them.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    database: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = crate::database(folder.path());
        Self { folder, database }
    }

    /// The file or the URL.
    pub(crate) fn database(&self) -> String {
        self.database.clone()
    }

    pub(crate) fn command(&self, listen: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_task-service"));
        command.env_clear().args(["--log-format", "json", "--listen", listen, "--database"]).arg(self.database());
        command
    }

    /// Starts a service and waits until it listens.
    pub(crate) fn start(&self) -> Service {
        Service::start(self.command("127.0.0.1:0"))
    }

    /// Starts a service that is to fail; its exit code and what it says.
    pub(crate) fn fail(&self) -> (Option<i32>, String) {
        fail(self.command("127.0.0.1:0"))
    }
}

/// Runs a command that is to end by itself; its exit code and what it says.
pub(crate) fn fail(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (sender, said) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = sender.send(stderr.read_to_string(&mut text).map(|_| text));
    });
    let text = said.recv_timeout(PATIENCE);
    let _ = child.kill();
    (child.wait().unwrap().code(), text.expect("it should have ended").unwrap())
}

/// A running service.
pub(crate) struct Service {
    child: Child,
    address: String,
    log: Mutex<Receiver<Value>>,
}

impl Service {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                let _ = sender.send(event);
            }
        });
        let mut service = Self { child, address: String::new(), log: Mutex::new(log) };
        let listening = service.logged("listening");
        service.address = listening["address"].as_str().unwrap().to_owned();
        service
    }

    /// Waits for the log event of that message.
    pub(crate) fn logged(&self, message: &str) -> Value {
        loop {
            let event =
                self.log.lock().unwrap().recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {message:?} in the log"));
            if event["message"] == message {
                return event;
            }
            assert!(!event["message"].as_str().unwrap_or_default().starts_with("failed: "), "{event}");
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn stop(self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(&self.address)
    }

    /// One request of `alice` on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&str>) -> Response {
        self.send_as("alice", method, path, body)
    }

    pub(crate) fn send_as(&self, user: &str, method: &str, path: &str, body: Option<&str>) -> Response {
        let mut head = vec![("X-User-Id", user)];
        if body.is_some() {
            head.push(("Content-Type", "application/json"));
        }
        self.connect().send(method, path, &head, body.map(str::as_bytes))
    }

    /// One request of `alice` with further headers.
    pub(crate) fn send_with(&self, headers: &[(&str, &str)], method: &str, path: &str, body: Option<&str>) -> Response {
        let mut head = vec![("X-User-Id", "alice"), ("Content-Type", "application/json")];
        head.extend(headers);
        self.connect().send(method, path, &head, body.map(str::as_bytes))
    }

    /// The pages of a list of `alice`, by their links.
    pub(crate) fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let response = self.send("GET", &path, None);
            assert_eq!(response.status, 200, "{path}");
            next = response.next();
            pages.push(response.json().as_array().unwrap().clone());
        }
        pages
    }

    /// Makes a task of `alice` and answers it.
    pub(crate) fn create(&self, title: &str) -> Value {
        let body = serde_json::json!({ "title": title }).to_string();
        let response = self.send("POST", "/api/alice/tasks", Some(&body));
        assert_eq!(response.status, 201, "{response:?}");
        response.json()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// One connection.
pub(crate) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> Self {
        let stream: Box<dyn Stream> = match address.strip_prefix("unix:") {
            Some(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
            None => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
        };
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Response {
        self.write(head(method, path, headers, body).as_bytes());
        self.write(body.unwrap_or_default());
        self.receive(method == "HEAD")
    }

    /// The status of an exchange, or none if the connection broke before the whole answer was there.
    pub(crate) fn try_send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<u16> {
        let head = head(method, path, headers, Some(body));
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat()).ok()?;
        self.try_receive(false).ok().map(|response| response.status)
    }

    pub(crate) fn receive(&mut self, head_only: bool) -> Response {
        self.try_receive(head_only).unwrap()
    }

    fn try_receive(&mut self, head_only: bool) -> io::Result<Response> {
        let status = self.line()?.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.parse().unwrap();
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line()?.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        if !head_only {
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

fn head(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: tasks\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The target of the link to the next page.
    pub(crate) fn next(&self) -> Option<String> {
        let (target, relation) = self.header("link")?.split_once("; ").unwrap();
        assert_eq!(relation, "rel=\"next\"");
        Some(target.strip_prefix('<').unwrap().strip_suffix('>').unwrap().to_owned())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Checks that this is a complete refusal with that status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{problem}");
        }
        problem
    }
}
