//! What the operator says: flags over environment over defaults.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand};

use crate::log::Format;
use crate::quota::Quota;

/// A to-do API that knows no authentication: it trusts the X-User-Id header of the proxy in front of it.
#[derive(Clone, Debug, Parser)]
#[command(name = "task-service", version, about)]
pub struct Config {
    /// What to do; without a command the service runs
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where to listen: host:port or unix:/path
    #[arg(long, value_name = "ADDR", env = "TASK_SERVICE_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: Listen,
    /// Where to answer /livez, /readyz and /metrics: host:port, unix:/path or off
    #[arg(long, value_name = "ADDR", env = "TASK_SERVICE_ADMIN", default_value = "off")]
    pub admin: Admin,
    /// What keeps the tasks: an SQLite file, which the service makes if there is none, or postgres://user:password@host/name
    #[arg(
        long,
        global = true,
        value_name = "FILE-or-URL",
        env = "TASK_SERVICE_DATABASE",
        hide_env_values = true,
        default_value = "tasks.db"
    )]
    pub database: Database,
    /// How many tasks one user may keep; no bound if not given
    #[arg(long, value_name = "COUNT", env = "TASK_SERVICE_MAX_TASKS_PER_USER")]
    pub max_tasks_per_user: Option<u32>,
    /// How many bytes of titles and descriptions one user may keep; no bound if not given
    #[arg(long, value_name = "BYTES", env = "TASK_SERVICE_MAX_BYTES_PER_USER")]
    pub max_bytes_per_user: Option<u64>,
    /// How log lines are written
    #[arg(long, global = true, value_name = "FORMAT", env = "TASK_SERVICE_LOG_FORMAT", default_value = "text")]
    pub log_format: Format,
}

/// What the program can do beside serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Copy the database to a new file, consistent also while the service writes
    Backup {
        /// The file to make
        file: PathBuf,
    },
    /// Look the whole database over for damage; exits 1 if there is any
    Check,
}

impl Config {
    /// How much one user may keep.
    pub fn quota(&self) -> Quota {
        Quota { tasks: self.max_tasks_per_user, bytes: self.max_bytes_per_user }
    }
}

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`
    Tcp(String),
    /// `unix:/path`
    Unix(PathBuf),
}

/// Where operators look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Nowhere.
    Off,
    /// At this address.
    At(Listen),
}

impl FromStr for Admin {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::At) }
    }
}

/// What keeps the tasks.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// The URL of a PostgreSQL database. Never printed: it may hold a password.
    Postgres(String),
}

impl FromStr for Database {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        Ok(if url { Self::Postgres(text.to_owned()) } else { Self::Sqlite(text.into()) })
    }
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "{}", path.display()),
            Self::Postgres(_) => formatter.write_str("PostgreSQL"),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Listen {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.to_owned()),
        })
    }
}
