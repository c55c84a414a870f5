//! The `task-service` command.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use task_service::config::{Admin, Command, Config, Database};
use task_service::listen::Listener;
use task_service::metrics::Metrics;
use task_service::store::{Postgres, Sqlite, Store};
use task_service::{admin, log, router, serve};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

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
            tracing::error!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: &Config) -> anyhow::Result<()> {
    match (&config.command, &config.database) {
        (None, _) => serve(config).await,
        (Some(Command::Backup { file }), Database::Sqlite(path)) => Ok(Sqlite::backup(path, file)?),
        (Some(Command::Backup { .. }), Database::Postgres(_)) => {
            bail!("a PostgreSQL database is copied by its own pg_dump")
        }
        (Some(Command::Check), Database::Sqlite(path)) => Ok(Sqlite::check(path)?),
        (Some(Command::Check), Database::Postgres(url)) => {
            let (tasks, users) = Postgres::open(url, config.quota()).await?.check().await?;
            tracing::info!(tasks, users, "sound");
            Ok(())
        }
    }
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let store = match &config.database {
        Database::Sqlite(path) => Store::from(Sqlite::open(path, config.quota())?),
        Database::Postgres(url) => Store::from(Postgres::open(url, config.quota()).await?),
    };
    let metrics = Metrics::default();
    let listener = Listener::bind(&config.listen).await.context("--listen")?;
    let (stop, stopped) = watch::channel(());
    let admin = match &config.admin {
        Admin::Off => None,
        Admin::At(listen) => {
            let listener = Listener::bind(listen).await.context("--admin")?;
            tracing::info!(address = listener.address(), "admin listening");
            let router = admin::router(store.clone(), metrics.clone());
            Some(tokio::spawn(serve::run(listener, router, until(stopped.clone()))))
        }
    };
    tracing::info!(address = listener.address(), database = %config.database, "listening");
    let api = tokio::spawn(serve::run(listener, router(store, metrics), until(stopped)));
    signals.stop().await;
    drop(stop);
    tracing::info!("stopping: finishing what is in flight");
    api.await?;
    if let Some(admin) = admin {
        admin.await?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Done when the sender is gone.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
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
