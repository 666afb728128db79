//! What an action would do, and how it is to go about it: the preview, and the start of a durable operation.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncConnectionCore, RunQueryDsl};
use serde::Serialize;
use serde_json::json;

use super::Action;
use super::filter::{is_storable, unstorable};
use super::operation::Progress;
use super::step::{BATCH, Peek, Seen, Step};
use super::verb::Verb;
use super::walk::{Order, Place};
use crate::answer;
use crate::error::{Error, ErrorKind, explain};
use crate::schema::pgqueue_bulk_operations::{self as operations, dsl};
use crate::stats::Count;

/// Where a preview stops to count.
const COUNT_LIMIT: i64 = 10_000;
/// Windows of 5,000 jobs that a preview looks through.
const WINDOWS: usize = 10;
/// What an action would do, had it begun at `cutoff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Preview {
    /// The database's time: an operation started with it leaves alone what came to match later.
    pub cutoff: DateTime<Utc>,
    /// How many jobs match, as far as was looked.
    pub jobs: Count,
    /// The first five of them.
    pub sample: Vec<i64>,
    /// Jobs, among the first 500 of each 5,000 looked at, whose unique key another job has by now: a requeue skips them.
    pub conflicts: i64,
}

/// How an operation goes about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// What the preview said.
    pub preview: Option<Preview>,
    /// Most jobs a second, 1 to 100,000; none: as fast as it goes.
    pub rate: Option<i32>,
    /// Pauses by itself after so many jobs, until it is resumed.
    pub canary: Option<i32>,
}

impl Plan {
    /// Keeps to what a preview showed.
    #[must_use]
    pub fn of(preview: Preview) -> Self {
        Self {
            preview: Some(preview),
            ..Self::default()
        }
    }

    /// Keeps to a preview of which only its time and count are left.
    #[must_use]
    pub fn since(cutoff: DateTime<Utc>, jobs: Count) -> Self {
        Self::of(Preview {
            cutoff,
            jobs,
            sample: Vec::new(),
            conflicts: 0,
        })
    }

    /// Bounds the jobs a second.
    #[must_use]
    pub fn rate(mut self, rate: Option<i32>) -> Self {
        self.rate = rate;
        self
    }

    /// Has it pause after the first jobs.
    #[must_use]
    pub fn canary(mut self, jobs: Option<i32>) -> Self {
        self.canary = jobs;
        self
    }
}

impl Action {
    pub(super) fn step(
        &self,
        course: Order,
        after: Option<Place>,
        cutoff: Option<DateTime<Utc>>,
    ) -> Step {
        Step {
            verb: self.verb,
            course,
            filter: self.filter.clone(),
            who: self.who.clone(),
            details: self.filter.described(),
            after,
            cutoff,
            batch: BATCH,
            operation: None,
        }
    }

    /// Tells what the action would do, and changes nothing. It looks at 50,000 jobs at most: beyond, numbers are "at least".
    ///
    /// # Errors
    /// As [`run_async`](Self::run_async).
    pub async fn preview_async<C>(&self, conn: &mut C) -> Result<Preview, Error>
    where
        C: AsyncConnectionCore<Backend = Pg>,
    {
        self.check()?;
        let (mut jobs, mut conflicts, mut sample) = (0, 0, Vec::new());
        let (mut cutoff, mut windows, mut all) = (None, 0, true);
        let mut courses = self.verb.courses(&self.filter);
        courses.dedup();
        if courses.len() > 2 {
            courses.pop(); // the second look at running jobs would count them again
        }
        for course in courses {
            let mut after = None;
            loop {
                if windows == WINDOWS || jobs > COUNT_LIMIT {
                    all = false;
                    break;
                }
                windows += 1;
                let peek = Peek(self.step(course, after.take(), cutoff));
                let seen: Seen = peek.get_result(conn).await.map_err(explain)?;
                cutoff = cutoff.or(Some(seen.now));
                jobs += seen.fits;
                conflicts += seen.conflicts;
                sample.extend(seen.first.iter().copied());
                after = seen.next();
                if after.is_none() {
                    break;
                }
            }
        }
        sample.truncate(5);
        let requeues = self.verb == Verb::Requeue;
        Ok(Preview {
            cutoff: cutoff.unwrap_or_else(Utc::now),
            jobs: Count {
                at_least: jobs.min(COUNT_LIMIT),
                exact: all && jobs <= COUNT_LIMIT,
            },
            sample,
            conflicts: if requeues { conflicts } else { 0 },
        })
    }

    /// Stores the action as an operation, to be done step by step by [`advance_async`](super::advance_async), and gives its id.
    ///
    /// A dashboard does the steps of every open operation; a script may do so itself. Purged and requeued jobs are kept as
    /// they were for a day ([`UNDO_LIMIT`](super::UNDO_LIMIT)).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a filter that the action is not for, and a rate out of its bounds; errors of the database.
    pub async fn start_async<C>(self, conn: &mut C, plan: Plan) -> Result<i64, Error>
    where
        C: AsyncConnectionCore<Backend = Pg>,
    {
        self.check()?;
        if plan.rate.is_some_and(|rate| !(1..=100_000).contains(&rate)) {
            let message =
                "the rate of an operation is out of its bounds: 1 to 100,000 jobs a second";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let preview = match plan.preview {
            Some(preview) => preview,
            None => self.preview_async(conn).await?,
        };
        if !is_storable(&preview.cutoff) {
            return Err(unstorable(&preview.cutoff));
        }
        let actor = self.who.actor.clone();
        let values = (
            dsl::cutoff.eq(preview.cutoff),
            dsl::expected.eq(preview.jobs.at_least),
            dsl::expected_exactly.eq(preview.jobs.exact),
            dsl::rate.eq(plan.rate),
            dsl::canary.eq(plan.canary.filter(|jobs| *jobs > 0)),
            dsl::verb.eq(self.verb.name()),
            dsl::actor.eq(actor.unwrap_or_else(|| "unknown".to_owned())),
            dsl::reason.eq(self.who.reason.clone()),
            dsl::filter.eq(json!(self.filter)),
            dsl::place.eq(json!(Progress::default())),
        );
        let insert = diesel::insert_into(operations::table).values(values);
        let rows = insert.returning(dsl::id).load(conn).await;
        let id = rows.and_then(answer::only);
        Ok(id.map_err(explain)?)
    }
}
