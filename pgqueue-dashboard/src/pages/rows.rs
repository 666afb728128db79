//! Rows of the list of jobs: where each job stands, how long it took, and the link to its page.

use std::time::Duration;

use chrono::{DateTime, Utc};
use pgqueue_core::JobState;
use pgqueue_core::admin::{Filter, Page, Summary};

use crate::access::Permissions;
use crate::filter::Terms;
use crate::link::encoded;
use crate::visit::Visit;

/// One row.
pub(super) struct Row {
    pub(super) job: Summary,
    pub(super) state: &'static str,
    pub(super) verb: &'static str,
    pub(super) when: DateTime<Utc>,
    pub(super) took: Option<Duration>,
    pub(super) payload: Option<String>,
    pub(super) href: String,
}

/// Gives the rows of a page of the list that these terms, as a filter, are.
pub(super) fn of(visit: &Visit, page: Option<&Page>, terms: &Terms, filter: &Filter) -> Vec<Row> {
    let redaction = &visit.dashboard.inner.redaction;
    let may_see = visit.may(Permissions::VIEW_PAYLOAD);
    let (now, list) = (Utc::now(), terms.to_string());
    let row = |job: &Summary| {
        let (state, verb, when) = standing(job, now);
        let payload = may_see.then(|| redaction.compact(&job.payload_start, 400).text);
        Row {
            href: job_link(&visit.base, job, &list, filter),
            job: job.clone(),
            state,
            verb,
            when,
            took: took(job, now),
            payload,
        }
    };
    page.iter().flat_map(|page| &page.jobs).map(row).collect()
}

/// Writes a link to a job that knows the list it is in, so that its page leads on through that list.
pub(super) fn job_link(base: &str, job: &Summary, list: &str, filter: &Filter) -> String {
    let place = job.place(filter).map(|place| place.to_string());
    let mut query = Vec::new();
    if !list.is_empty() {
        query.push(("q", list));
    }
    if let Some(place) = &place {
        query.push(("at", place));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{base}/jobs/{}{mark}{}", job.id, encoded(&query))
}

/// Tells how long the last run took, or takes so far.
pub(super) fn took(job: &Summary, now: DateTime<Utc>) -> Option<Duration> {
    let ended = match job.state {
        JobState::Pending => return None,
        JobState::Running => now,
        _ => job.finished_at?,
    };
    (ended - job.started_at?).to_std().ok()
}

/// Names the state of a job as people see it, with the time that matters in it.
pub(super) fn standing(
    job: &Summary,
    now: DateTime<Utc>,
) -> (&'static str, &'static str, DateTime<Utc>) {
    let ended = job.finished_at.unwrap_or(job.created_at);
    match job.state {
        JobState::Pending if job.run_at > now => (later(job.attempt), "due", job.run_at),
        JobState::Pending => ("pending", "due", job.run_at),
        JobState::Running => ("running", "started", job.started_at.unwrap_or(job.run_at)),
        state => (state.name(), state.name(), ended),
    }
}

/// Names the state of a job whose time has not come.
pub(super) fn later(attempt: i32) -> &'static str {
    if attempt == 0 {
        "scheduled"
    } else {
        "retrying"
    }
}
