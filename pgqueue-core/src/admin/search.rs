//! One statement of a list: walks (see `walk.rs`) over at most a few thousand jobs, and names those of them that match.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, SmallInt, Text, Timestamptz};

use super::filter::Filter;
use super::walk::{Order, Place, Walk};
use crate::state::JobState;

/// Chooses the order of a list by what the filter says of the state; only running jobs have a worker.
pub(super) fn order_of(filter: &Filter) -> Order {
    match filter.state {
        _ if filter.ids.is_some() => Order::Ids,
        None if filter.names_worker() => Order::Running,
        None => Order::Newest,
        Some(JobState::Pending) => Order::Pending,
        Some(JobState::Running) => Order::Running,
        Some(state) => Order::Ended(state),
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
        let walk = self.walk();
        out.push_sql("WITH visited AS MATERIALIZED (");
        self.push_visited(&mut out)?;
        out.push_sql(
            "), named AS (SELECT v.queue, v.priority, v.at, v.id, false AS is_last FROM visited AS v WHERE v.fits ORDER BY ",
        );
        walk.push_order_of("v", false, &mut out);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(
            "), last AS (SELECT v.queue, v.priority, v.at, v.id, true AS is_last FROM visited AS v ORDER BY ",
        );
        walk.push_order_of("v", true, &mut out);
        out.push_sql(
            " LIMIT 1) SELECT f.queue, f.priority, f.at, f.id, f.is_last, (SELECT count(*) FROM visited) \
             FROM (SELECT * FROM named UNION ALL SELECT * FROM last) AS f ORDER BY f.is_last, ",
        );
        walk.push_order_of("f", false, &mut out);
        Ok(())
    }
}

impl Search<'_> {
    /// Lists begin with what is newest, and with what is claimed or began first.
    fn walk(&self) -> Walk<'_> {
        let descends = matches!(self.order, Order::Ids | Order::Newest | Order::Ended(_));
        Walk {
            order: self.order,
            descends: descends != self.newer,
            filter: self.filter,
            after: self.after.as_ref(),
            until: self.until.as_ref(),
        }
    }

    /// Writes the walk by the index, up to its window, and whether each job visited fits.
    fn push_visited<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let walk = self.walk();
        walk.push_columns(out);
        out.push_sql(", (true");
        self.push_state(out);
        self.filter.push_conditions(out)?;
        out.push_sql(") AS fits");
        walk.push_way(out)?;
        out.push_sql(" ORDER BY ");
        walk.push_order(out);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.window)
    }

    /// Writes the state, where the walk does not say it: of jobs named by id.
    fn push_state(&self, out: &mut AstPass<'_, '_, Pg>) {
        if let (Order::Ids, Some(state)) = (self.order, self.filter.state) {
            out.push_sql(" AND j.state = '");
            out.push_sql(state.name());
            out.push_sql("'");
        }
    }
}
