//! The one writer: takes what is waiting into one transaction, so that many writes share one flush to disk.
//!
//! A caller is answered only after the commit. A statement that fails is undone alone, unless SQLite gives up the
//! whole transaction; then everyone in it is told so.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// How many writes share one transaction at most.
const GROUP: usize = 256;

/// How many writes may wait before others are refused.
const WAITING: usize = 4_096;

/// The way to the writer's thread; dropping it lets the thread finish what is waiting and waits for it.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || run(connection, receiver))?;
        Ok(Self { queue: Some(sender), thread: Some(thread) })
    }

    /// Runs `statement` within the next transaction; its outcome counts once that is on disk.
    pub(super) async fn write<T, F>(&self, statement: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let write = Pending { statement: Some(statement), outcome: None, reply };
        let queue = self.queue.as_ref().ok_or_else(|| unavailable(WriterError::Stopped))?;
        queue.try_send(Box::new(write)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => unavailable(WriterError::Overloaded),
            mpsc::error::TrySendError::Closed(_) => unavailable(WriterError::Stopped),
        })?;
        outcome.await.map_err(|_| unavailable(WriterError::Stopped))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the writer ended in a panic");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum WriterError {
    #[error("{WAITING} writes are waiting already")]
    Overloaded,
    #[error("the writer has stopped")]
    Stopped,
}

fn unavailable(error: WriterError) -> StoreError {
    StoreError::Unavailable(Arc::new(error))
}

fn run(mut connection: Connection, mut queue: mpsc::Receiver<Box<dyn Write>>) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        let failure = commit(&mut connection, &mut group).err();
        for write in group.drain(..) {
            write.answer(failure.as_ref());
        }
    }
}

/// Runs `group` in one transaction. An error means that none of it happened.
fn commit(connection: &mut Connection, group: &mut [Box<dyn Write>]) -> Result<(), StoreError> {
    let mut transaction = connection.transaction()?;
    for write in group {
        let mut savepoint = transaction.savepoint()?;
        match write.run(&savepoint) {
            Ok(()) => savepoint.commit()?,
            // SQLite rolls the whole transaction back on some failures of the disk.
            Err(error) if savepoint.is_autocommit() => return Err(error),
            Err(error) => {
                savepoint.rollback()?;
                write.fail(error);
            }
        }
    }
    Ok(transaction.commit()?)
}

/// A write on its way through a transaction.
trait Write: Send {
    /// Runs the statement and keeps its result for later.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;

    /// Keeps the failure of this write alone.
    fn fail(&mut self, error: StoreError);

    /// Tells the caller: `failure` if the transaction failed, else what was kept.
    fn answer(self: Box<Self>, failure: Option<&StoreError>);
}

struct Pending<T, F> {
    statement: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Write for Pending<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if let Some(statement) = self.statement.take() {
            self.outcome = Some(Ok(statement(connection)?));
        }
        Ok(())
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error));
    }

    fn answer(self: Box<Self>, failure: Option<&StoreError>) {
        let outcome = failure.cloned().map_or(self.outcome, |failure| Some(Err(failure)));
        // A caller who has gone does not hear the answer; the write stands all the same.
        let _ = self.reply.send(outcome.unwrap_or_else(|| Err(unavailable(WriterError::Stopped))));
    }
}
