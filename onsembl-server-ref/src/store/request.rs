//! One request to the writer: what it does inside a transaction, and how it answers after the
//! commit. A request may run several times, because a failed transaction is tried again as a whole.

use super::budget::Terms;
use super::error::{StoreError, trouble_of};
use super::line::{QueuedWrite, RECORDS_PER_REQUEST};
use super::output::{OutputReceipt, StoredRecord};
use super::reader::Asker;
use crate::bounds::Turn;
use rusqlite::Connection;
use std::collections::HashMap;
use tokio::sync::oneshot;

/// A request in the queue. The permit is its place there, and is given back when it is answered.
pub(super) enum Request {
    Call(Box<dyn Call>),
    Output(Box<QueuedRecord>),
}

impl Request {
    /// Bytes of output it holds.
    pub(super) fn output_len(&self) -> usize {
        match self {
            Self::Call(_) => 0,
            Self::Output(queued) => queued.record.body.byte_count(),
        }
    }

    /// What it counts of a transaction, in records of output.
    pub(super) const fn weight(&self) -> usize {
        match self {
            Self::Call(_) => RECORDS_PER_REQUEST,
            Self::Output(_) => 1,
        }
    }

    /// The record of output, if it is one.
    fn queued(&self) -> Option<&QueuedRecord> {
        match self {
            Self::Call(_) => None,
            Self::Output(queued) => Some(queued),
        }
    }

    fn record(&self) -> Option<&StoredRecord> {
        self.queued().map(|queued| &queued.record)
    }

    /// Whether the latest run refused it.
    pub(super) fn is_refused(&self) -> bool {
        match self {
            Self::Call(call) => call.is_refused(),
            Self::Output(queued) => queued.refused.is_some(),
        }
    }

    /// Runs it. Its own fault is kept for the answer.
    ///
    /// # Errors
    /// Trouble of the database, which ends the attempt.
    fn run(&mut self, db: &Connection, undo: Undo) -> rusqlite::Result<()> {
        match self {
            Self::Call(call) => call.run(db, undo),
            Self::Output(queued) => queued.run(db, undo),
        }
    }
}

/// How what a request wrote is undone if it breaks a rule of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// With all others of its transaction, which are run again then, each under a savepoint.
    WithOthers,
    /// By a savepoint. For it SQLite copies each page that is changed.
    ToSavepoint,
    /// With the transaction, in which there is nothing else, and which is begun again.
    WithTransaction,
}

/// What came of the requests of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Ran {
    /// All of them were run. What was refused has left nothing behind.
    All,
    /// One was refused, and the others with it: the transaction is to be undone.
    Undone,
}

/// Runs the only request of a transaction.
///
/// # Errors
/// Trouble of the database, which ends the attempt.
pub(super) fn run_alone(placed: &mut QueuedWrite, db: &Connection) -> rusqlite::Result<()> {
    placed.request.run(db, Undo::WithTransaction)
}

/// Runs all of them, in order, without any that is refused: that is rare, and a savepoint for each is a good part of what
/// they cost.
///
/// # Errors
/// Trouble of the database, which ends the attempt.
pub(super) fn run_together(requests: &mut [QueuedWrite], db: &Connection) -> rusqlite::Result<Ran> {
    let mut at = 0;
    while let Some(rest) = requests.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let count = rest.iter().take_while(|queued| queued.request.record().is_some()).count();
        let now = rest.get_mut(..count.max(1)).unwrap_or_default();
        at += now.len();
        let is_refused = match now {
            [only] => {
                only.request.run(db, Undo::WithOthers)?;
                only.request.is_refused()
            }
            records => {
                let runs = runs(records);
                !run_records_together(records, &runs, db, Undo::WithOthers)?
            }
        };
        if is_refused {
            return Ok(Ran::Undone);
        }
    }
    Ok(Ran::All)
}

/// Runs all of them, in order, each so that its refusal undoes nothing else. Records of one run of a command are written in
/// one go, if nothing but records is between them; where that breaks a rule of the schema, one by one, to find which of
/// them it was.
///
/// # Errors
/// Trouble of the database, which ends the attempt.
pub(super) fn run_all(mut requests: &mut [QueuedWrite], db: &Connection) -> rusqlite::Result<()> {
    while !requests.is_empty() {
        let records = requests.iter().take_while(|queued| queued.request.record().is_some());
        let count = records.count();
        let (now, later) = std::mem::take(&mut requests).split_at_mut(count.max(1));
        requests = later;
        match (count, now) {
            (0 | 1, now) => {
                for queued in now {
                    queued.request.run(db, Undo::ToSavepoint)?;
                }
            }
            (_, records) => run_records(records, db)?,
        }
    }
    Ok(())
}

/// Runs records of output, those of each run of a command together, in the order in which the first of each came. What is
/// refused is rare, so it is looked for only when something was.
fn run_records(requests: &mut [QueuedWrite], db: &Connection) -> rusqlite::Result<()> {
    let runs = runs(requests);
    let undo = Undo::ToSavepoint;
    if runs.len() > 1 && run_records_together(requests, &runs, db, undo)? {
        return Ok(());
    }
    for run in runs {
        if run.len() > 1 && run_records_together(requests, std::slice::from_ref(&run), db, undo)? {
            continue;
        }
        for at in run {
            if let Some(queued) = requests.get_mut(at) {
                queued.request.run(db, Undo::ToSavepoint)?;
            }
        }
    }
    Ok(())
}

/// Which of these requests are records of the same run of a command.
fn runs(requests: &[QueuedWrite]) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    let mut places: HashMap<(&str, &str, u64), usize> = HashMap::new();
    let mut before: Option<(&StoredRecord, usize)> = None;
    for (at, queued) in requests.iter().enumerate() {
        let Some(record) = queued.request.record() else { continue };
        let place = match before {
            Some((last, place)) if last.is_beside(record) => place,
            Some(_) | None => {
                let key = (record.user.as_str(), record.command.as_str(), record.incarnation.0);
                *places.entry(key).or_insert_with(|| {
                    runs.push(Vec::new());
                    runs.len() - 1
                })
            }
        };
        if let Some(run) = runs.get_mut(place) {
            run.push(at);
        }
        before = Some((record, place));
    }
    runs
}

/// Whether all records of these runs could be written.
fn run_records_together(
    requests: &mut [QueuedWrite],
    runs: &[Vec<usize>],
    db: &Connection,
    undo: Undo,
) -> rusqlite::Result<bool> {
    let written = undoable(db, undo, &mut |db| {
        for run in runs {
            let of_run = run.iter().filter_map(|at| requests.get(*at));
            let of_run: Vec<&QueuedRecord> = of_run.filter_map(|q| q.request.queued()).collect();
            // They age from the first of them on: moments before.
            if let Some(first) = of_run.first() {
                let records = of_run.iter().map(|queued| &queued.record);
                StoredRecord::write_all(db, &first.record, records, first.terms)?;
            }
        }
        Ok(())
    })?;
    for at in runs.iter().flatten() {
        match requests.get_mut(*at).map(|queued| &mut queued.request) {
            Some(Request::Output(queued)) => queued.refused = None,
            Some(Request::Call(_)) | None => {}
        }
    }
    Ok(written.is_ok())
}

/// A request with an answer of its own.
pub(super) trait Call: Send {
    fn run(&mut self, db: &Connection, undo: Undo) -> rusqlite::Result<()>;
    /// Whether the latest run refused it.
    fn is_refused(&self) -> bool;
    /// Answers, after the commit.
    fn answer(self: Box<Self>);
    /// Answers without having run.
    fn refuse(self: Box<Self>, why: StoreError);
}

/// A function to run, and who waits for its result.
pub(super) struct Asked<T, F> {
    what: &'static str,
    work: F,
    outcome: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    _permit: Option<Turn<Asker>>,
}

impl<T, F> Asked<T, F>
where
    T: Send + 'static,
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    /// A request named `what` in the log, and where its answer will be.
    pub(super) fn request(
        what: &'static str,
        permit: Option<Turn<Asker>>,
        work: F,
    ) -> (Request, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let asked = Self { what, work, outcome: None, reply, _permit: permit };
        (Request::Call(Box::new(asked)), answer)
    }
}

impl<T, F> Call for Asked<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, db: &Connection, undo: Undo) -> rusqlite::Result<()> {
        self.outcome = None;
        self.outcome = Some(undoable(db, undo, &mut self.work)?);
        Ok(())
    }

    fn is_refused(&self) -> bool {
        matches!(self.outcome, Some(Err(_)))
    }

    fn answer(self: Box<Self>) {
        // Without an outcome the sender is dropped, which its receiver reads as "closed".
        let Some(outcome) = self.outcome else { return };
        if let Err(error) = &outcome {
            tracing::warn!(request = self.what, %error, "the store refused a request");
        }
        if self.reply.send(outcome.map_err(StoreError::from)).is_err() {
            tracing::debug!(request = self.what, "the caller of this request was dropped");
        }
    }

    fn refuse(self: Box<Self>, why: StoreError) {
        if self.reply.send(Err(why)).is_err() {
            tracing::debug!(request = self.what, "the caller of this request was dropped");
        }
    }
}

/// Runs `work` so that its failure undoes its own writes only.
fn undoable<T>(
    db: &Connection,
    undo: Undo,
    work: &mut impl FnMut(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<rusqlite::Result<T>> {
    let mark = |sql| db.prepare_cached(sql)?.execute([]).map(drop);
    match undo {
        Undo::ToSavepoint => mark("SAVEPOINT request")?,
        Undo::WithOthers | Undo::WithTransaction => {}
    }
    let outcome = work(db);
    if let Err(error) = outcome {
        if trouble_of(&error).is_some() {
            return Err(error);
        }
        match undo {
            Undo::WithOthers => {}
            Undo::ToSavepoint => {
                mark("ROLLBACK TO request")?;
                mark("RELEASE request")?;
            }
            Undo::WithTransaction => {
                // Some failures have ended the transaction already.
                if !db.is_autocommit() {
                    mark("ROLLBACK")?;
                }
                mark("BEGIN IMMEDIATE")?;
            }
        }
        return Ok(Err(error));
    }
    match undo {
        Undo::ToSavepoint => mark("RELEASE request")?,
        Undo::WithOthers | Undo::WithTransaction => {}
    }
    Ok(outcome)
}

/// A record of output; answered in bulk, by receipts.
pub(super) struct QueuedRecord {
    record: StoredRecord,
    terms: Terms,
    refused: Option<rusqlite::Error>,
    _permit: Option<Turn<Asker>>,
}

impl QueuedRecord {
    pub(super) fn new(record: StoredRecord, terms: Terms, permit: Option<Turn<Asker>>) -> Self {
        Self { record, terms, refused: None, _permit: permit }
    }

    fn run(&mut self, db: &Connection, undo: Undo) -> rusqlite::Result<()> {
        self.refused = None;
        self.refused = undoable(db, undo, &mut |db| self.record.write(db, self.terms))?.err();
        Ok(())
    }

    /// The receipt, after the commit.
    pub(super) fn receipt(self) -> OutputReceipt {
        let outcome = match self.refused {
            None => Ok(()),
            Some(error) => {
                tracing::warn!(user = %self.record.user, command = %self.record.command,
                    sequence = %self.record.sequence, %error,
                    "the store refused a record of output");
                Err(StoreError::from(error))
            }
        };
        OutputReceipt::new(&self.record, outcome)
    }
}
