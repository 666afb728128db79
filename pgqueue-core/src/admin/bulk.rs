//! Actions on jobs, one or many: a walk over what matches, a few hundred a statement, each in the order of an index.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::AsyncConnectionCore;

use super::step::{BATCH, Step, Stride};
use super::verb::Verb;
use super::walk::{Order, Place};
use super::{Done, Filter, SkipReason, Skipped, Who};
use crate::answer;
use crate::error::{Error, ErrorKind};
use crate::sql::ReadBack;
use crate::state::JobState;

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
    pub(super) verb: Verb,
    pub(super) filter: Filter,
    pub(super) who: Who,
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

    /// Refuses a filter that cannot be, or that leaves the action no state.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.filter.check()?;
        if !self.filter.allows_one_of(self.verb.states()) {
            let state = self.filter.state.map_or("", JobState::name);
            let allowed: Vec<&str> = self
                .verb
                .states()
                .iter()
                .map(|state| state.name())
                .collect();
            let message = format!(
                "{} is not for {state} jobs: only for {}",
                self.verb.name(),
                allowed.join(", ")
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }

    /// Acts, on a sync connection.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the filter's state is not one that the action is for; errors of the database. What
    /// earlier statements of 500 have done stays done, unless a transaction around it rolls back.
    pub fn run<C: LoadConnection<Backend = Pg>>(self, conn: &mut C) -> Result<Done, Error> {
        let mut walk = Walk::new(self)?;
        while let Some(step) = walk.next_step() {
            walk.absorb(RunQueryDsl::get_result(step, conn)?);
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
            let rows = diesel_async::RunQueryDsl::load(step, conn).await;
            walk.absorb(rows.and_then(answer::only)?);
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

struct Walk {
    action: Action,
    /// What is still to be walked; the front is where it is now.
    courses: VecDeque<Order>,
    after: Option<Place>,
    cutoff: Option<DateTime<Utc>>,
    answered: Vec<i64>,
    done: Done,
}

impl Walk {
    fn new(action: Action) -> Result<Self, Error> {
        action.check()?;
        Ok(Self {
            courses: action.verb.courses(&action.filter).into(),
            action,
            after: None,
            cutoff: None,
            answered: Vec::new(),
            done: Done::default(),
        })
    }

    fn next_step(&self) -> Option<Step> {
        Some(Step {
            verb: self.action.verb,
            course: *self.courses.front()?,
            details: self.action.filter.described(),
            filter: self.action.filter.clone(),
            who: self.action.who.clone(),
            after: self.after.clone(),
            cutoff: self.cutoff,
            batch: BATCH,
            operation: None,
        })
    }

    fn absorb(&mut self, stride: Stride) {
        self.cutoff = self.cutoff.or(Some(stride.now));
        for (id, answer) in stride.ids.iter().zip(&stride.answers) {
            match answer.as_deref() {
                Some("conflict") => self.skip(*id, SkipReason::Conflict),
                Some("busy") => self.skip(*id, SkipReason::Busy),
                Some("missing") => self.skip(*id, SkipReason::Missing),
                Some("state") | None => self.skip(*id, SkipReason::State),
                Some("requested") => self.done.requested += 1,
                Some(_) => self.done.changed += 1,
            }
        }
        if self.action.filter.ids.is_some() {
            self.answered.extend(&stride.ids);
        }
        self.after = stride.next(BATCH);
        if self.after.is_none() {
            self.courses.pop_front();
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
                    if self.action.verb != Verb::RunNow
                        && self.action.verb.states().contains(state) =>
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
