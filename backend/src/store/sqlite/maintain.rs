//! What operators do to the file: copy it, look it over.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::Sqlite;
use super::open::{OpenError, diagnose, exists, inspect, read_only};

/// Why a backup was not made. Nothing is left behind at its path.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file to make is there already.
    #[error("backup {0}: exists already; name a new file")]
    Exists(PathBuf),
    /// The copy failed.
    #[error("backup {path}: cannot be written")]
    Copy {
        /// The file to make.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Another process kept the database locked.
    #[error("database {0}: is locked by another process; try again")]
    Locked(PathBuf),
    /// The copy could not be put in place.
    #[error("backup {path}: cannot be put in place")]
    Place {
        /// The file to make.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl Sqlite {
    /// Copies the database at `path` to a new file, as it is at one moment, also while a service writes.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn backup(path: &Path, to: &Path) -> Result<(), BackupError> {
        if !exists(path)? {
            return Err(OpenError::Missing(path.to_owned()).into());
        }
        if to.exists() {
            return Err(BackupError::Exists(to.to_owned()));
        }
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let outcome = copy(path, &partial).and_then(|()| {
            let placed =
                File::open(&partial).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&partial, to));
            placed.map_err(|source| BackupError::Place { path: to.to_owned(), source })
        });
        if outcome.is_err() {
            // Half a copy is no use to anyone; if it never was there, that is as well.
            let _ = std::fs::remove_file(&partial);
        }
        outcome.inspect(|()| tracing::info!(database = %path.display(), backup = %to.display(), "backed up"))
    }

    /// Looks every page, index and word of the database over.
    ///
    /// # Errors
    /// The first fault found, as [`OpenError`].
    pub fn check(path: &Path) -> Result<(), OpenError> {
        let failed = |source| diagnose(path, source);
        inspect(path)?;
        let connection = read_only(path).map_err(failed)?;
        let fault: String = connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0)).map_err(failed)?;
        if fault != "ok" {
            return Err(OpenError::Damaged { path: path.to_owned(), fault });
        }
        let (tasks, users): (i64, i64) = connection
            .query_row("SELECT count(*), count(DISTINCT owner) FROM task", (), |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed)?;
        tracing::info!(database = %path.display(), tasks, users, "sound");
        Ok(())
    }
}

fn copy(path: &Path, partial: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::Copy { path: partial.to_owned(), source };
    let source = read_only(path).map_err(|source| diagnose(path, source))?;
    let mut copy = Connection::open(partial).map_err(failed)?;
    let backup = Backup::new(&source, &mut copy).map_err(failed)?;
    // All pages in one step: one snapshot, which writers need not wait for.
    match backup.step(-1).map_err(failed)? {
        StepResult::Done => Ok(()),
        // SQLite's own enum, open-ended; what else there is means that somebody holds the lock.
        _ => Err(BackupError::Locked(path.to_owned())),
    }
}
