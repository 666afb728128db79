//! The rows as the model says they are, and as the database says: one line each, so that a difference can be read.

use super::super::protocol::World;
use super::super::protocol::job::{Job, Kind, State};

/// Reads them, jobs first.
pub(super) const READ: &str = "EXECUTE read_jobs; EXECUTE read_workers";

/// Whether a job is due matters while it is pending.
pub(super) const PREPARE: &str = "
    PREPARE read_jobs AS SELECT format(
        'job %s: %s, attempt %s of 1 + %s, lost %s, token %s, of worker %s in claim %s, priority %s, key %s%s%s, errors [%s]',
        j.id, j.state, j.attempt, j.max_retries, j.lost, j.fencing_token, coalesce(j.claimed_by::text, '-'),
        coalesce(j.claim_batch::text, '-'), j.priority, coalesce(j.unique_key, '-'),
        CASE WHEN j.cancel_requested_at IS NOT NULL THEN ', to be cancelled' ELSE '' END,
        CASE WHEN j.state = 'pending' AND j.run_at > now() THEN ', for later' ELSE '' END,
        (
            SELECT string_agg((e.value ->> 'attempt') || ' ' || (e.value ->> 'kind'), ', ' ORDER BY e.ordinality)
            FROM jsonb_array_elements(j.errors) WITH ORDINALITY AS e
        )
    )
    FROM pgqueue_jobs AS j
    ORDER BY j.id;
    PREPARE read_workers AS SELECT format('worker %s%s', w.id, CASE WHEN w.expires_at < clock_timestamp() THEN ', expired' ELSE '' END)
    FROM pgqueue_workers AS w
    ORDER BY w.id";

/// The same lines of the model; `ids` are those of its jobs.
pub(super) fn expected(world: &World, ids: &[i64]) -> Vec<String> {
    let jobs = world.jobs.iter().zip(ids);
    let jobs = jobs.filter(|(job, _)| job.state != State::Gone);
    let mut lines: Vec<String> = jobs.map(|(job, id)| line(job, *id)).collect();
    let mut rows = world.rows.clone();
    rows.sort_unstable();
    lines.extend(rows.iter().map(|row| {
        let expired = if row.has_expired { ", expired" } else { "" };
        format!("worker {}{expired}", row.id)
    }));
    lines
}

fn line(job: &Job, id: i64) -> String {
    let or_dash = |number: Option<u8>| number.map_or("-".to_owned(), |number| number.to_string());
    let key = job.key.map_or("-".to_owned(), key);
    let errors: Vec<String> = job
        .errors
        .iter()
        .map(|(attempt, kind)| format!("{attempt} {}", kind.name()))
        .collect();
    format!(
        "job {id}: {}, attempt {} of 1 + {}, lost {}, token {}, of worker {} in claim {}, priority {}, key {key}{}{}, errors [{}]",
        job.state.name(),
        job.attempt,
        job.max_retries,
        job.lost,
        job.token,
        or_dash(job.claimed_by),
        or_dash(job.claim_batch),
        job.priority,
        if job.is_cancel_requested {
            ", to be cancelled"
        } else {
            ""
        },
        if job.state == State::Pending && job.due.is_none() {
            ", for later"
        } else {
            ""
        },
        errors.join(", ")
    )
}

pub(super) fn key(key: u8) -> String {
    format!("key-{key}")
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
            Self::Gone => "gone",
        }
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}
