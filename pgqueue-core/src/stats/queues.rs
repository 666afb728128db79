//! How each queue is doing: what is [`active`] in it, which changes by the second, and what has [`ended`], which costs more
//! to count. [`queues`] tells both; whoever asks often reads the two apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use super::{COUNT_LIMIT, Count};
use crate::error::{Error, explain};
use crate::sql::stats::{Active, Ended};

/// One queue now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Its name.
    pub queue: String,
    /// Since when it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Pending jobs, due and scheduled.
    pub pending: Count,
    /// Pending jobs that may run now.
    pub due: Count,
    /// Pending jobs that wait for their time: scheduled, snoozed, or failed and to be tried again. Which of these is not in
    /// the index that is counted by.
    pub scheduled: Count,
    /// Running jobs.
    pub running: Count,
    /// Completed jobs that retention has kept, among the newest 10,000 of all queues.
    pub completed: Count,
    /// Cancelled jobs, likewise.
    pub cancelled: Count,
    /// Dead jobs, likewise.
    pub dead: Count,
    /// How long the oldest due job has been waiting.
    pub oldest_due: Option<Duration>,
    /// Live workers that serve it.
    pub workers: i64,
}

impl QueueStats {
    /// Gives the numbers of a queue that [`queues`] does not tell of: it has neither jobs nor workers nor a pause.
    #[must_use]
    pub fn empty(queue: impl Into<String>) -> Self {
        Self::new(ActiveStats::empty(queue), [Count::NONE; 3])
    }

    /// Puts together what is active and what has ended, a queue that is in either, by name: the answer of [`queues`] from
    /// two that were read apart.
    ///
    /// ```no_run
    /// use pgqueue_core::stats::{self, QueueStats};
    /// # fn example(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> Result<(), pgqueue_core::Error> {
    /// let ended = stats::ended(conn)?;
    /// for _each_second in 0..5 {
    ///     let queues = QueueStats::join(stats::active(conn, 1000)?, &ended);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn join(active: Vec<ActiveStats>, ended: &EndedStats) -> Vec<Self> {
        let known: BTreeSet<String> = active.iter().map(|queue| queue.queue.clone()).collect();
        let others = ended.queues().filter(|queue| !known.contains(*queue));
        let mut queues: Vec<Self> = others
            .map(ActiveStats::empty)
            .chain(active)
            .map(|queue| {
                let ended = ended.of(&queue.queue);
                Self::new(queue, ended)
            })
            .collect();
        queues.sort_by(|one, other| one.queue.cmp(&other.queue));
        queues
    }

    fn new(active: ActiveStats, [completed, cancelled, dead]: [Count; 3]) -> Self {
        Self {
            pending: active.pending(),
            queue: active.queue,
            paused_at: active.paused_at,
            due: active.due,
            scheduled: active.scheduled,
            running: active.running,
            completed,
            cancelled,
            dead,
            oldest_due: active.oldest_due,
            workers: active.workers,
        }
    }
}

/// What is active in one queue: jobs that have not ended, who runs them, and its brake.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ActiveStats {
    /// Its name.
    pub queue: String,
    /// Since when it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Pending jobs that may run now.
    pub due: Count,
    /// Pending jobs that wait for their time.
    pub scheduled: Count,
    /// Running jobs.
    pub running: Count,
    /// How long the oldest due job has been waiting.
    pub oldest_due: Option<Duration>,
    /// Live workers that serve it.
    pub workers: i64,
}

impl ActiveStats {
    /// Adds up its pending jobs, due and scheduled.
    #[must_use]
    pub fn pending(&self) -> Count {
        self.due + self.scheduled
    }

    fn empty(queue: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            paused_at: None,
            due: Count::NONE,
            scheduled: Count::NONE,
            running: Count::NONE,
            oldest_due: None,
            workers: 0,
        }
    }

    /// `limit` is where the counts stopped.
    fn new((queue, paused_at, counts, running_exact, oldest, workers): Row, limit: i64) -> Self {
        let (due, scheduled, running) = counts;
        let count = |counted| Count::stopped_at(limit, counted);
        Self {
            queue,
            paused_at,
            due: count(due),
            scheduled: count(scheduled),
            running: Count {
                exact: running_exact,
                ..count(running)
            },
            oldest_due: oldest.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            workers,
        }
    }
}

/// The jobs that have ended and are kept, by queue: among the newest 10,000 of each state, of all queues.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedStats {
    /// Completed, cancelled and dead.
    queues: BTreeMap<String, [i64; 3]>,
    exact: [bool; 3],
}

impl EndedStats {
    /// Names the queues that have such jobs, in order.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    /// Counts the completed, cancelled and dead jobs of a queue.
    #[must_use]
    pub fn of(&self, queue: &str) -> [Count; 3] {
        let counted = self.queues.get(queue).copied().unwrap_or_default();
        std::array::from_fn(|state| Count {
            at_least: counted[state].min(COUNT_LIMIT),
            exact: self.exact[state],
        })
    }

    fn new(rows: Vec<(String, (i64, i64, i64))>) -> Self {
        let queues: BTreeMap<String, [i64; 3]> = rows
            .into_iter()
            .map(|(queue, (completed, cancelled, dead))| (queue, [completed, cancelled, dead]))
            .collect();
        let visited = |state: usize| queues.values().map(|queue| queue[state]).sum::<i64>();
        Self {
            exact: std::array::from_fn(|state| visited(state) <= COUNT_LIMIT),
            queues,
        }
    }
}

/// Tells how each queue is doing, on a sync connection. Queues are those that have jobs, workers or a pause.
///
/// Runs the statements of [`active`] and of [`ended`]. A job that ends between the two is counted twice, but for a
/// transaction of the level `REPEATABLE READ`.
///
/// # Errors
/// Errors of the database.
pub fn queues<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<Vec<QueueStats>, Error> {
    let active = active(conn, COUNT_LIMIT)?;
    Ok(QueueStats::join(active, &ended(conn)?))
}

/// Tells how each queue is doing, on an async connection. Answer and errors are those of [`queues`].
///
/// # Errors
/// As [`queues`].
pub async fn queues_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
) -> Result<Vec<QueueStats>, Error> {
    let active = active_async(conn, COUNT_LIMIT).await?;
    Ok(QueueStats::join(active, &ended_async(conn).await?))
}

/// Tells what is active in each queue, on a sync connection. Queues are those that have pending or running jobs, workers or a
/// pause.
///
/// Reads indexes `pgqueue_jobs_dequeue` and `pgqueue_jobs_running`. Counts stop at `limit` (1 to 10,000), and cost the more
/// the higher it is.
///
/// # Errors
/// Errors of the database.
pub fn active<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    limit: i64,
) -> Result<Vec<ActiveStats>, Error> {
    let limit = limit.clamp(1, COUNT_LIMIT);
    let rows: Vec<Row> = RunQueryDsl::load(Active { limit }, conn).map_err(explain)?;
    Ok(read_active(rows, limit))
}

/// Tells what is active in each queue, on an async connection. Answer and errors are those of [`active`].
///
/// # Errors
/// As [`active`].
pub async fn active_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    limit: i64,
) -> Result<Vec<ActiveStats>, Error> {
    let limit = limit.clamp(1, COUNT_LIMIT);
    let rows = diesel_async::RunQueryDsl::load::<Row>(Active { limit }, conn).await;
    Ok(read_active(rows.map_err(explain)?, limit))
}

/// Counts the jobs that have ended and are kept, on a sync connection.
///
/// Reads at most 10,001 jobs of each state, the newest first, by indexes `pgqueue_jobs_completed` and `pgqueue_jobs_dead`.
///
/// # Errors
/// Errors of the database.
pub fn ended<C: LoadConnection<Backend = Pg>>(conn: &mut C) -> Result<EndedStats, Error> {
    let rows = RunQueryDsl::load(Ended { limit: COUNT_LIMIT }, conn).map_err(explain)?;
    Ok(EndedStats::new(rows))
}

/// Counts the jobs that have ended and are kept, on an async connection. Answer and errors are those of [`ended`].
///
/// # Errors
/// As [`ended`].
pub async fn ended_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
) -> Result<EndedStats, Error> {
    let rows = diesel_async::RunQueryDsl::load(Ended { limit: COUNT_LIMIT }, conn).await;
    Ok(EndedStats::new(rows.map_err(explain)?))
}

type Row = (
    String,
    Option<DateTime<Utc>>,
    (i64, i64, i64),
    bool,
    Option<f64>,
    i64,
);

fn read_active(rows: Vec<Row>, limit: i64) -> Vec<ActiveStats> {
    let read = |row| ActiveStats::new(row, limit);
    rows.into_iter().map(read).collect()
}
