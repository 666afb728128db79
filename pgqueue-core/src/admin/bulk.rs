//! Actions on jobs, one or many: a walk over what matches, 500 a statement, in the order of an index.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::AsyncConnectionCore;
use serde_json::Value;

use super::{Done, Filter, SkipReason, Skipped, Who};
use crate::error::{Error, ErrorKind};
use crate::sql::ReadBack;
use crate::state::JobState;

/// Jobs a statement: its locks last tens of milliseconds.
const BATCH: i64 = 500;
/// Most skipped jobs that are named.
const SKIPPED_LIMIT: usize = 1000;

/// Puts dead jobs back to pending (cancelled or completed ones if the filter says so): due now, attempts and losses back to
/// zero, history kept. A job whose unique key is taken by now is skipped.
pub fn requeue(filter: impl Into<Filter>) -> Action {
    Action::new(Verb::Requeue, filter.into())
}

/// Cancels jobs: pending ones at once, running ones by asking their worker to stop them, within a second if it listens.
pub fn cancel(filter: impl Into<Filter>) -> Action {
    Action::new(Verb::Cancel, filter.into())
}

/// Deletes dead jobs for ever (cancelled or completed ones if the filter says so).
pub fn purge(filter: impl Into<Filter>) -> Action {
    Action::new(Verb::Purge, filter.into())
}

/// Makes scheduled jobs and jobs that wait for a retry due now.
pub fn run_now(filter: impl Into<Filter>) -> Action {
    Action::new(Verb::RunNow, filter.into())
}

/// An action on jobs; nothing happens until [`run`](Self::run) or [`run_async`](Self::run_async).
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it runs"]
pub struct Action {
    verb: Verb,
    filter: Filter,
    who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Requeue,
    Cancel,
    Purge,
    RunNow,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Cancel => "cancel",
            Self::Purge => "purge",
            Self::RunNow => "run_now",
        }
    }

    /// The states that it is for when the filter names none.
    fn usual_states(self) -> &'static [JobState] {
        match self {
            Self::Requeue | Self::Purge => &[JobState::Dead],
            Self::Cancel => &[JobState::Pending, JobState::Running],
            Self::RunNow => &[JobState::Pending],
        }
    }

    /// The states that a filter or an id may choose.
    fn states(self) -> &'static [JobState] {
        match self {
            Self::Requeue | Self::Purge => {
                &[JobState::Completed, JobState::Cancelled, JobState::Dead]
            }
            Self::Cancel | Self::RunNow => self.usual_states(),
        }
    }

    /// The order of the walk: of the index that has the rows in these states.
    fn place(self) -> &'static str {
        match self {
            Self::Requeue | Self::Purge => "j.finished_at",
            Self::Cancel | Self::RunNow => "j.created_at",
        }
    }

    /// Changes the rows of `chosen`, answering `id` and `answer`.
    fn statement(self) -> &'static str {
        match self {
            Self::Requeue => {
                "SELECT r.id, r.answer FROM pgqueue_requeue(ARRAY(SELECT chosen.id FROM chosen)) AS r"
            }
            Self::Purge => {
                "DELETE FROM pgqueue_jobs AS j WHERE j.id = ANY (ARRAY(SELECT chosen.id FROM chosen)) \
                 RETURNING j.id, 'purge'::text AS answer"
            }
            Self::RunNow => {
                "UPDATE pgqueue_jobs AS j SET run_at = now() \
                 WHERE j.id = ANY (ARRAY(SELECT chosen.id FROM chosen)) RETURNING j.id, 'run_now'::text AS answer"
            }
            Self::Cancel => {
                "UPDATE pgqueue_jobs AS j \
                 SET state = CASE WHEN j.state = 'pending' THEN 'cancelled' ELSE j.state END, \
                 finished_at = CASE WHEN j.state = 'pending' THEN now() END, \
                 cancel_requested_at = CASE WHEN j.state = 'running' THEN coalesce(j.cancel_requested_at, now()) END \
                 WHERE j.id = ANY (ARRAY(SELECT chosen.id FROM chosen)) \
                 RETURNING j.id, CASE WHEN j.state = 'cancelled' THEN 'cancel' ELSE \
                 'requested' || coalesce(pg_notify(pgqueue_channel() || '.' || j.claimed_by, j.id::text)::text, '') END AS answer"
            }
        }
    }
}

impl Action {
    fn new(verb: Verb, filter: Filter) -> Self {
        Self {
            verb,
            filter,
            who: Who::default(),
        }
    }

    says_who!();

    /// Acts, on a sync connection.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the filter's state is not one that the action is for; errors of the database. What
    /// earlier statements of 500 have done stays done, unless a transaction around it rolls back.
    pub fn run<C: LoadConnection<Backend = Pg>>(self, conn: &mut C) -> Result<Done, Error> {
        let mut walk = Walk::new(self)?;
        while let Some(step) = walk.next_step() {
            walk.absorb(&RunQueryDsl::load(step, conn)?);
        }
        if let Some(ids) = walk.unanswered() {
            walk.explain(&ids, &RunQueryDsl::load(ReadBack { ids: &ids }, conn)?);
        }
        Ok(walk.done)
    }

    /// Acts, on an async connection. Effect and errors are those of [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancellation safety
    /// Dropped before it resolves, some statements of 500 may have been done; run it again for the rest.
    pub async fn run_async<C: AsyncConnectionCore<Backend = Pg>>(
        self,
        conn: &mut C,
    ) -> Result<Done, Error> {
        let mut walk = Walk::new(self)?;
        while let Some(step) = walk.next_step() {
            walk.absorb(&diesel_async::RunQueryDsl::load(step, conn).await?);
        }
        if let Some(ids) = walk.unanswered() {
            walk.explain(
                &ids,
                &diesel_async::RunQueryDsl::load(ReadBack { ids: &ids }, conn).await?,
            );
        }
        Ok(walk.done)
    }
}

/// A row of a step: id, its place in the walk, what was done (null: nothing, it went away), the step's time.
type Row = (i64, DateTime<Utc>, Option<String>, DateTime<Utc>);

struct Walk {
    action: Action,
    after: Option<(DateTime<Utc>, i64)>,
    cutoff: Option<DateTime<Utc>>,
    more: bool,
    answered: Vec<i64>,
    done: Done,
}

impl Walk {
    fn new(action: Action) -> Result<Self, Error> {
        if !action.filter.allows_one_of(action.verb.states()) {
            let state = action.filter.state.map_or("", JobState::name);
            let allowed: Vec<&str> = action
                .verb
                .states()
                .iter()
                .map(|state| state.name())
                .collect();
            let message = format!(
                "{} is not for {state} jobs: only for {}",
                action.verb.name(),
                allowed.join(", ")
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self {
            action,
            after: None,
            cutoff: None,
            more: true,
            answered: Vec::new(),
            done: Done::default(),
        })
    }

    fn next_step(&self) -> Option<Step> {
        self.more.then(|| Step {
            verb: self.action.verb,
            filter: self.action.filter.clone(),
            actor: self.action.who.actor.clone(),
            reason: self.action.who.reason.clone(),
            details: self.action.filter.described(),
            after_place: self.after.map(|(place, _)| place),
            after_id: self.after.map(|(_, id)| id),
            cutoff: self.cutoff,
        })
    }

    fn absorb(&mut self, rows: &[Row]) {
        self.more = i64::try_from(rows.len()).unwrap_or(0) >= BATCH;
        for (id, place, answer, now) in rows {
            self.after = self.after.max(Some((*place, *id)));
            self.cutoff = self.cutoff.or(Some(*now));
            self.answered.push(*id);
            match answer.as_deref() {
                Some("conflict") => self.skip(*id, SkipReason::Conflict),
                Some("busy") => self.skip(*id, SkipReason::Busy),
                Some("missing") => self.skip(*id, SkipReason::Missing),
                Some("state") | None => self.skip(*id, SkipReason::State),
                Some("requested") => self.done.requested += 1,
                Some(_) => self.done.changed += 1,
            }
        }
        if self.action.filter.ids.is_none() {
            self.answered.clear();
        }
    }

    /// Gives the ids that were asked for and not answered.
    fn unanswered(&self) -> Option<Vec<i64>> {
        let ids: Vec<i64> = self
            .action
            .filter
            .ids
            .iter()
            .flatten()
            .filter(|id| !self.answered.contains(id))
            .copied()
            .collect();
        (!ids.is_empty()).then_some(ids)
    }

    fn explain(&mut self, ids: &[i64], rows: &[(i64, i64, JobState, DateTime<Utc>)]) {
        for id in ids {
            let reason = match rows.iter().find(|(found, ..)| found == id) {
                None => SkipReason::Missing,
                // A job that is due already is not one to hurry.
                Some((_, _, state, _))
                    if self.action.verb != Verb::RunNow && self.action.states().contains(state) =>
                {
                    SkipReason::Busy
                }
                Some(_) => SkipReason::State,
            };
            self.skip(*id, reason);
        }
    }

    fn skip(&mut self, id: i64, reason: SkipReason) {
        if self.done.skipped.len() < SKIPPED_LIMIT {
            self.done.skipped.push(Skipped { id, reason });
        }
    }
}

impl Action {
    fn states(&self) -> &'static [JobState] {
        states(self.verb, &self.filter)
    }
}

/// Ids name their jobs whatever the state, as far as the verb goes; a filter without a state means the usual ones.
fn states(verb: Verb, filter: &Filter) -> &'static [JobState] {
    if filter.state.is_some() || filter.ids.is_some() {
        verb.states()
    } else {
        verb.usual_states()
    }
}

/// One statement of a walk.
#[derive(Debug)]
struct Step {
    verb: Verb,
    filter: Filter,
    actor: Option<String>,
    reason: Option<String>,
    details: Value,
    after_place: Option<DateTime<Utc>>,
    after_id: Option<i64>,
    cutoff: Option<DateTime<Utc>>,
}

impl QueryId for Step {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // its text depends on the conditions
}

impl Query for Step {
    type SqlType = (BigInt, Timestamptz, Nullable<Text>, Timestamptz);
}

impl<C> RunQueryDsl<C> for Step {}

impl QueryFragment<Pg> for Step {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The host's session plans it: a plan kept from when the table was small would scan it.
        out.unsafe_to_cache_prepared();
        let place = self.verb.place();
        out.push_sql("WITH chosen AS MATERIALIZED (SELECT j.id, ");
        out.push_sql(place);
        out.push_sql(" AS place FROM pgqueue_jobs AS j WHERE ");
        out.push_sql(place);
        out.push_sql(" <= coalesce(");
        out.push_bind_param::<Nullable<Timestamptz>, _>(&self.cutoff)?;
        out.push_sql(", now())");
        if let (Some(after_place), Some(after_id)) = (&self.after_place, &self.after_id) {
            out.push_sql(" AND (");
            out.push_sql(place);
            out.push_sql(", j.id) > (");
            out.push_bind_param::<Timestamptz, _>(after_place)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(after_id)?;
            out.push_sql(")");
        }
        self.filter
            .push_conditions(states(self.verb, &self.filter), &mut out)?;
        if self.verb == Verb::RunNow {
            out.push_sql(" AND j.run_at > now()"); // a due job keeps its place in the line
        }
        out.push_sql(" ORDER BY ");
        out.push_sql(place);
        out.push_sql(", j.id LIMIT 500 FOR UPDATE SKIP LOCKED), changed AS MATERIALIZED (");
        out.push_sql(self.verb.statement());
        out.push_sql(
            "), audit AS (INSERT INTO pgqueue_audit (job_id, jobs, actor, action, reason, details) \
             SELECT CASE WHEN count(*) = 1 THEN min(c.id) END, count(*), coalesce(",
        );
        out.push_bind_param::<Nullable<Text>, _>(&self.actor)?;
        out.push_sql(", session_user), '");
        out.push_sql(self.verb.name());
        out.push_sql("', ");
        out.push_bind_param::<Nullable<Text>, _>(&self.reason)?;
        out.push_sql(", ");
        out.push_bind_param::<Jsonb, _>(&self.details)?;
        out.push_sql(
            " FROM changed AS c WHERE c.answer NOT IN ('conflict', 'busy', 'missing', 'state') HAVING count(*) > 0) \
             SELECT chosen.id, chosen.place, changed.answer, now() FROM chosen LEFT JOIN changed USING (id)",
        );
        Ok(())
    }
}
