//! What `ownergate` does when it is called: one command a file, the proxy itself where none is named.

mod cases;
mod check;
mod explain;
mod jwt;
mod load;
mod remedy;
mod run;
mod token;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use ownergate::{
    config::{Environment, Flags, Settings, Tool},
    decide::Timestamp,
    serve::{log, systemd::Inherited},
};
use tokio::task::LocalSet;
use tracing::error;

use self::{
    load::{Loaded, SettingsFault},
    run::Supervised,
};

/// For flags and configurations that can't be used (`EX_USAGE` of sysexits).
pub(crate) const USAGE: u8 = 64;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandFault {
    /// The operator's settings: every fault in them.
    #[error(transparent)]
    Settings(#[from] SettingsFault),
    /// A command's own words or files, which make no sense.
    #[error(transparent)]
    Usage(anyhow::Error),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl CommandFault {
    /// The exit code that tells one from the other.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) | Self::Usage(_) => ExitCode::from(USAGE),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// [`CommandFault`], which knows its exit code.
pub(crate) fn dispatch(flags: Flags, environment: Environment, inherited: Inherited) -> Result<ExitCode, CommandFault> {
    let Flags { settings, tool, child } = flags;
    let load = || load::load(&settings, &environment).map_err(SettingsFault::from);
    match tool {
        None => serve(settings, environment, child, inherited),
        Some(Tool::Check) => {
            let Loaded { config, warnings, .. } = load()?;
            say(local(check::check(config, &warnings))??)
        }
        Some(Tool::Config) => {
            let directory = std::env::current_dir().context("the working directory")?;
            say(load()?.config.to_toml(&directory))
        }
        Some(Tool::Explain(request)) => {
            let account = local(explain::explain(&request, load()?.config, now()))??;
            say(&account.text)?;
            Ok(exit_code(account.forwarded))
        }
        Some(Tool::Token(request)) => say(token::token(&request, &settings, &environment, now())?),
        Some(Tool::Test { file }) => {
            let account = cases::run(Path::new(&file), load()?.config, now())?;
            say(&account.text)?;
            Ok(exit_code(account.passed))
        }
        Some(Tool::Completions { shell }) => say(Flags::completions(shell)),
        Some(Tool::Man) => say(Flags::manual().context("the manual page can't be written")?),
    }
}

fn serve(
    settings: Settings,
    environment: Environment,
    command: Vec<OsString>,
    inherited: Inherited,
) -> Result<ExitCode, CommandFault> {
    if command.is_empty() {
        forgo_privileges()?;
    }
    let loaded = load::load(&settings, &environment).map_err(SettingsFault::from)?;
    // What it still holds is written when it is dropped.
    let logger = log::start(loaded.config.log);
    let supervised = (!command.is_empty()).then(|| Supervised { secrets: loaded.secret_variables(), command });
    let reload = move || match load::load(&settings, &environment) {
        Ok(loaded) => Ok(loaded.into_reload()),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    };
    match local(run::run(loaded, Box::new(reload), &logger, supervised, inherited))? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(fault) => {
            error!("{fault:#}");
            Ok(fault.exit_code())
        }
    }
}

/// Nothing that this process could start gains rights by it (`no_new_privs`). Threads that there are already would not be
/// bound. A backend that is to be started may well be a program that changes its user: its rights are the operator's.
fn forgo_privileges() -> Result<(), CommandFault> {
    rustix::thread::set_no_new_privs(true).context("the system does not let privileges be forgone")?;
    Ok(())
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes a command's answer, with a line's end, to standard output.
fn say(answer: impl AsRef<[u8]>) -> Result<ExitCode, CommandFault> {
    let answer = answer.as_ref();
    let end: &[u8] = if answer.ends_with(b"\n") { b"" } else { b"\n" };
    let mut output = io::stdout().lock();
    match output.write_all(answer).and_then(|()| output.write_all(end)) {
        // Whoever reads it, such as `head`, has had enough.
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.context("standard output").map(|()| ExitCode::SUCCESS)?),
    }
}

/// Runs a future, and what it spawns, on this thread.
fn local<F: Future>(future: F) -> Result<F::Output, CommandFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(LocalSet::new().block_on(&runtime.context("no event loop")?, future))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(since.as_secs())
}
