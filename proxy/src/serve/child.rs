//! The supervised backend: started before the proxy serves, stopped after it has drained.
//!
//! The child is the leader of a process group of its own. So a Ctrl-C at the terminal reaches the proxy alone, which
//! first lets the exchanges in flight end and only then asks the whole group to stop. `SIGUSR1` and `SIGUSR2` are
//! passed on as they come; `SIGHUP` is not, because it reloads the proxy and would end most backends.
//!
//! Of the proxy's environment it inherits all but the proxy's secrets: a backend that could read them could forge
//! every caller.

use std::{
    ffi::OsString,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    net::{TcpStream, UnixStream},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::config::Endpoint;

/// How long a backend may take until it accepts its first connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries to connect to a backend that is starting.
const PROBE: Duration = Duration::from_millis(20);

/// A running backend. It is killed when this is dropped.
pub struct Backend {
    child: Child,
    program: String,
}

/// Why there is no backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendFault {
    /// It can't be started.
    #[error("the backend `{program}` could not be started")]
    Start {
        /// The program's name.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended before it could serve.
    #[error("the backend `{program}` ended ({status}) before it accepted a connection")]
    Died {
        /// The program's name.
        program: String,
        /// How.
        status: ExitStatus,
    },
    /// It runs and serves nobody.
    #[error("the backend `{program}` accepts no connection at {wanted} after {} seconds: does it listen there?", PATIENCE.as_secs())]
    Silent {
        /// The program's name.
        program: String,
        /// Where the proxy expects it.
        wanted: String,
    },
}

/// What the service manager says to the proxy alone.
const SERVICE: [&str; 4] = ["NOTIFY_SOCKET", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"];

impl Backend {
    /// Starts `command`, a program and its arguments, without the environment's variables that `secrets` names.
    ///
    /// # Errors
    /// [`BackendFault::Start`] when there is no such program or it may not be run.
    pub fn start(command: &[OsString], secrets: &[String]) -> Result<Self, BackendFault> {
        let (program, arguments) =
            command.split_first().map_or((OsString::new(), [].as_slice()), |(p, a)| (p.clone(), a));
        let name = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        for own in SERVICE {
            command.env_remove(own);
        }
        for secret in secrets {
            command.env_remove(secret);
        }
        let child = command.spawn().map_err(|source| BackendFault::Start { program: name.clone(), source })?;
        info!(program = name, pid = child.id(), "backend started");
        Ok(Self { child, program: name })
    }

    /// Returns once `endpoint` accepts connections.
    ///
    /// # Errors
    /// [`BackendFault`] when the backend ends before, or takes longer than a minute.
    pub async fn accepts(&mut self, endpoint: &Endpoint) -> Result<(), BackendFault> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            tokio::select! {
                status = self.ended() => return Err(BackendFault::Died { program: self.program.clone(), status }),
                accepted = probe(endpoint) => if accepted { return Ok(()) },
            }
            if Instant::now() >= deadline {
                return Err(BackendFault::Silent { program: self.program.clone(), wanted: endpoint.to_string() });
            }
        }
    }

    /// Returns when the backend has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        match self.child.wait().await {
            Ok(status) => status,
            Err(fault) => {
                warn!(program = self.program, error = %fault, "the backend can't be waited for");
                ExitStatus::default()
            }
        }
    }

    /// The processes that signals go to: the backend and whatever it started.
    pub fn group(&self) -> Option<Group> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok())?;
        Pid::from_raw(id).map(Group)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group() {
            group.signal(signal);
        }
    }

    /// Asks the backend to stop, ends it when it has not within `grace`, and says how it ended.
    pub async fn stop(mut self, grace: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        if let Ok(status) = timeout(grace, self.ended()).await {
            return status;
        }
        warn!(program = self.program, "the backend did not stop in time and is killed");
        self.signal(Signal::KILL);
        self.ended().await
    }
}

/// The processes of a backend.
#[derive(Clone, Copy, Debug)]
pub struct Group(Pid);

impl Group {
    /// Passes `SIGUSR1` and `SIGUSR2` on as they come.
    ///
    /// # Errors
    /// When the process cannot have signals delivered.
    pub async fn pass_signals_on(self) -> io::Result<()> {
        let mut first = signal(SignalKind::user_defined1())?;
        let mut second = signal(SignalKind::user_defined2())?;
        loop {
            tokio::select! {
                _ = first.recv() => self.signal(Signal::USR1),
                _ = second.recv() => self.signal(Signal::USR2),
            }
        }
    }

    fn signal(self, signal: Signal) {
        if let Err(fault) = kill_process_group(self.0, signal) {
            warn!(error = %fault, "the backend can't be sent a signal");
        }
    }
}

/// Whether the endpoint accepts a connection, now or after a pause.
async fn probe(endpoint: &Endpoint) -> bool {
    let connected = match endpoint {
        Endpoint::Tcp { host, port } => TcpStream::connect((&**host, *port)).await.map(drop),
        Endpoint::Unix(path) => UnixStream::connect(path).await.map(drop),
    };
    if connected.is_err() {
        sleep(PROBE).await;
    }
    connected.is_ok()
}
