//! What is done to jobs: to which states, in which order, by which SQL.

use super::Filter;
use super::walk::Order;
use crate::state::JobState;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Requeue,
    Cancel,
    Purge,
    RunNow,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Cancel => "cancel",
            Self::Purge => "purge",
            Self::RunNow => "run_now",
        }
    }

    /// Reads a name that [`name`](Self::name) gave.
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [Self::Requeue, Self::Cancel, Self::Purge, Self::RunNow];
        all.into_iter().find(|verb| verb.name() == name)
    }

    /// The states that it is for when the filter names none.
    pub(super) fn usual_states(self) -> &'static [JobState] {
        match self {
            Self::Requeue | Self::Purge => &[JobState::Dead],
            Self::Cancel => &[JobState::Pending, JobState::Running],
            Self::RunNow => &[JobState::Pending],
        }
    }

    /// The states that a filter or an id may choose.
    pub(super) fn states(self) -> &'static [JobState] {
        match self {
            Self::Requeue | Self::Purge => {
                &[JobState::Completed, JobState::Cancelled, JobState::Dead]
            }
            Self::Cancel | Self::RunNow => self.usual_states(),
        }
    }

    /// The parts of the walk over what a filter matches.
    ///
    /// A cancel asks running jobs first, so that none comes back to pending behind its steps, and once more in the end, for
    /// those that were claimed while it went over the pending ones.
    pub(super) fn courses(self, filter: &Filter) -> Vec<Order> {
        if filter.ids.is_some() {
            return vec![Order::Ids];
        }
        match (self, filter.state) {
            (Self::Requeue | Self::Purge, state) => {
                vec![Order::Ended(state.unwrap_or(JobState::Dead))]
            }
            (Self::Cancel, None) => vec![Order::Running, Order::Pending, Order::Running],
            (Self::Cancel, Some(JobState::Running)) => vec![Order::Running],
            (Self::Cancel, Some(_)) | (Self::RunNow, _) => vec![Order::Pending],
        }
    }

    /// Changes the rows of `chosen`, answering `id` and `answer`.
    pub(super) fn statement(self) -> &'static str {
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
