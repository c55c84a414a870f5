//! The `task-service` command.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use task_service::config::Config;
use task_service::listen::Listener;
use task_service::store::{Sqlite, Store};
use task_service::{log, router, serve};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// For flags that cannot be understood (`EX_USAGE` of sysexits).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
            // Nowhere is left to say that the terminal is gone.
            let _ = error.print();
            return code;
        }
    };
    log::start(config.log_format);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("cannot start: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: &Config) -> anyhow::Result<()> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let store = Store::from(Sqlite::open(&config.database, config.quota())?);
    let listener = Listener::bind(&config.listen).await?;
    tracing::info!(address = listener.address(), database = %config.database.display(), "listening");
    serve::run(listener, router(store), signals.stop()).await;
    tracing::info!("stopped");
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Held so that a file-size limit is an error of the write, not the end of the process.
    _file_size: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    async fn stop(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
