//! The one thread that writes. Whatever waits in its queue goes to disk in one transaction, so that a hundred callers cost one fsync.

use super::commits::Commits;
use super::place::Lock;
use super::schema::Trouble;
use crate::clock::Stopwatch;
use crate::fault::{Fault, Kind};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The most jobs that share one transaction: bounds how long the first of them waits for the last.
const BATCH_LIMIT: usize = 256;

/// The way to the writing thread. Dropping it lets what is queued go to disk, closes the file and gives up the lock.
pub(super) struct Writer {
    queue: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    commits: Arc<Commits>,
}

impl Writer {
    /// Starts the thread; it owns the connection, and the lock until the connection is closed.
    ///
    /// # Errors
    /// `LedgerUnusable` when there can be no further thread.
    pub(super) fn start(connection: Connection, lock: Lock, path: &Path) -> Result<Self, Fault> {
        let (queue, jobs) = channel();
        let ledger = path.to_owned();
        let commits = Arc::new(Commits::default());
        let counted = Arc::clone(&commits);
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                work_off(&connection, &jobs, &ledger, &counted);
                drop(connection);
                drop(lock);
            })
            .map_err(|error| Fault::new(Kind::LedgerUnusable, format!("the ledger's thread: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), path: path.to_owned(), commits })
    }

    /// What its transactions took.
    pub(super) fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// Has this done in a transaction, and answers when it is durable. An error undoes this piece of work and no other one.
    ///
    /// # Errors
    /// What `work` gives; otherwise `LedgerFull`, `LedgerUnusable`. If the future is dropped, the work may still be done.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    {
        let stopped = || {
            Fault::new(
                Kind::LedgerUnusable,
                format!("the ledger {}: its writing thread has stopped", self.path.display()),
            )
            .advise("start keywheel again; it goes on where it stopped")
        };
        let (caller, answer) = oneshot::channel();
        let job = Piece { work: Some(work), outcome: None, caller };
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Box::new(job)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was already told to everybody who waited.
            let _ = thread.join();
        }
    }
}

fn work_off(connection: &Connection, queue: &Receiver<Box<dyn Job>>, path: &Path, commits: &Commits) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_LIMIT
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        let outcome = commit(connection, &mut batch, commits).map_err(|trouble| trouble.told(path));
        if outcome.is_err() {
            commits.failed.add();
        }
        if outcome.is_err() && !connection.is_autocommit() {
            // Should this fail too, the next BEGIN does, and nobody is told that something was written.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for job in batch {
            job.answer(&outcome, path);
        }
    }
}

/// One transaction. Each job stands in a savepoint of its own; an error here is an error for all of them.
fn commit(connection: &Connection, batch: &mut [Box<dyn Job>], commits: &Commits) -> Result<(), Trouble> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for job in batch {
        connection.prepare_cached("SAVEPOINT job")?.execute([])?;
        if !job.run(connection) {
            if connection.is_autocommit() {
                // On a full disk or a failed read SQLite may undo the whole transaction, and with it the jobs before this one.
                return Err(Fault::new(
                    Kind::LedgerUnusable,
                    "the ledger undid a transaction in which one part failed",
                )
                .into());
            }
            connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        connection.prepare_cached("RELEASE job")?.execute([])?;
    }
    let watch = Stopwatch::start();
    connection.execute_batch("COMMIT")?;
    commits.took.saw(watch.elapsed());
    Ok(())
}

/// A piece of work whose result is told only after the transaction it took part in.
trait Job: Send {
    /// Does it; whether it succeeded.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Tells the caller its own error, or the transaction's, or its result.
    fn answer(self: Box<Self>, transaction: &Result<(), Fault>, path: &Path);
}

struct Piece<W, T> {
    work: Option<W>,
    outcome: Option<Result<T, Trouble>>,
    caller: oneshot::Sender<Result<T, Fault>>,
}

impl<W, T> Job for Piece<W, T>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, Trouble> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = self.work.take().map(|work| work(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, transaction: &Result<(), Fault>, path: &Path) {
        let answer = match (self.outcome, transaction) {
            (Some(Err(trouble)), _) => Err(trouble.told(path)),
            (_, Err(fault)) => Err(fault.clone()),
            (Some(Ok(result)), Ok(())) => Ok(result),
            (None, Ok(())) => Err(Fault::new(Kind::Bug, "the ledger left out a piece of work")),
        };
        // Nobody waits any more: then nobody acts on it either.
        let _ = self.caller.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue that is full before the thread begins, so that everything in it shares one transaction.
    struct Queue {
        jobs: Sender<Box<dyn Job>>,
        waiting: Receiver<Box<dyn Job>>,
    }

    type Answer = oneshot::Receiver<Result<usize, Fault>>;

    impl Queue {
        fn new() -> Self {
            let (jobs, waiting) = channel();
            Self { jobs, waiting }
        }

        fn put(&self, work: impl FnOnce(&Connection) -> Result<usize, Trouble> + Send + 'static) -> Answer {
            let (caller, answer) = oneshot::channel();
            let job = Piece { work: Some(work), outcome: None, caller };
            self.jobs.send(Box::new(job)).unwrap();
            answer
        }

        fn run(self, connection: &Connection) {
            drop(self.jobs);
            work_off(connection, &self.waiting, Path::new("ledger.db"), &Commits::default());
        }
    }

    fn insert(sql: &'static str) -> impl FnOnce(&Connection) -> Result<usize, Trouble> {
        move |connection| Ok(connection.execute(sql, [])?)
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    fn told(mut answer: Answer) -> Result<usize, Kind> {
        answer.try_recv().expect("an answer").map_err(|fault| fault.kind)
    }

    #[test]
    fn a_piece_of_work_that_fails_undoes_itself_alone() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x UNIQUE)").unwrap();
        let queue = Queue::new();
        let first = queue.put(insert("INSERT INTO t VALUES (1)"));
        let failing = queue.put(|connection| {
            connection.execute("INSERT INTO t VALUES (2)", [])?;
            Err(Fault::new(Kind::Busy, "not now").into())
        });
        let clashing = queue.put(insert("INSERT INTO t VALUES (1)"));
        let last = queue.put(insert("INSERT INTO t VALUES (3)"));
        queue.run(&connection);
        assert_eq!(told(first), Ok(1));
        assert_eq!(told(failing), Err(Kind::Busy));
        assert_eq!(told(clashing), Err(Kind::LedgerUnusable));
        assert_eq!(told(last), Ok(1));
        assert_eq!(count(&connection), 2);
    }

    #[test]
    fn a_commit_that_fails_is_told_to_everybody_and_leaves_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys = on;
                 CREATE TABLE t (x PRIMARY KEY, y REFERENCES t DEFERRABLE INITIALLY DEFERRED)",
            )
            .unwrap();
        let queue = Queue::new();
        let good = queue.put(insert("INSERT INTO t VALUES (1, NULL)"));
        let bad = queue.put(insert("INSERT INTO t VALUES (2, 99)"));
        queue.run(&connection);
        assert_eq!(told(good), Err(Kind::LedgerUnusable));
        assert_eq!(told(bad), Err(Kind::LedgerUnusable));
        assert_eq!(count(&connection), 0);
        let queue = Queue::new();
        let later = queue.put(insert("INSERT INTO t VALUES (3, NULL)"));
        queue.run(&connection);
        assert_eq!(told(later), Ok(1));
    }

    #[test]
    fn a_full_disk_is_told_as_such_and_leaves_what_was_there() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1); PRAGMA max_page_count = 4").unwrap();
        let queue = Queue::new();
        let big = queue.put(insert("INSERT INTO t VALUES (zeroblob(100000))"));
        queue.run(&connection);
        assert_eq!(told(big), Err(Kind::LedgerFull));
        assert_eq!(count(&connection), 1);
    }

    #[test]
    fn more_than_one_batch_is_worked_off() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x)").unwrap();
        let queue = Queue::new();
        let answers: Vec<Answer> =
            (0..BATCH_LIMIT * 2 + 3).map(|_| queue.put(insert("INSERT INTO t VALUES (1)"))).collect();
        queue.run(&connection);
        assert!(answers.into_iter().all(|answer| told(answer) == Ok(1)));
        assert_eq!(count(&connection), BATCH_LIMIT as i64 * 2 + 3);
    }
}
