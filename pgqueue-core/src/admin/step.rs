//! One statement of an action: looks at the next 5,000 jobs of its walk (see `walk.rs`), and changes at most 500 of them.
//!
//! Jobs that were enqueued or put off meanwhile may be met out of turn; never twice, as a job that was cancelled or hurried
//! does not match again. Running jobs are all looked at in one statement: they are no more than the workers have slots.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, SmallInt, Text, Timestamptz};
use serde_json::Value;

use super::Who;
use super::filter::Filter;
use super::verb::Verb;
use super::walk::{Order, Place, Walk};

/// Most jobs that a statement changes: its locks last tens of milliseconds.
pub(super) const BATCH: i64 = 500;
/// Jobs that a statement looks at: some ten milliseconds from memory.
const WINDOW: &str = "5000";
/// Jobs that it looks at where each of them matches: as many as it may change.
const DENSE_WINDOW: &str = "500";

/// What a statement did.
#[derive(Debug, Queryable)]
pub(super) struct Stride {
    /// The time of the statement.
    pub(super) now: DateTime<Utc>,
    /// Is true when it ended at its window: there may be more behind.
    has_more: bool,
    matched: i64,
    /// The jobs that were locked; those that somebody else holds are left out.
    pub(super) ids: Vec<i64>,
    /// What became of each.
    pub(super) answers: Vec<Option<String>>,
    last: Option<Place>,
}

impl Stride {
    /// Gives where the next statement of the course begins, if it goes on.
    pub(super) fn next(self, batch: i64) -> Option<Place> {
        self.last.filter(|_| self.has_more || self.matched >= batch)
    }
}

/// One statement of a walk.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) verb: Verb,
    pub(super) course: Order,
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
        Bool,
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
        let window = self.window();
        self.push_visited(window, &mut out)?;
        out.push_sql(
            "), matched AS MATERIALIZED (SELECT v.id FROM visited AS v WHERE v.fits ORDER BY ",
        );
        self.walk().push_order_of("v", false, &mut out);
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
        out.push_sql(") SELECT now(), (SELECT count(*) FROM visited) = ");
        out.push_sql(window.unwrap_or("-1"));
        out.push_sql(
            ", (SELECT count(*) FROM matched), \
             ARRAY(SELECT c.id FROM chosen AS c ORDER BY c.id), \
             ARRAY(SELECT d.answer FROM chosen AS c LEFT JOIN changed AS d USING (id) ORDER BY c.id), \
             last.queue, last.priority, last.at, last.id \
             FROM (VALUES (1)) AS one LEFT JOIN (SELECT v.* FROM visited AS v \
             WHERE (SELECT count(*) FROM matched) < ",
        );
        out.push_bind_param::<BigInt, _>(&self.batch)?;
        out.push_sql(" OR v.id IN (SELECT matched.id FROM matched) ORDER BY ");
        self.walk().push_order_of("v", true, &mut out);
        out.push_sql(" LIMIT 1) AS last ON true");
        Ok(())
    }
}

impl Step {
    fn walk(&self) -> Walk<'_> {
        Walk {
            order: self.course,
            descends: false,
            filter: &self.filter,
            after: self.after.as_ref(),
            until: None,
        }
    }

    /// Writes the walk by the index, up to its window, and whether each job visited fits.
    fn push_visited<'b>(
        &'b self,
        window: Option<&'static str>,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        let walk = self.walk();
        walk.push_columns(out);
        out.push_sql(", (");
        self.push_moment(out);
        self.filter.push_conditions(out)?;
        if matches!(self.course, Order::Pending | Order::Running) {
            push_cutoff(" AND j.created_at <= coalesce(", &self.cutoff, out)?;
        }
        out.push_sql(") AS fits");
        walk.push_way(out)?;
        if matches!(self.course, Order::Ended(_)) {
            push_cutoff(" AND j.finished_at <= coalesce(", &self.cutoff, out)?;
        }
        if let Some(window) = window {
            out.push_sql(" ORDER BY ");
            walk.push_order(out);
            out.push_sql(" LIMIT ");
            out.push_sql(window);
        }
        Ok(())
    }

    fn window(&self) -> Option<&'static str> {
        match self.course {
            Order::Running => None,
            Order::Ended(_) if self.filter.is_walk_alone(self.course) => Some(DENSE_WINDOW),
            _ => Some(WINDOW),
        }
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

    /// Writes that a job is in a state for the action, and not done with. States are literals: a bound one hides partial indexes.
    fn push_moment(&self, out: &mut AstPass<'_, '_, Pg>) {
        out.push_sql(self.course.conditions());
        if self.course == Order::Running {
            out.push_sql(" AND j.cancel_requested_at IS NULL"); // only a cancel walks there, and asks once
        }
        if self.course == Order::Ids {
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
    has_more: bool,
    pub(super) fits: i64,
    pub(super) first: Vec<i64>,
    pub(super) conflicts: i64,
    last: Option<Place>,
}

impl Seen {
    /// Gives where the next look of the course begins, if it goes on.
    pub(super) fn next(self) -> Option<Place> {
        self.last.filter(|_| self.has_more)
    }
}

impl QueryId for Peek {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // its text depends on the conditions
}

impl Query for Peek {
    type SqlType = (
        Timestamptz,
        Bool,
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
        let window = self.0.window().map(|_| WINDOW); // it changes nothing
        self.0.push_visited(window, &mut out)?;
        out.push_sql(
            "), fitting AS MATERIALIZED (SELECT v.id FROM visited AS v WHERE v.fits ORDER BY ",
        );
        self.0.walk().push_order_of("v", false, &mut out);
        out.push_sql(" LIMIT 500) SELECT now(), (SELECT count(*) FROM visited) = ");
        out.push_sql(window.unwrap_or("-1"));
        out.push_sql(
            ", (SELECT count(*) FROM visited AS v WHERE v.fits), \
             ARRAY(SELECT f.id FROM fitting AS f LIMIT 5), (SELECT count(*) FROM pgqueue_jobs AS j \
             WHERE j.id = ANY (ARRAY(SELECT f.id FROM fitting AS f)) AND j.unique_key IS NOT NULL AND EXISTS (\
             SELECT FROM pgqueue_jobs AS o WHERE o.queue = j.queue AND o.unique_key = j.unique_key \
             AND o.state IN ('pending', 'running') AND o.id <> j.id)), last.queue, last.priority, last.at, last.id \
             FROM (VALUES (1)) AS one LEFT JOIN (SELECT v.* FROM visited AS v ORDER BY ",
        );
        self.0.walk().push_order_of("v", true, &mut out);
        out.push_sql(" LIMIT 1) AS last ON true");
        Ok(())
    }
}
