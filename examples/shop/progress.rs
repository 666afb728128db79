//! How far the shop's jobs are, shown while it runs.

#![expect(clippy::print_stdout, reason = "it tells the person how it goes")]

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::bail;
use chrono::{DateTime, Utc};
use diesel::dsl::count_star;
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, QueryDsl};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pgqueue_core::JobState;
use pgqueue_core::schema::pgqueue_jobs;

use crate::jobs::KINDS;

/// How often the jobs are counted. A line is shown only when a count has changed.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long `settle` waits while no job ends: longer than a lease, after which the jobs of a killed shop come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts the jobs again and again.
pub(crate) struct Progress {
    pool: Pool<AsyncPgConnection>,
    since: DateTime<Utc>,
    shown: Counts,
    shown_at: Instant,
}

/// Jobs by state: those that are open, and those that ended in this run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Counts(Vec<(JobState, i64)>);

impl Progress {
    pub(crate) fn new(pool: Pool<AsyncPgConnection>, since: DateTime<Utc>) -> Self {
        let (shown, shown_at) = (Counts::default(), Instant::now());
        Self {
            pool,
            since,
            shown,
            shown_at,
        }
    }

    /// Shows how it goes until it is dropped, or until the database fails.
    pub(crate) async fn follow(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.look().await {
                return error;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Shows how it goes until no job is pending or running.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<()> {
        loop {
            self.look().await?;
            if self.shown.open() == 0 {
                return Ok(());
            }
            if self.shown_at.elapsed() > PATIENCE {
                bail!("no job has ended for {PATIENCE:?}: {}", self.shown);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let mut conn = self.pool.get().await?;
        let counts = Counts::read(&mut conn, self.since).await?;
        if counts != self.shown {
            let ended = counts.ended() - self.shown.ended();
            let seconds = self.shown_at.elapsed().as_secs_f64();
            println!("{counts}  {}", rate(ended, seconds));
            (self.shown, self.shown_at) = (counts, Instant::now());
        }
        Ok(())
    }
}

/// Gives so many jobs in so many seconds as text.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count of jobs is far below 2^52"
)]
pub(crate) fn rate(jobs: i64, seconds: f64) -> String {
    format!("{:.0} jobs/s", jobs as f64 / seconds.max(0.001))
}

impl Counts {
    async fn read(conn: &mut AsyncPgConnection, since: DateTime<Utc>) -> diesel::QueryResult<Self> {
        let of_this_run = pgqueue_jobs::finished_at
            .is_null()
            .or(pgqueue_jobs::finished_at.ge(since));
        pgqueue_jobs::table
            .filter(pgqueue_jobs::kind.eq_any(KINDS))
            .filter(of_this_run)
            .group_by(pgqueue_jobs::state)
            .order(pgqueue_jobs::state)
            .select((pgqueue_jobs::state, count_star()))
            .load(conn)
            .await
            .map(Self)
    }

    fn open(&self) -> i64 {
        self.sum(|state| !state.is_terminal())
    }

    fn ended(&self) -> i64 {
        self.sum(JobState::is_terminal)
    }

    fn sum(&self, wanted: impl Fn(JobState) -> bool) -> i64 {
        let counts = self.0.iter().filter(|(state, _)| wanted(*state));
        counts.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use JobState::{Completed, Dead, Pending, Running};
        for state in [Pending, Running, Completed, Dead] {
            write!(f, "  {state} {:<5}", self.sum(|it| it == state))?;
        }
        Ok(())
    }
}
