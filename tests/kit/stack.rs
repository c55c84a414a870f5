//! The binaries: built once, started on ports and in folders of their own, ready when a test gets them.

use std::ffi::OsStr;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::PATIENCE;
use crate::answer::Answer;
use crate::issuer::Issuer;
use crate::port;
use crate::process::{Process, poll};
use crate::recorder::Recorder;
use crate::request::Request;
use crate::socket::{Address, Socket};
use crate::token::{AUDIENCE, ISSUER};
use crate::wire::Wire;

/// The secret of [`Proxy::with_secret`].
pub const SECRET: &str = "an end-to-end test's shared secret, not used anywhere else";

/// The path of one of the workspace's binaries, built for this profile by the first caller.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/PROFILE/deps/e2e-HASH
    let folder = test.ancestors().nth(2).expect("a test stands in the target folder").to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    // The whole workspace: with a part of it the features of shared dependencies differ, and they are all built twice.
    cargo.args(["build", "--quiet", "--workspace", "--bins"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let target = folder.parent().expect("the profile's folder stands in the target folder");
    let status = cargo.current_dir(workspace()).env("CARGO_TARGET_DIR", target).status();
    assert!(status.is_ok_and(|status| status.success()), "the binaries do not build");
    folder
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package stands in the workspace")
}

/// A command of one of the binaries that takes no setting from the surrounding environment.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    command_without_settings(&mut command);
    command
}

/// Takes the settings of the surrounding environment away from a command.
pub(crate) fn command_without_settings(command: &mut Command) -> &mut Command {
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if ["OWNERGATE_", "BETTER_AUTH_", "TASK_SERVICE_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(variable);
        }
    }
    command
}

/// A finished run of a command.
#[derive(Debug)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// The standard output.
    pub output: String,
    /// The standard error.
    pub errors: String,
}

impl Finished {
    /// Both streams.
    pub fn everything(&self) -> String {
        format!("{}{}", self.output, self.errors)
    }
}

/// Runs a command that must end by itself.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|fault| panic!("cannot run {command:?}: {fault}"));
    let output = read_all(child.stdout.take().expect("the output is piped"));
    let errors = read_all(child.stderr.take().expect("the output is piped"));
    let status = poll(PATIENCE, || child.try_wait().expect("the child can be waited for"));
    if status.is_none() {
        child.kill().expect("the child can be killed");
    }
    let output = output.join().expect("the output is read");
    let errors = errors.join().expect("the output is read");
    let code = status.and_then(|status| status.code());
    let code = code.unwrap_or_else(|| panic!("{command:?} did not end by itself:\n{output}{errors}"));
    Finished { code, output, errors }
}

fn read_all(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// How to start a proxy: flags, environment, a configuration file.
#[derive(Debug)]
pub struct Setup {
    command: Command,
    folder: TempDir,
    listen: Address,
    admin: SocketAddr,
    child: Vec<String>,
    passed: Option<OwnedFd>,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = command("ownergate");
        command.current_dir(folder.path());
        let (listen, admin) = (Address::Tcp(port::free()), port::free());
        Self { command, folder, listen, admin, child: Vec::new(), passed: None }
    }

    /// Listens on a unix socket in the proxy's folder instead of on TCP.
    #[must_use]
    pub fn on_unix_socket(mut self) -> Self {
        self.listen = Address::Unix(self.folder.path().join("proxy.sock"));
        self
    }

    /// Listens where another proxy may be listening.
    #[must_use]
    pub fn on(mut self, address: &Address) -> Self {
        self.listen = address.clone();
        self
    }

    /// Listens on a socket that is passed to it as a service manager passes one, under the name `web`.
    #[must_use]
    pub fn passed(mut self, listener: &TcpListener) -> Self {
        self.listen = Address::Tcp(listener.local_addr().expect("a bound socket"));
        self.passed = Some(listener.try_clone().expect("a socket can be copied").into());
        self
    }

    /// A flag with its value.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.command.args([name, value]);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// A file in the proxy's folder, by the name that flags and the configuration can use.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.path().join(name), content).expect("the folder can be written");
        self
    }

    /// The configuration file. The listeners are still the kit's: flags go over the file.
    #[must_use]
    pub fn config(self, toml: &str) -> Self {
        self.file("ownergate.toml", toml).flag("--config", "ownergate.toml")
    }

    /// The backend to supervise.
    #[must_use]
    pub fn supervising(mut self, command: &[&str]) -> Self {
        self.child = command.iter().map(ToString::to_string).collect();
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Proxy {
        self.start_until("/readyz")
    }

    /// Starts it and waits until it is alive, ready or not: for issuers that can't be reached.
    #[track_caller]
    pub fn start_unready(self) -> Proxy {
        self.start_until("/livez")
    }

    #[track_caller]
    fn start_until(mut self, probe: &str) -> Proxy {
        let listen = if self.passed.is_some() { "systemd:web".to_owned() } else { self.listen.to_string() };
        self.command.arg("--listen").arg(listen);
        self.command.arg("--admin").arg(self.admin.to_string());
        if !self.child.is_empty() {
            self.command.arg("--").args(&self.child);
        }
        let process = match self.passed {
            None => Process::start("ownergate", &mut self.command),
            Some(socket) => Process::start_reading("ownergate", &mut passing_input(&self.command), socket.into()),
        };
        let mut proxy = Proxy { process, address: self.listen, admin: Address::Tcp(self.admin), folder: self.folder };
        let ready = poll(PATIENCE, || {
            assert!(proxy.process.ended().is_none(), "ownergate ended:\n{}", proxy.process.log());
            (proxy.probe(probe) == Some(200) && accepts(&proxy.address)).then_some(())
        });
        assert!(ready.is_some(), "{probe} never said 200:\n{}", proxy.process.log());
        proxy
    }
}

/// The same command, with its input as the one socket of a service manager.
fn passing_input(command: &Command) -> Command {
    const SCRIPT: &str = r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$; exec "$@""#;
    let mut shell = Command::new("sh");
    command_without_settings(&mut shell);
    shell.args(["-c", SCRIPT, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

fn accepts(address: &Address) -> bool {
    Socket::connect(address).is_ok()
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The process: signals, log, end.
    pub process: Process,
    /// Where clients connect.
    pub address: Address,
    /// Where health and metrics are.
    pub admin: Address,
    folder: TempDir,
}

impl Proxy {
    /// A proxy in front of `backend`, with no key source yet.
    pub fn before(backend: &Recorder) -> Setup {
        Self::before_url(&backend.url())
    }

    /// A proxy in front of this upstream, with no key source yet.
    pub fn before_url(upstream: &str) -> Setup {
        Setup::new().flag("--upstream", upstream)
    }

    /// A proxy of a configuration file alone.
    pub fn configured(toml: &str) -> Setup {
        Setup::new().config(toml)
    }

    /// A ready proxy in front of `backend` that trusts [`SECRET`].
    #[track_caller]
    pub fn with_secret(backend: &Recorder) -> Self {
        Self::before(backend).file("secret", SECRET).flag("--secret-file", "secret").start()
    }

    /// A ready proxy in front of `backend` that trusts this issuer's keys, for the kit's issuer and audience.
    #[track_caller]
    pub fn with_issuer(backend: &Recorder, issuer: &Issuer) -> Self {
        Self::trusting(backend, issuer).start()
    }

    /// The setup of [`Proxy::with_issuer`], not started.
    pub fn trusting(backend: &Recorder, issuer: &Issuer) -> Setup {
        Self::before(backend).flag("--jwks", &issuer.url()).flag("--issuer", ISSUER).flag("--audience", AUDIENCE)
    }

    /// A new client connection.
    #[track_caller]
    pub fn connect(&self) -> Wire {
        Wire::to(&self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Answer {
        self.connect().ask(request)
    }

    /// One request to the admin listener.
    #[track_caller]
    pub fn ask_admin(&self, target: &str) -> Answer {
        Wire::to(&self.admin).ask(&Request::get(target).field("Host", self.admin.to_string()))
    }

    /// The status of an admin page; `None` while nobody listens.
    fn probe(&self, target: &str) -> Option<u16> {
        Socket::connect(&self.admin).ok()?;
        let mut wire = Wire::to(&self.admin);
        let request = Request::get(target).field("Host", self.admin.to_string());
        wire.send(request.bytes());
        wire.outcome().status()
    }

    /// Waits until the admin page answers with this status.
    #[track_caller]
    pub fn wait_until(&self, target: &str, status: u16) {
        let reached = poll(PATIENCE, || (self.probe(target) == Some(status)).then_some(()));
        assert!(reached.is_some(), "{target} never said {status}:\n{}", self.process.log());
    }

    /// Waits until this line is among the metrics.
    #[track_caller]
    pub fn wait_for_metric(&self, line: &str) {
        let metrics = || self.ask_admin("/metrics").expect(200).text();
        let told = poll(PATIENCE, || metrics().lines().any(|told| told == line).then_some(()));
        assert!(told.is_some(), "no {line} in\n{}", metrics());
    }

    /// The folder its relative paths start from.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks it to stop and returns its exit code.
    #[track_caller]
    pub fn stop(&mut self, within: Duration) -> i32 {
        self.process.signal("TERM");
        self.process.exit_code(within)
    }
}

/// A running task service.
#[derive(Debug)]
pub struct TaskService {
    /// The process: signals, log, end.
    pub process: Process,
    /// Where it listens.
    pub address: Address,
}

impl TaskService {
    /// Starts one on this database, a file or a URL, and waits until it accepts.
    #[track_caller]
    pub fn on(database: impl AsRef<OsStr>) -> Self {
        Self::at(Address::Tcp(port::free()), database)
    }

    /// Starts one at this address, as after a crash.
    #[track_caller]
    pub fn at(address: Address, database: impl AsRef<OsStr>) -> Self {
        let mut command = command("task-service");
        command.arg("--listen").arg(address.to_string()).arg("--database").arg(database.as_ref());
        let mut process = Process::start("task-service", &mut command);
        let accepting = poll(PATIENCE, || {
            assert!(process.ended().is_none(), "task-service ended:\n{}", process.log());
            accepts(&address).then_some(())
        });
        assert!(accepting.is_some(), "task-service never accepted:\n{}", process.log());
        Self { process, address }
    }

    /// As the `--upstream` flag wants it.
    pub fn url(&self) -> String {
        self.address.upstream_url()
    }
}
