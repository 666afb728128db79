//! What workers counted, step by step, for charts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use super::Histogram;
use crate::error::{Error, explain};
use crate::model::Span;
use crate::sql::stats::{QueueActivity as ActivityStatement, Timeline as Statement};

/// Most points of a [`Timeline`].
pub const POINTS: u32 = 200;

/// Workers count by the minute.
const MINUTE: i64 = 60;
/// After two days minutes are folded to hours.
const HOUR: i64 = 3600;
const MINUTES_ARE_KEPT: i64 = 47 * HOUR; // an hour less than two days: a fold may come at any time

/// Whose counts are summed: of everything, of a queue, of a kind, or of a kind of a queue.
///
/// ```
/// use pgqueue_core::stats::Scope;
/// let everything = Scope::default();
/// let mails = Scope::default().queue("mail").kind("welcome");
/// assert_ne!(everything, mails);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    queue: Option<String>,
    kind: Option<String>,
}

impl Scope {
    /// Only this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only this kind.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }
}

/// Counts from a time to another, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeline {
    /// Where the first step begins: what was asked for, rounded down to a whole step.
    pub from: DateTime<Utc>,
    /// Where the last step ends, at most a step after what was asked for.
    pub to: DateTime<Utc>,
    /// How long a step is: what was asked for, or longer if that were too many or the counts are kept by the hour.
    pub step: Duration,
    /// The steps in which anything was counted, the oldest first. No point: nothing ran, or no worker could store its counts.
    pub points: Vec<Point>,
}

/// What was counted in one step.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[non_exhaustive]
pub struct Point {
    /// When the step begins.
    pub at: DateTime<Utc>,
    /// Runs that completed their job.
    pub completed: i64,
    /// Runs that failed.
    pub failed: i64,
    /// Failed or lost runs that left their job dead.
    pub dead: i64,
    /// Runs that ended as cancelled.
    pub cancelled: i64,
    /// Runs that were snoozed.
    pub snoozed: i64,
    /// Runs that ended because their process died.
    pub lost: i64,
    /// Ends that came too late and changed nothing.
    pub lease_lost: i64,
    /// Run times.
    pub run: Histogram,
    /// Waits, from `run_at` to the claim.
    pub wait: Histogram,
}

/// Sums what workers counted from `from` until `to` in steps of `step`, on a sync connection.
///
/// A step is at least a minute, and an hour where `from` is older than the minutes that are kept (two days): folded hours
/// are not spread over minutes that nobody counted. It is longer if there were more than [`POINTS`] of them.
///
/// # Errors
/// Errors of the database.
pub fn timeline<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step: Duration,
    scope: &Scope,
) -> Result<Timeline, Error> {
    let grid = Grid::new(from, to, step, Utc::now());
    let points = RunQueryDsl::load(grid.statement(scope), conn).map_err(explain)?;
    Ok(grid.timeline(points))
}

/// Sums what workers counted from `from` until `to` in steps of `step`, on an async connection. Steps and errors are those
/// of [`timeline`].
///
/// # Errors
/// Errors of the database.
pub async fn timeline_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step: Duration,
    scope: &Scope,
) -> Result<Timeline, Error> {
    let grid = Grid::new(from, to, step, Utc::now());
    let points = diesel_async::RunQueryDsl::load(grid.statement(scope), conn)
        .await
        .map_err(explain)?;
    Ok(grid.timeline(points))
}

/// How many runs ended in each queue, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// Where the first step begins.
    pub from: DateTime<Utc>,
    /// Where the last one ends.
    pub to: DateTime<Utc>,
    /// How long each is.
    pub step: Duration,
    runs: Vec<(String, DateTime<Utc>, i64)>,
}

impl Activity {
    /// Gives the runs of a queue that ended in each step, the oldest first; zero where nothing was counted.
    #[must_use]
    pub fn of(&self, queue: &str) -> Vec<i64> {
        let step = i64::try_from(self.step.as_secs()).unwrap_or(1).max(1);
        let place = |at: DateTime<Utc>| (at - self.from).num_seconds().div_euclid(step);
        let mut steps = vec![0; usize::try_from(place(self.to)).unwrap_or(0)];
        for (_, at, runs) in self.runs.iter().filter(|(name, ..)| name == queue) {
            let place = usize::try_from(place(*at)).ok();
            if let Some(step) = place.and_then(|place| steps.get_mut(place)) {
                *step = *runs;
            }
        }
        steps
    }
}

/// Counts the runs that ended in each queue from `from` until `to`, on a sync connection. Steps are those of [`timeline`].
///
/// # Errors
/// Errors of the database.
pub fn activity<C: LoadConnection<Backend = Pg>>(
    conn: &mut C,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step: Duration,
) -> Result<Activity, Error> {
    let grid = Grid::new(from, to, step, Utc::now());
    let runs = RunQueryDsl::load(grid.activity_statement(), conn).map_err(explain)?;
    Ok(grid.activity(runs))
}

/// Counts the runs that ended in each queue from `from` until `to`, on an async connection.
///
/// # Errors
/// Errors of the database.
pub async fn activity_async<C: AsyncConnectionCore<Backend = Pg>>(
    conn: &mut C,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step: Duration,
) -> Result<Activity, Error> {
    let grid = Grid::new(from, to, step, Utc::now());
    let runs = diesel_async::RunQueryDsl::load(grid.activity_statement(), conn)
        .await
        .map_err(explain)?;
    Ok(grid.activity(runs))
}

/// Steps in whole seconds since 1970, so that they stay where they are from one request to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    from: i64,
    to: i64,
    step: i64,
}

impl Grid {
    fn new(from: DateTime<Utc>, to: DateTime<Utc>, step: Duration, now: DateTime<Utc>) -> Self {
        let to = to.timestamp().max(from.timestamp());
        let from = from.timestamp();
        let unit = if now.timestamp() - from > MINUTES_ARE_KEPT {
            HOUR
        } else {
            MINUTE
        };
        let wanted = i64::try_from(step.as_secs()).unwrap_or(i64::MAX / 4);
        // One step less than allowed: the ends are rounded outwards.
        let least = (to - from).div_euclid(i64::from(POINTS) - 1) + 1;
        let units = (wanted.max(least).max(1) - 1) / unit + 1;
        let step = units.saturating_mul(unit);
        let from = from.div_euclid(step) * step;
        let steps = (to - from - 1).div_euclid(step) + 1;
        Self {
            from,
            to: from + steps.max(1) * step,
            step,
        }
    }

    fn statement(self, scope: &Scope) -> Statement<'_> {
        Statement {
            from: time(self.from),
            to: time(self.to),
            step: Span(self.length()),
            queue: scope.queue.as_deref(),
            kind: scope.kind.as_deref(),
        }
    }

    fn activity_statement(self) -> ActivityStatement {
        ActivityStatement {
            from: time(self.from),
            to: time(self.to),
            step: Span(self.length()),
        }
    }

    fn activity(self, runs: Vec<(String, DateTime<Utc>, i64)>) -> Activity {
        Activity {
            from: time(self.from),
            to: time(self.to),
            step: self.length(),
            runs,
        }
    }

    fn timeline(self, points: Vec<Point>) -> Timeline {
        Timeline {
            from: time(self.from),
            to: time(self.to),
            step: self.length(),
            points,
        }
    }

    fn length(self) -> Duration {
        Duration::from_secs(self.step.unsigned_abs())
    }
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(age: i64, length: i64, step: u64) -> Grid {
        let now = time(1_700_000_000);
        let from = time(now.timestamp() - age);
        let to = time(from.timestamp() + length);
        Grid::new(from, to, Duration::from_secs(step), now)
    }

    #[test]
    fn a_step_is_made_of_whole_minutes_or_of_whole_hours_where_minutes_are_gone() {
        assert_eq!(grid(900, 900, 1).step, 60);
        assert_eq!(grid(900, 900, 61).step, 120);
        assert_eq!(grid(3 * 86_400, 3600, 60).step, 3600);
    }

    #[test]
    fn no_span_has_more_points_than_a_chart_can_show() {
        for length in [0, 59, 900, 86_400, 30 * 86_400, 3650 * 86_400] {
            let grid = grid(length, length, 1);
            let points = (grid.to - grid.from) / grid.step;
            assert!((1..=i64::from(POINTS)).contains(&points), "{grid:?}");
            assert_eq!(grid.from % grid.step, 0);
        }
    }
}
