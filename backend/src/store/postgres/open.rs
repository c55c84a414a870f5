//! Connecting, and bringing the database to this version's schema.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use refinery::error::Kind;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Postgres;
use crate::quota::Quota;

mod migrations {
    //! The schema, step by step. A step that was released is never edited.
    refinery::embed_migrations!("migrations/postgres");
}

/// How many statements run at once.
const CONNECTIONS: usize = 16;

/// How long a connection or a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answered commit is on the server's disk, and nothing waits for ever.
const SETTINGS: &str = "-c synchronous_commit=on -c lock_timeout=2s -c statement_timeout=10s";

/// Instances that start at once take turns at this advisory lock ("task" in ASCII).
const TURN: i64 = 0x7461_736B;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The URL has a fault.
    #[error("database: the URL is not of the form postgres://user:password@host:port/name")]
    Url(#[source] tokio_postgres::Error),
    /// The system's certificates cannot be used.
    #[error("database: no certificates to check the server's with; install ca-certificates")]
    Certificates,
    /// The pool cannot be made.
    #[error("database: the pool of connections cannot be made")]
    Pool(#[source] deadpool_postgres::BuildError),
    /// The server does not answer.
    #[error("database: the server does not let us in; check the URL and that it is running")]
    Connect(#[source] PoolError),
    /// A newer version of this program has migrated the database.
    #[error("database: has a schema of a newer version ({0}); run the newer task-service")]
    Newer(String),
    /// The schema could not be brought up to date.
    #[error("database: the schema could not be brought up to date")]
    Migration(#[source] refinery::Error),
    /// A statement failed.
    #[error("database: cannot be read")]
    Statement(#[source] tokio_postgres::Error),
}

impl Postgres {
    /// Connects to the database at `url` and makes its tables if there are none. With `sslmode=require` the server must
    /// prove by TLS who it is.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn open(url: &str, quota: Quota) -> Result<Self, PostgresError> {
        let mut config: Config = url.parse().map_err(PostgresError::Url)?;
        let settings = config.get_options().map_or_else(|| SETTINGS.to_owned(), |own| format!("{SETTINGS} {own}"));
        config.options(settings).application_name("task-service").connect_timeout(PATIENCE);
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        // Anything short of "require" would also do without, and so protects nothing.
        let manager = if config.get_ssl_mode() == SslMode::Require {
            let (tls, _) = MakeRustlsConnect::with_native_certs().map_err(|_| PostgresError::Certificates)?;
            Manager::from_config(config, tls, fast)
        } else {
            Manager::from_config(config, NoTls, fast)
        };
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .timeouts(Timeouts { wait: Some(PATIENCE), create: Some(PATIENCE), recycle: Some(PATIENCE) })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(PostgresError::Pool)?;
        let store = Self { pool, quota };
        store.migrate().await?;
        Ok(store)
    }

    /// How many tasks and users there are.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub async fn check(&self) -> Result<(i64, i64), PostgresError> {
        let client = self.pool.get().await.map_err(PostgresError::Connect)?;
        let counts = client.query_one("SELECT count(*), count(DISTINCT owner) FROM task", &[]).await;
        counts.map(|row| (row.get(0), row.get(1))).map_err(PostgresError::Statement)
    }

    async fn migrate(&self) -> Result<(), PostgresError> {
        let mut client = self.pool.get().await.map_err(PostgresError::Connect)?;
        // Waiting for one's turn may take as long as another's migration.
        let turn = format!("SET lock_timeout = 0; SET statement_timeout = 0; SELECT pg_advisory_lock({TURN})");
        client.batch_execute(&turn).await.map_err(PostgresError::Statement)?;
        let outcome = migrations::migrations::runner().run_async(&mut **client).await;
        let back = format!("SELECT pg_advisory_unlock({TURN}); RESET lock_timeout; RESET statement_timeout");
        client.batch_execute(&back).await.map_err(PostgresError::Statement)?;
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.kind() {
                Kind::MissingVersion(migration) => PostgresError::Newer(migration.to_string()),
                _ => PostgresError::Migration(error),
            }),
        }
    }
}
