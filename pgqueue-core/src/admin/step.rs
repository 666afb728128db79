//! One statement of an action: looks at the next 5,000 jobs of its course, and changes at most 500 of them.
//!
//! Ideally a filter would be a condition of the walk itself. But then a statement that matches little reads until it has
//! 500 matches, a million jobs long. So the walk is by an index alone, the filter is evaluated on what was visited, and
//! the next statement goes on behind the last job visited, whether it matched or not.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, SmallInt, Text, Timestamptz};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Who;
use super::filter::{Filter, push};
use super::verb::Verb;
use crate::state::JobState;

/// Most jobs that a statement changes: its locks last tens of milliseconds.
pub(super) const BATCH: i64 = 500;
/// Jobs that a statement looks at: some ten milliseconds from memory.
const WINDOW: i64 = 5_000;

/// Which jobs a part of a walk visits, by which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Those named by id: the primary key.
    Ids,
    /// `pgqueue_jobs_dequeue`. What was enqueued or put off meanwhile may be met out of turn; never twice, as a job that
    /// was cancelled or hurried does not match again.
    Pending,
    /// `pgqueue_jobs_running`: all at once, they are no more than the workers have slots. Those that were asked to stop
    /// before are passed.
    Running,
    /// Those in one terminal state: `pgqueue_jobs_dead` or `pgqueue_jobs_completed`.
    Ended(JobState),
}

impl Course {
    /// The conditions of the walk, and the time that is part of its order.
    fn window(self) -> (&'static str, &'static str) {
        match self {
            Self::Ids => ("true", "j.created_at"),
            Self::Pending => ("j.state = 'pending'", "j.run_at"),
            Self::Running => (
                "j.state = 'running' AND j.cancel_requested_at IS NULL",
                "j.created_at",
            ),
            Self::Ended(JobState::Completed) => ("j.state = 'completed'", "j.finished_at"),
            Self::Ended(JobState::Cancelled) => ("j.state = 'cancelled'", "j.finished_at"),
            Self::Ended(_) => ("j.state = 'dead'", "j.finished_at"),
        }
    }

    /// The columns that the walk is ordered by.
    fn order(self) -> &'static [&'static str] {
        match self {
            Self::Ids | Self::Running => &["id"],
            Self::Pending => &["queue", "priority", "at", "id"],
            Self::Ended(_) => &["at", "id"],
        }
    }
}

/// Where a walk has come to. Which fields matter, its course says.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Serialize, Deserialize)]
pub(super) struct Place {
    queue: String,
    priority: i16,
    at: DateTime<Utc>,
    id: i64,
}

/// What a statement did.
#[derive(Debug, Queryable)]
pub(super) struct Stride {
    /// The time of the statement.
    pub(super) now: DateTime<Utc>,
    visited: i64,
    matched: i64,
    /// The jobs that were locked; those that somebody else holds are left out.
    pub(super) ids: Vec<i64>,
    /// What became of each.
    pub(super) answers: Vec<Option<String>>,
    last: Option<Place>,
}

impl Stride {
    /// Gives where the next statement of the course begins, if it goes on.
    pub(super) fn next(self, course: Course, batch: i64) -> Option<Place> {
        let has_more = course != Course::Running && self.visited >= WINDOW;
        self.last.filter(|_| has_more || self.matched >= batch)
    }
}

/// One statement of a walk.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) verb: Verb,
    pub(super) course: Course,
    pub(super) filter: Filter,
    pub(super) who: Who,
    pub(super) details: Value,
    pub(super) after: Option<Place>,
    /// The time of the first statement: what came later is not swept in.
    pub(super) cutoff: Option<DateTime<Utc>>,
    /// Most jobs to change.
    pub(super) batch: i64,
    /// The operation that can be undone: jobs are kept as they were.
    pub(super) operation: Option<i64>,
}

impl QueryId for Step {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // its text depends on the conditions
}

impl Query for Step {
    type SqlType = (
        Timestamptz,
        BigInt,
        BigInt,
        Array<BigInt>,
        Array<Nullable<Text>>,
        Nullable<(Text, SmallInt, Timestamptz, BigInt)>,
    );
}

impl<C> RunQueryDsl<C> for Step {}

impl QueryFragment<Pg> for Step {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The host's session plans it: a plan kept from when the table was small would scan it.
        out.unsafe_to_cache_prepared();
        out.push_sql("WITH visited AS MATERIALIZED (");
        self.push_visited(&mut out)?;
        out.push_sql(
            "), matched AS MATERIALIZED (SELECT v.id FROM visited AS v WHERE v.fits ORDER BY ",
        );
        self.push_order("v", "", &mut out);
        // ARRAY(…) rather than a join: no plan of it reads the table. The state again: the row may have moved on.
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.batch)?;
        out.push_sql(
            "), chosen AS MATERIALIZED (SELECT j.id FROM pgqueue_jobs AS j \
             WHERE j.id = ANY (ARRAY(SELECT matched.id FROM matched)) AND ",
        );
        self.push_moment(&mut out);
        out.push_sql(" FOR UPDATE SKIP LOCKED), ");
        self.push_trash(&mut out)?;
        out.push_sql("changed AS MATERIALIZED (");
        out.push_sql(self.verb.statement());
        out.push_sql("), audit AS (");
        self.push_audit(&mut out)?;
        out.push_sql(
            ") SELECT now(), (SELECT count(*) FROM visited), (SELECT count(*) FROM matched), \
             ARRAY(SELECT c.id FROM chosen AS c ORDER BY c.id), \
             ARRAY(SELECT d.answer FROM chosen AS c LEFT JOIN changed AS d USING (id) ORDER BY c.id), \
             last.queue, last.priority, last.at, last.id \
             FROM (VALUES (1)) AS one LEFT JOIN (SELECT v.* FROM visited AS v \
             WHERE (SELECT count(*) FROM matched) < ",
        );
        out.push_bind_param::<BigInt, _>(&self.batch)?;
        out.push_sql(" OR v.id IN (SELECT matched.id FROM matched) ORDER BY ");
        self.push_order("v", " DESC", &mut out);
        out.push_sql(" LIMIT 1) AS last ON true");
        Ok(())
    }
}

impl Step {
    /// Writes the walk by the index, up to its window, and whether each job visited fits.
    fn push_visited<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (walked, at) = self.course.window();
        out.push_sql("SELECT j.id, j.queue, j.priority, ");
        out.push_sql(at);
        out.push_sql(" AS at, (");
        self.push_moment(out);
        self.filter.push_conditions(out)?;
        if matches!(self.course, Course::Pending | Course::Running) {
            push_cutoff(" AND j.created_at <= coalesce(", &self.cutoff, out)?;
        }
        out.push_sql(") AS fits FROM pgqueue_jobs AS j WHERE ");
        out.push_sql(walked);
        match self.course {
            Course::Ids => {
                let ids = self.filter.ids.as_ref();
                push::<Array<BigInt>, _>(" AND j.id = ANY (", ids, ")", out)?;
            }
            Course::Pending => {
                push::<Text, _>(" AND j.queue = ", self.filter.queue.as_ref(), "", out)?;
            }
            Course::Ended(_) => {
                // With a cause, the index of causes has the same order within it.
                push::<BigInt, _>(" AND j.cause = ", self.filter.cause.as_ref(), "", out)?;
                let finished = self.filter.finished_before.as_ref();
                push::<Timestamptz, _>(" AND j.finished_at < ", finished, "", out)?;
                let after = self.filter.finished_after.as_ref();
                push::<Timestamptz, _>(" AND j.finished_at > ", after, "", out)?;
                push_cutoff(" AND j.finished_at <= coalesce(", &self.cutoff, out)?;
            }
            Course::Running => {}
        }
        self.push_after(out)?;
        if self.course != Course::Running {
            // The order is written as the index has it: else the planner may sort the whole table.
            out.push_sql(" ORDER BY ");
            self.push_order("j", "", out);
            out.push_sql(" LIMIT 5000");
        }
        Ok(())
    }

    /// Keeps the chosen jobs as they were. Both parts of the statement see the rows as they were at its start.
    fn push_trash<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Some(operation) = &self.operation
            && matches!(self.verb, Verb::Purge | Verb::Requeue)
        {
            out.push_sql("trash AS (INSERT INTO pgqueue_trash (operation, id, job) SELECT ");
            out.push_bind_param::<BigInt, _>(operation)?;
            out.push_sql(
                ", j.id, to_jsonb(j) FROM pgqueue_jobs AS j \
                 WHERE j.id = ANY (ARRAY(SELECT chosen.id FROM chosen))), ",
            );
        }
        Ok(())
    }

    fn push_after<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Some(after) = &self.after else {
            return Ok(());
        };
        out.push_sql(" AND (");
        self.push_order("j", "", out);
        out.push_sql(") > (");
        for (position, column) in self.course.order().iter().enumerate() {
            out.push_sql(if position == 0 { "" } else { ", " });
            match *column {
                "queue" => out.push_bind_param::<Text, _>(&after.queue)?,
                "priority" => out.push_bind_param::<SmallInt, _>(&after.priority)?,
                "at" => out.push_bind_param::<Timestamptz, _>(&after.at)?,
                _ => out.push_bind_param::<BigInt, _>(&after.id)?,
            }
        }
        out.push_sql(")");
        Ok(())
    }

    /// Writes the order of the walk: on the jobs, as the index has it, or on those `visited`.
    fn push_order(&self, of: &str, direction: &str, out: &mut AstPass<'_, '_, Pg>) {
        let (_, at) = self.course.window();
        for (position, column) in self.course.order().iter().enumerate() {
            out.push_sql(if position == 0 { "" } else { ", " });
            if of == "j" && *column == "at" {
                out.push_sql(at);
            } else {
                out.push_sql(of);
                out.push_sql(".");
                out.push_sql(column);
            }
            out.push_sql(direction);
        }
    }

    /// Writes that a job is in a state for the action, and not done with. States are literals: a bound one hides partial indexes.
    fn push_moment(&self, out: &mut AstPass<'_, '_, Pg>) {
        let (walked, _) = self.course.window();
        out.push_sql(walked);
        if self.course == Course::Ids {
            let states = self.verb.states().iter();
            let allowed =
                states.filter(|state| self.filter.state.is_none_or(|only| only == **state));
            let names: Vec<String> = allowed.map(|state| format!("'{state}'")).collect();
            out.push_sql(&format!(" AND j.state IN ({})", names.join(", ")));
        }
        if self.verb == Verb::RunNow {
            out.push_sql(" AND j.run_at > now()"); // a due job keeps its place in the line
        }
    }

    fn push_audit<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO pgqueue_audit (job_id, jobs, actor, action, reason, details) \
             SELECT CASE WHEN count(*) = 1 THEN min(c.id) END, count(*), coalesce(",
        );
        out.push_bind_param::<Nullable<Text>, _>(&self.who.actor)?;
        out.push_sql(", session_user), '");
        out.push_sql(self.verb.name());
        out.push_sql("', ");
        out.push_bind_param::<Nullable<Text>, _>(&self.who.reason)?;
        out.push_sql(", ");
        out.push_bind_param::<Jsonb, _>(&self.details)?;
        out.push_sql(
            " FROM changed AS c WHERE c.answer NOT IN ('conflict', 'busy', 'missing', 'state') HAVING count(*) > 0",
        );
        Ok(())
    }
}

fn push_cutoff<'b>(
    condition: &str,
    cutoff: &'b Option<DateTime<Utc>>,
    out: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    out.push_sql(condition);
    out.push_bind_param::<Nullable<Timestamptz>, _>(cutoff)?;
    out.push_sql(", now())");
    Ok(())
}

/// Looks where a [`Step`] would act, and changes nothing: so many visited, so many that fit, the first of them, and how many
/// of the first 500 have a unique key that is taken by now.
#[derive(Debug)]
pub(super) struct Peek(pub(super) Step);

/// What a [`Peek`] saw.
#[derive(Debug, Queryable)]
pub(super) struct Seen {
    pub(super) now: DateTime<Utc>,
    visited: i64,
    pub(super) fits: i64,
    pub(super) first: Vec<i64>,
    pub(super) conflicts: i64,
    last: Option<Place>,
}

impl Seen {
    /// Gives where the next look of the course begins, if it goes on.
    pub(super) fn next(self, course: Course) -> Option<Place> {
        self.last
            .filter(|_| course != Course::Running && self.visited >= WINDOW)
    }
}

impl QueryId for Peek {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // its text depends on the conditions
}

impl Query for Peek {
    type SqlType = (
        Timestamptz,
        BigInt,
        BigInt,
        Array<BigInt>,
        BigInt,
        Nullable<(Text, SmallInt, Timestamptz, BigInt)>,
    );
}

impl<C> RunQueryDsl<C> for Peek {}

impl QueryFragment<Pg> for Peek {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("WITH visited AS MATERIALIZED (");
        self.0.push_visited(&mut out)?;
        out.push_sql(
            "), fitting AS MATERIALIZED (SELECT v.id FROM visited AS v WHERE v.fits ORDER BY ",
        );
        self.0.push_order("v", "", &mut out);
        out.push_sql(
            " LIMIT 500) SELECT now(), (SELECT count(*) FROM visited), (SELECT count(*) FROM visited AS v WHERE v.fits), \
             ARRAY(SELECT f.id FROM fitting AS f LIMIT 5), (SELECT count(*) FROM pgqueue_jobs AS j \
             WHERE j.id = ANY (ARRAY(SELECT f.id FROM fitting AS f)) AND j.unique_key IS NOT NULL AND EXISTS (\
             SELECT FROM pgqueue_jobs AS o WHERE o.queue = j.queue AND o.unique_key = j.unique_key \
             AND o.state IN ('pending', 'running') AND o.id <> j.id)), last.queue, last.priority, last.at, last.id \
             FROM (VALUES (1)) AS one LEFT JOIN (SELECT v.* FROM visited AS v ORDER BY ",
        );
        self.0.push_order("v", " DESC", &mut out);
        out.push_sql(" LIMIT 1) AS last ON true");
        Ok(())
    }
}
