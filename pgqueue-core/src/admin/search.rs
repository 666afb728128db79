//! One statement of a list: walks by an index over at most a few thousand jobs, and names those of them that match.
//!
//! The walk goes by the index alone and the filter is evaluated on what was visited, as actions do it (see `step.rs`):
//! a filter that matches little would otherwise read a million jobs to fill a page.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, SmallInt, Text, Timestamptz};

use super::cursor::Place;
use super::filter::{Filter, push};
use super::find::Summary;
use crate::state::JobState;

/// Which jobs a list walks over, by which index, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Those named by id, newest first: the primary key.
    Ids,
    /// All, newest first: the primary key.
    Newest,
    /// In the order of claims: `pgqueue_jobs_dequeue`.
    Pending,
    /// The longest run first: `pgqueue_jobs_running`. They are sorted, being no more than the workers have slots.
    Running,
    /// The last one first: `pgqueue_jobs_dead` or `pgqueue_jobs_completed`.
    Ended(JobState),
}

impl Order {
    /// Chooses by what the filter says of the state; only running jobs have a worker.
    pub(super) fn of(filter: &Filter) -> Self {
        match filter.state {
            _ if filter.ids.is_some() => Self::Ids,
            None if filter.names_worker() => Self::Running,
            None => Self::Newest,
            Some(JobState::Pending) => Self::Pending,
            Some(JobState::Running) => Self::Running,
            Some(state) => Self::Ended(state),
        }
    }

    /// The conditions of the walk, and the time that is part of its order.
    fn walk(self) -> (&'static str, &'static str) {
        match self {
            Self::Ids | Self::Newest => ("true", "j.created_at"),
            Self::Pending => ("j.state = 'pending'", "j.run_at"),
            Self::Running => ("j.state = 'running'", "coalesce(j.started_at, j.run_at)"),
            Self::Ended(JobState::Completed) => ("j.state = 'completed'", "j.finished_at"),
            Self::Ended(JobState::Cancelled) => ("j.state = 'cancelled'", "j.finished_at"),
            Self::Ended(_) => ("j.state = 'dead'", "j.finished_at"),
        }
    }

    /// Gives the time that is part of the order, of one job; none of a job that has not ended where ended ones are listed.
    pub(super) fn time(self, job: &Summary) -> Option<DateTime<Utc>> {
        match self {
            Self::Ids | Self::Newest => Some(job.created_at),
            Self::Pending => Some(job.run_at),
            Self::Running => Some(job.started_at.unwrap_or(job.run_at)),
            Self::Ended(_) => job.finished_at,
        }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Ids | Self::Newest => &["id"],
            Self::Pending => &["queue", "priority", "at", "id"],
            Self::Running | Self::Ended(_) => &["at", "id"],
        }
    }

    fn is_descending(self) -> bool {
        matches!(self, Self::Ids | Self::Newest | Self::Ended(_))
    }
}

/// What a search answers: the matches in order, then the last job visited.
#[derive(Debug, Clone, Queryable)]
pub(super) struct Found {
    pub(super) queue: String,
    pub(super) priority: i16,
    pub(super) at: DateTime<Utc>,
    pub(super) id: i64,
    /// Is true for the last job visited, which need not match and comes after those that do.
    pub(super) is_last: bool,
    pub(super) visited: i64,
}

impl Found {
    pub(super) fn place(&self) -> Place {
        Place {
            queue: self.queue.clone(),
            priority: self.priority,
            at: self.at,
            id: self.id,
        }
    }
}

/// One statement.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) filter: &'a Filter,
    pub(super) order: Order,
    pub(super) newer: bool,
    pub(super) after: Option<Place>,
    /// Where the walk ends, if not with the last job.
    pub(super) until: Option<Place>,
    /// Most jobs that it looks at.
    pub(super) window: i64,
    /// Most jobs that it names.
    pub(super) limit: i64,
}

impl QueryId for Search<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // its text depends on the conditions
}

impl Query for Search<'_> {
    type SqlType = (Text, SmallInt, Timestamptz, BigInt, Bool, BigInt);
}

impl<C> RunQueryDsl<C> for Search<'_> {}

impl QueryFragment<Pg> for Search<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The host's session plans it: a plan kept from when the table was small would scan it.
        out.unsafe_to_cache_prepared();
        out.push_sql("WITH visited AS MATERIALIZED (");
        self.push_visited(&mut out)?;
        let (onward, back) = (self.direction(), self.opposite());
        out.push_sql(
            "), named AS (SELECT v.queue, v.priority, v.at, v.id, false AS is_last FROM visited AS v WHERE v.fits ORDER BY ",
        );
        self.push_order("v", onward, &mut out);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(
            "), last AS (SELECT v.queue, v.priority, v.at, v.id, true AS is_last FROM visited AS v ORDER BY ",
        );
        self.push_order("v", back, &mut out);
        out.push_sql(
            " LIMIT 1) SELECT f.queue, f.priority, f.at, f.id, f.is_last, (SELECT count(*) FROM visited) \
             FROM (SELECT * FROM named UNION ALL SELECT * FROM last) AS f ORDER BY f.is_last, ",
        );
        self.push_order("f", onward, &mut out);
        Ok(())
    }
}

impl Search<'_> {
    /// Gives the cause that the walk is within, by `pgqueue_jobs_cause`: a rare one is found among 200,000 others.
    fn cause(&self) -> Option<&i64> {
        let is_dead = self.order == Order::Ended(JobState::Dead);
        self.filter.cause.as_ref().filter(|_| is_dead)
    }

    fn descends(&self) -> bool {
        self.order.is_descending() != self.newer
    }

    fn direction(&self) -> &'static str {
        if self.descends() { " DESC" } else { "" }
    }

    fn opposite(&self) -> &'static str {
        if self.descends() { "" } else { " DESC" }
    }

    /// Writes the walk by the index, up to its window, and whether each job visited fits.
    fn push_visited<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (walked, at) = self.order.walk();
        out.push_sql("SELECT j.id, j.queue, j.priority, ");
        out.push_sql(at);
        out.push_sql(" AS at, (true");
        self.push_state(out);
        self.filter.push_conditions(out)?;
        out.push_sql(") AS fits FROM pgqueue_jobs AS j WHERE ");
        out.push_sql(walked);
        match self.order {
            Order::Ids => {
                let ids = self.filter.ids.as_ref();
                push::<Array<BigInt>, _>(" AND j.id = ANY (", ids, ")", out)?;
            }
            Order::Pending => {
                push::<Text, _>(" AND j.queue = ", self.filter.queue.as_ref(), "", out)?;
            }
            Order::Ended(_) => {
                let after = self.filter.finished_after.as_ref();
                push::<Timestamptz, _>(" AND j.finished_at > ", after, "", out)?;
                let before = self.filter.finished_before.as_ref();
                push::<Timestamptz, _>(" AND j.finished_at < ", before, "", out)?;
            }
            Order::Newest | Order::Running => {}
        }
        // Not as an equation: a constant leaves the order, which `pgqueue_jobs_dead` then serves, too, and the planner would
        // look for a rare cause among all the dead.
        push::<BigInt, _>(" AND j.cause >= ", self.cause(), "", out)?;
        push::<BigInt, _>(" AND j.cause <= ", self.cause(), "", out)?;
        let (before, behind) = if self.descends() {
            (" < ", " > ")
        } else {
            (" > ", " < ")
        };
        self.push_bound(self.after.as_ref(), before, out)?;
        self.push_bound(self.until.as_ref(), behind, out)?;
        // The order is written as the index has it: else the planner may sort the whole table.
        out.push_sql(" ORDER BY ");
        self.push_order("j", self.direction(), out);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.window)
    }

    /// Writes the state, where the walk does not say it: of jobs named by id. States are literals: a bound one hides partial indexes.
    fn push_state(&self, out: &mut AstPass<'_, '_, Pg>) {
        if let (Order::Ids, Some(state)) = (self.order, self.filter.state) {
            out.push_sql(" AND j.state = '");
            out.push_sql(state.name());
            out.push_sql("'");
        }
    }

    /// Writes on which side of a place the walk stays.
    fn push_bound<'b>(
        &'b self,
        place: Option<&'b Place>,
        side: &'static str,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        let Some(place) = place else {
            return Ok(());
        };
        out.push_sql(" AND (");
        self.push_order("j", "", out);
        out.push_sql(")");
        out.push_sql(side);
        out.push_sql("(");
        push::<BigInt, _>("", self.cause(), ", ", out)?;
        for (position, column) in self.order.columns().iter().enumerate() {
            out.push_sql(if position == 0 { "" } else { ", " });
            match *column {
                "queue" => out.push_bind_param::<Text, _>(&place.queue)?,
                "priority" => out.push_bind_param::<SmallInt, _>(&place.priority)?,
                "at" => out.push_bind_param::<Timestamptz, _>(&place.at)?,
                _ => out.push_bind_param::<BigInt, _>(&place.id)?,
            }
        }
        out.push_sql(")");
        Ok(())
    }

    /// Writes the order of the walk: on the jobs, as the index has it, or on those `visited`.
    fn push_order(&self, of: &str, direction: &str, out: &mut AstPass<'_, '_, Pg>) {
        let (_, at) = self.order.walk();
        if of == "j" && self.cause().is_some() {
            out.push_sql("j.cause");
            out.push_sql(direction);
            out.push_sql(", ");
        }
        for (position, column) in self.order.columns().iter().enumerate() {
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
}
