//! The walk that lists and actions share: over jobs along one index, in its order, from a place on.
//!
//! Ideally a filter would be a condition of the walk itself. But then a statement that matches little reads until it has
//! enough matches, a million jobs long. So the walk goes by the index alone and only over so many jobs, the filter is
//! evaluated on what was visited, and the next statement goes on behind the last job visited, whether it matched or not.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, BigInt, SmallInt, Text, Timestamptz};
use serde::{Deserialize, Serialize};

use super::filter::{Filter, push};
use super::find::Summary;
use crate::state::JobState;

/// Which jobs are visited, by which index, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Those named by id: the primary key.
    Ids,
    /// All: the primary key.
    Newest,
    /// In the order of claims: `pgqueue_jobs_dequeue`.
    Pending,
    /// By when they began: `pgqueue_jobs_running`. They are sorted, being no more than the workers have slots.
    Running,
    /// Those in one terminal state by when they ended: `pgqueue_jobs_dead` or `pgqueue_jobs_completed`; with a cause
    /// `pgqueue_jobs_cause`, by which a rare one is found among 200,000 others.
    Ended(JobState),
}

impl Order {
    /// The conditions of the walk. States are literals: a bound one hides partial indexes.
    pub(super) fn conditions(self) -> &'static str {
        match self {
            Self::Ids | Self::Newest => "true",
            Self::Pending => "j.state = 'pending'",
            Self::Running => "j.state = 'running'",
            Self::Ended(JobState::Completed) => "j.state = 'completed'",
            Self::Ended(JobState::Cancelled) => "j.state = 'cancelled'",
            Self::Ended(_) => "j.state = 'dead'",
        }
    }

    /// The time that is part of the order.
    fn at(self) -> &'static str {
        match self {
            Self::Ids | Self::Newest => "j.created_at",
            Self::Pending => "j.run_at",
            Self::Running => "coalesce(j.started_at, j.run_at)",
            Self::Ended(_) => "j.finished_at",
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
}

/// One job's place in an order. Which fields matter, the order says.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) queue: String,
    pub(super) priority: i16,
    pub(super) at: DateTime<Utc>,
    pub(super) id: i64,
}

/// The way of one statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) order: Order,
    /// Goes from the end of the order to its start.
    pub(super) descends: bool,
    pub(super) filter: &'a Filter,
    pub(super) after: Option<&'a Place>,
    /// Where it ends, if not with the last job.
    pub(super) until: Option<&'a Place>,
}

impl<'a> Walk<'a> {
    /// Writes what every job visited tells.
    pub(super) fn push_columns(&self, out: &mut AstPass<'_, 'a, Pg>) {
        out.push_sql("SELECT j.id, j.queue, j.priority, ");
        out.push_sql(self.order.at());
        out.push_sql(" AS at");
    }

    /// Writes from where to where it goes, as far as the index knows.
    pub(super) fn push_way(&self, out: &mut AstPass<'_, 'a, Pg>) -> QueryResult<()> {
        out.push_sql(" FROM pgqueue_jobs AS j WHERE ");
        out.push_sql(self.order.conditions());
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
        let (onward, back) = if self.descends {
            (" < ", " > ")
        } else {
            (" > ", " < ")
        };
        self.push_bound(self.after, onward, out)?;
        self.push_bound(self.until, back, out)
    }

    /// Writes the order on the jobs as the index has it: else the planner may sort the whole table.
    pub(super) fn push_order(&self, out: &mut AstPass<'_, 'a, Pg>) {
        self.push_place(direction(self.descends), out);
    }

    /// Writes the order on what `of` kept of the visited jobs, there or back.
    pub(super) fn push_order_of(&self, of: &str, back: bool, out: &mut AstPass<'_, 'a, Pg>) {
        for (position, column) in self.order.columns().iter().enumerate() {
            out.push_sql(if position == 0 { "" } else { ", " });
            out.push_sql(of);
            out.push_sql(".");
            out.push_sql(column);
            out.push_sql(direction(self.descends != back));
        }
    }

    fn cause(&self) -> Option<&'a i64> {
        let is_dead = self.order == Order::Ended(JobState::Dead);
        self.filter.cause.as_ref().filter(|_| is_dead)
    }

    /// Writes on which side of a place it stays.
    fn push_bound(
        &self,
        place: Option<&'a Place>,
        side: &str,
        out: &mut AstPass<'_, 'a, Pg>,
    ) -> QueryResult<()> {
        let Some(place) = place else {
            return Ok(());
        };
        out.push_sql(" AND (");
        self.push_place("", out);
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

    /// Writes the columns of the order on the jobs.
    fn push_place(&self, direction: &str, out: &mut AstPass<'_, 'a, Pg>) {
        let cause = self.cause().map(|_| "j.cause");
        let columns = self.order.columns().iter().map(|column| match *column {
            "queue" => "j.queue",
            "priority" => "j.priority",
            "at" => self.order.at(),
            _ => "j.id",
        });
        for (position, column) in cause.into_iter().chain(columns).enumerate() {
            out.push_sql(if position == 0 { "" } else { ", " });
            out.push_sql(column);
            out.push_sql(direction);
        }
    }
}

fn direction(descends: bool) -> &'static str {
    if descends { " DESC" } else { "" }
}
