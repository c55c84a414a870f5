//! Opening the file: looked at first without touching it, then brought to this version's schema.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations, SchemaVersion};

use tokio::sync::Semaphore;

use super::writer::Writer;
use super::{Sqlite, search};
use crate::quota::Quota;

/// The schema, step by step. A step that was released is never edited.
fn steps() -> Vec<M<'static>> {
    vec![
        M::up(include_str!("../../../migrations/sqlite/001_task.sql")),
        M::up(include_str!("../../../migrations/sqlite/002_search.sql")),
        M::up(include_str!("../../../migrations/sqlite/003_usage.sql")),
        M::up(include_str!("../../../migrations/sqlite/004_idempotency.sql")),
        M::up_with_hook(include_str!("../../../migrations/sqlite/005_cluster.sql"), |transaction: &Transaction<'_>| {
            Ok(search::fill(transaction)?)
        }),
    ]
}

/// Stands in the header of each of our files: "task" in ASCII.
const APPLICATION_ID: i64 = 0x7461_736B;

/// How long a statement waits for a lock that another process holds.
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// How many prepared statements a connection keeps: each combination of a list's filters is one.
const STATEMENTS: usize = 64;

/// How many lists and look-ups run at once.
const READERS: u32 = 4;

/// Why a file cannot be used. It stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no folder to make the file in.
    #[error("database {0}: its folder does not exist; create it, or name another file with --database")]
    NoFolder(PathBuf),
    /// The folder cannot be locked.
    #[error("database {path}: its folder cannot be locked; check its permissions")]
    Folder {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The path names a folder or a device.
    #[error("database {0}: is not a regular file; name a file with --database")]
    NoFile(PathBuf),
    /// There is no file.
    #[error("database {0}: does not exist; name it with --database")]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("database {path}: cannot be read; check its permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file has other content.
    #[error("database {0}: is not an SQLite database; name another file with --database")]
    NoDatabase(PathBuf),
    /// The file belongs to another program.
    #[error("database {0}: is an SQLite database of another program; name another file with --database")]
    Foreign(PathBuf),
    /// The file is damaged.
    #[error("database {path}: is damaged ({fault}); restore a backup, or recover it with `sqlite3 {path} .recover`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first fault that SQLite found.
        fault: String,
    },
    /// A newer version of this program has migrated the file.
    #[error("database {path}: has schema {found}, this program knows up to {known}; run the newer task-service")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema version of the file.
        found: NonZeroUsize,
        /// The newest schema version known here.
        known: usize,
    },
    /// The schema could not be brought up to date.
    #[error("database {path}: the schema could not be brought up to date")]
    Migration {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite_migration::Error,
    },
    /// Anything else that SQLite says.
    #[error("database {path}: cannot be opened")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The readers could not be started.
    #[error("database {path}: cannot be opened for reading")]
    Readers {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: r2d2::Error,
    },
    /// The writer could not be started.
    #[error("the writer's thread cannot be started")]
    Thread(#[source] io::Error),
}

impl Sqlite {
    /// Opens the file at `path`, making it if there is none.
    ///
    /// # Errors
    /// See [`OpenError`]; the file is then as it was before.
    pub fn open(path: &Path, quota: Quota) -> Result<Self, OpenError> {
        let failed = |source| diagnose(path, source);
        let _turn = take_turn(path)?;
        if exists(path)? {
            inspect(path)?;
        }
        let mut connection = Connection::open(path).map_err(failed)?;
        configure(&mut connection).map_err(failed)?;
        Migrations::new(steps())
            .to_latest(&mut connection)
            .map_err(|source| OpenError::Migration { path: path.to_owned(), source })?;
        let manager = SqliteConnectionManager::file(path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(|connection| {
                connection.set_prepared_statement_cache_capacity(STATEMENTS);
                // Otherwise a statement is planned anew whenever its LIMIT is bound, which costs more than to run it.
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
                connection.busy_timeout(BUSY)
            });
        let readers = Pool::builder()
            .max_size(READERS)
            .connection_timeout(BUSY)
            .test_on_check_out(false)
            .build(manager)
            .map_err(|source| OpenError::Readers { path: path.to_owned(), source })?;
        let writer = Writer::start(connection).map_err(OpenError::Thread)?;
        let turns = Semaphore::new(READERS as usize);
        Ok(Self { readers, turns, writer, quota })
    }
}

/// Whether there is something to look at. An empty file is as good as none.
pub(super) fn exists(path: &Path) -> Result<bool, OpenError> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len() > 0),
        Ok(_) => Err(OpenError::NoFile(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Looks at an existing file through a connection that cannot write.
pub(super) fn inspect(path: &Path) -> Result<(), OpenError> {
    let failed = |source| diagnose(path, source);
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing(path.to_owned()),
        _ => OpenError::Unreadable { path: path.to_owned(), source },
    };
    if !begins_like_a_database(path).map_err(unreadable)? {
        return Err(OpenError::NoDatabase(path.to_owned()));
    }
    let connection = read_only(path).map_err(failed)?;
    let number = |sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(failed);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let steps = steps();
    let known = steps.len();
    let version = Migrations::new(steps).current_version(&connection);
    match version.map_err(|source| OpenError::Migration { path: path.to_owned(), source })? {
        SchemaVersion::Outside(found) => {
            return Err(OpenError::Newer { path: path.to_owned(), found, known });
        }
        SchemaVersion::NoneSet | SchemaVersion::Inside(_) => {}
    }
    if tables > 0 && number("PRAGMA application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let fault: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
    if fault == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), fault }) }
}

/// A connection that cannot write.
pub(super) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Checks the magic bytes. SQLite itself takes a file shorter than its header for an empty database.
fn begins_like_a_database(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut start)?;
    Ok(start == b"SQLite format 3\0")
}

fn configure(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
    // A commit is on the disk before it is acknowledged.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(())
}

/// Waits until no other instance is opening a file in the same folder, so that two that start at once do not both
/// migrate. The file itself is no place for this lock: closing it would take SQLite's own locks along.
fn take_turn(path: &Path) -> Result<File, OpenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(OpenError::NoFolder(path.to_owned()));
    }
    let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
    locked.map_err(|source| OpenError::Folder { path: path.to_owned(), source })
}

pub(super) fn diagnose(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NoDatabase(path),
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, fault: source.to_string() },
        Some(_) | None => OpenError::Sqlite { path, source },
    }
}
