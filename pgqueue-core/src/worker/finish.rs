//! Stores how runs ended: in batches, each row only if its run is still the current one.
//!
//! An end is kept and tried again until the database has answered for it: stored, stored by an earlier try whose answer
//! was lost, or not this run's any more. Until then it counts as not stored, so that an outage slows claims down.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::conclude::{conclude, lease_lost};
use super::ends::{Finish, receive, take_batch};
use super::engine::Engine;
use super::failures::Failures;
use super::next_move::Move;
use super::shutdown::Phase;
use crate::backoff;
use crate::error::{Error, ErrorKind};
use crate::model::Span;
use crate::outcome::Ending;
use crate::source::{Link, Purpose};
use crate::sql::{Finish as FinishStatement, FinishDelete, ReadBack, Unlocked};
use crate::state::JobState;

/// After a row was locked by somebody else, it is tried again so often.
const BUSY_RETRY: Duration = Duration::from_millis(200);
/// So many refusals of one row are taken to mean what it carries, not the state of the server.
const REFUSALS: u32 = 5;
/// The longest wait between tries while the database does not answer.
const OUTAGE_RETRY: Duration = Duration::from_secs(2);
/// How long the ends that are left may take once the worker stops for good.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// Stores ends until the task is aborted: the engine, which it holds, keeps a sender.
pub(super) async fn finish_runs(
    engine: Arc<Engine>,
    mut finished: mpsc::UnboundedReceiver<Finish>,
) {
    let mut finisher = Finisher {
        link: Link::new(engine.connections.clone(), Purpose::Other),
        engine,
        failures: Failures::to("store how runs ended"),
    };
    let mut open: Vec<Finish> = Vec::new();
    loop {
        if !receive(&mut finished, &mut open, finisher.engine.config.batch).await && open.is_empty()
        {
            return;
        }
        let ready = take_batch(&mut open, finisher.engine.config.batch);
        // Apart: a row that is still locked must not hold up those that have just ended.
        let (again, fresh): (Vec<_>, Vec<_>) = ready
            .into_iter()
            .partition(|finish| finish.not_before.is_some());
        open.extend(finisher.settle(fresh).await);
        open.extend(finisher.settle_again(again).await);
    }
}

struct Finisher {
    link: Link,
    engine: Arc<Engine>,
    failures: Failures,
}

impl Finisher {
    /// Stores a batch; gives back what has to be tried again.
    async fn settle(&mut self, mut batch: Vec<Finish>) -> Vec<Finish> {
        if batch.is_empty() {
            return batch;
        }
        batch.sort_by_key(Finish::id); // all lock in this order
        match self.try_settle(&mut batch).await {
            Ok(()) => {
                self.failures.end(self.engine.worker_id());
                batch
            }
            Err(error) if error.kind() == ErrorKind::Connection => {
                self.wait_for_database(&error, batch).await
            }
            Err(error) => self.settle_apart(&error, batch).await,
        }
    }

    /// Stores rows that were locked before, as far as they are free by now, without waiting for a lock.
    async fn settle_again(&mut self, mut batch: Vec<Finish>) -> Vec<Finish> {
        if batch.is_empty() {
            return batch;
        }
        let looked = self.read_back(&mut batch).await;
        let ids: Vec<i64> = batch.iter().map(Finish::id).collect();
        let free = match looked {
            Ok(()) => self.link.load::<_, i64>(Unlocked { ids: &ids }).await,
            Err(error) => Err(error),
        };
        match free {
            Ok(free) => {
                let (free, mut busy): (Vec<_>, Vec<_>) = batch
                    .into_iter()
                    .partition(|finish| free.contains(&finish.id()));
                if free.is_empty() {
                    self.failures.end(self.engine.worker_id());
                }
                busy.extend(self.settle(free).await);
                busy
            }
            Err(error) => self.wait_for_database(&error, batch).await,
        }
    }

    /// Stores what it can and takes it out of `batch`.
    async fn try_settle(&mut self, batch: &mut Vec<Finish>) -> Result<(), Error> {
        let stored = self.store(batch).await?;
        batch.retain_mut(|finish| match stored.get(&finish.key()) {
            Some(&(state, now)) => {
                conclude(&self.engine, finish, state, now);
                false
            }
            None => true,
        });
        if batch.is_empty() {
            Ok(())
        } else {
            self.read_back(batch).await
        }
    }

    /// Runs the statements; answers the state and time of each row that was ours, by job and token: a batch may end an earlier run
    /// of a job, too, which has lost its lease.
    async fn store(
        &mut self,
        batch: &[Finish],
    ) -> Result<HashMap<(i64, i64), (JobState, DateTime<Utc>)>, Error> {
        let engine = Arc::clone(&self.engine);
        let (deletes, updates): (Vec<&Finish>, Vec<&Finish>) = batch.iter().partition(|finish| {
            matches!(finish.ending, Ending::Completed(_)) && !engine.config.keeps_completed()
        });
        let mut stored: Vec<(i64, i64, JobState, DateTime<Utc>)> = Vec::new();
        if !deletes.is_empty() {
            let (ids, tokens) = keys(&deletes);
            stored = self
                .link
                .load(FinishDelete {
                    ids: &ids,
                    tokens: &tokens,
                })
                .await?;
        }
        if !updates.is_empty() {
            let (ids, tokens) = keys(&updates);
            let moves: Vec<Move> = updates
                .iter()
                .map(|finish| next_move(&engine, finish))
                .collect();
            let states: Vec<&'static str> = moves.iter().map(|next| next.state.name()).collect();
            let delays: Vec<Option<Span>> = moves.iter().map(|next| next.delay.map(Span)).collect();
            let refunds: Vec<i32> = moves.iter().map(|next| next.refund).collect();
            let (errors, outputs): (Vec<_>, Vec<_>) = moves
                .into_iter()
                .map(|next| (next.error, next.output))
                .unzip();
            let statement = FinishStatement {
                ids: &ids,
                tokens: &tokens,
                states: &states,
                delays: &delays,
                refunds: &refunds,
                errors: &errors,
                outputs: &outputs,
            };
            stored.extend(
                self.link
                    .load::<_, (i64, i64, JobState, DateTime<Utc>)>(statement)
                    .await?,
            );
        }
        Ok(stored
            .into_iter()
            .map(|(id, token, state, now)| ((id, token), (state, now)))
            .collect())
    }

    /// Finds out what became of rows that did not come back, and keeps in `batch` those that are still this run's.
    async fn read_back(&mut self, batch: &mut Vec<Finish>) -> Result<(), Error> {
        let ids: Vec<i64> = batch.iter().map(Finish::id).collect();
        let rows: Vec<(i64, i64, JobState, DateTime<Utc>)> =
            self.link.load(ReadBack { ids: &ids }).await?;
        let rows: HashMap<i64, (i64, JobState, DateTime<Utc>)> = rows
            .into_iter()
            .map(|(id, token, state, now)| (id, (token, state, now)))
            .collect();
        batch.retain_mut(|finish| match rows.get(&finish.id()) {
            Some(&(token, JobState::Running, _)) if token == finish.run.fencing_token => {
                finish.not_before = Some(Instant::now() + BUSY_RETRY);
                true
            }
            Some(&(token, state, now))
                if token == finish.run.fencing_token && explains(&self.engine, finish, state) =>
            {
                conclude(&self.engine, finish, state, now);
                false
            }
            None if deletes_itself(&self.engine, finish) => {
                conclude(&self.engine, finish, JobState::Completed, Utc::now());
                false
            }
            other => {
                let now = other.map_or_else(Utc::now, |&(_, _, now)| now);
                lease_lost(&self.engine, finish, now);
                false
            }
        });
        Ok(())
    }

    /// Keeps the batch while the database is away. Nothing is lost by waiting: the rows are this worker's as long as it beats.
    async fn wait_for_database(&mut self, error: &Error, batch: Vec<Finish>) -> Vec<Finish> {
        let count = self.failures.add(error, self.engine.worker_id());
        let wait = backoff::exponential(Duration::from_millis(50), count);
        tokio::time::sleep(wait.min(OUTAGE_RETRY)).await;
        batch
    }

    /// After a refusal: first leaves out rows that somebody holds locked, then halves down to the row that is refused.
    async fn settle_apart(&mut self, error: &Error, mut batch: Vec<Finish>) -> Vec<Finish> {
        tracing::warn!(%error, runs = batch.len(), "how runs ended was refused; storing them apart");
        let ids: Vec<i64> = batch.iter().map(Finish::id).collect();
        let free = match self.link.load::<_, i64>(Unlocked { ids: &ids }).await {
            Ok(free) => free,
            Err(error) => return self.wait_for_database(&error, batch).await,
        };
        let (mut open, mut busy): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .partition(|finish| free.contains(&finish.id()));
        for finish in &mut busy {
            finish.not_before = Some(Instant::now() + BUSY_RETRY);
        }
        if busy.is_empty() && open.len() == 1 {
            open[0].refusals += 1;
            if open[0].refusals >= REFUSALS {
                open[0].simplify();
            }
            open[0].not_before = Some(Instant::now() + BUSY_RETRY);
            return open;
        }
        let half = if busy.is_empty() {
            open.split_off(open.len() / 2)
        } else {
            Vec::new()
        };
        for part in [open, half] {
            busy.extend(Box::pin(self.settle(part)).await);
        }
        busy
    }
}

fn keys(batch: &[&Finish]) -> (Vec<i64>, Vec<i64>) {
    batch.iter().map(|finish| finish.key()).unzip()
}

fn next_move(engine: &Engine, finish: &Finish) -> Move {
    let run = &finish.run;
    let own_backoff = engine
        .registry
        .get(&run.kind)
        .and_then(|handler| handler.backoff(run.attempt));
    finish
        .ending
        .clone()
        .into_move(run, engine.config.retry_base_wait, own_backoff)
}

/// Is true when this run may have left its row so: by an earlier try of its end, by `complete_in`, or cancelled on request
/// instead of released. Otherwise it was rescued or requeued, and nobody has claimed it since.
fn explains(engine: &Engine, finish: &Finish, state: JobState) -> bool {
    let next = next_move(engine, finish).state;
    state == next
        || state == JobState::Completed && finish.run.complete_in_called.load(Ordering::SeqCst)
        || state == JobState::Cancelled && next == JobState::Pending
}

fn deletes_itself(engine: &Engine, finish: &Finish) -> bool {
    let completes = matches!(finish.ending, Ending::Completed(_))
        || finish.run.complete_in_called.load(Ordering::SeqCst);
    completes && !engine.config.keeps_completed()
}

/// Waits until every run has been handed over and stored, but not for ever.
pub(super) async fn drained(engine: &Engine) {
    let wait = async {
        while !engine.flights.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = async {
        engine.shutdown.reached(Phase::Stopping).await;
        tokio::time::sleep(LAST_TRIES).await;
    };
    tokio::select! {
        () = wait => {}
        () = limit => tracing::warn!(
            runs = engine.flights.len(),
            "the worker stops although the end of some runs could not be stored; they will be rescued"
        ),
    }
}
