//! What stands beside a job: the jobs before and behind it in the list that somebody came from, and how earlier jobs of its
//! kind ended. Both are walks by an index that look at few jobs: a page of a job must not cost more than the job.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Cursor, Filter, Page, Record, Summary};
use pgqueue_core::{Error, ErrorKind, JobState};
use serde::Deserialize;

use super::rows;
use crate::access::Permissions;
use crate::filter::{Term, Terms};
use crate::link;
use crate::visit::Visit;

/// Most jobs that are looked at for each neighbour, and for each state of the history.
pub(super) const VISITS: u16 = 1000;
/// Jobs of the history.
const EARLIER: u16 = 10;

/// The list that somebody came from, as the address says it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct From {
    q: Option<String>,
    at: Option<String>,
}

/// A list, and the place of a job in it.
#[derive(Debug, Clone)]
struct Within {
    terms: Terms,
    place: Option<Cursor>,
    /// Is true when the address said it, and not only what the job is.
    is_told: bool,
}

/// What stands beside a job.
#[derive(Debug)]
pub(super) struct Beside {
    /// The list, as people read it.
    pub(super) list: String,
    /// Its address.
    pub(super) list_href: String,
    pub(super) is_told: bool,
    pub(super) before: Option<String>,
    pub(super) behind: Option<String>,
    pub(super) earlier: Vec<Earlier>,
    pub(super) all_href: String,
}

/// A job of the same kind that has ended.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) id: i64,
    pub(super) state: JobState,
    pub(super) ended: DateTime<Utc>,
    pub(super) took: Option<Duration>,
    pub(super) attempt: i32,
}

/// Reads what stands beside a job; nothing if that takes too long, as the job itself was read.
pub(super) async fn read(visit: &Visit, from: &From, job: &Record) -> Option<Beside> {
    let within = Within::of(visit, from, job);
    let (base, job) = (visit.base.clone(), job.clone());
    let read = visit
        .database()
        .read(move |conn| async move { within.read(conn, &base, &job).await }.boxed());
    read.await.ok()
}

impl Within {
    /// Reads the list of the address; else it is that of the jobs of the same kind and state.
    fn of(visit: &Visit, from: &From, job: &Record) -> Self {
        let place = from.at.as_deref().and_then(|at| at.parse().ok());
        let is_told = from.q.is_some() || place.is_some();
        let told = Terms::parse(from.q.as_deref().unwrap_or_default()).ok();
        let may_look =
            |terms: &Terms| visit.may(Permissions::VIEW_PAYLOAD) || !terms.reads_payloads();
        match told.filter(|terms| is_told && may_look(terms)) {
            Some(terms) => Self {
                terms,
                place,
                is_told,
            },
            None => {
                let (state, kind) = (Term::State(job.state), Term::Kind(job.kind.clone()));
                Self {
                    terms: Terms::parse(&format!("{state} {kind}")).unwrap_or_default(),
                    place: None,
                    is_told: false,
                }
            }
        }
    }

    /// Looks for what stands beside the job.
    async fn read(
        self,
        conn: &mut AsyncPgConnection,
        base: &str,
        job: &Record,
    ) -> Result<Beside, Error> {
        let now = Utc::now();
        let filter = self.terms.filter(now);
        let text = self.terms.to_string();
        let itself = admin::find(job.id).run_async(conn).await?.jobs.pop();
        let now_at = || itself.as_ref().and_then(|job| job.place(&filter));
        let (mut before, mut behind) = (None, None);
        // A place of another list is no reason to show no job.
        if let Some(place) = self.place.clone().or_else(now_at) {
            let href = |page: Page| {
                let job = page.jobs.into_iter().next();
                job.map(|job| rows::job_link(base, &job, &text, &filter))
            };
            let front = place.clone().towards_the_front();
            before = neighbour(conn, &filter, front).await?.and_then(href);
            behind = neighbour(conn, &filter, place).await?.and_then(href);
        }
        Ok(Beside {
            list: text.clone(),
            list_href: format!("{base}{}", link::with("/jobs", &[("q", &text)])),
            is_told: self.is_told,
            before,
            behind,
            earlier: earlier(conn, &job.kind, now).await?,
            all_href: format!("{base}{}", link::jobs(&[("kind", &job.kind)])),
        })
    }
}

/// Reads the page of one job behind a place; none if the place is of another list.
async fn neighbour(
    conn: &mut AsyncPgConnection,
    filter: &Filter,
    at: Cursor,
) -> Result<Option<Page>, Error> {
    let find = admin::find(filter.clone()).size(1).visit_at_most(VISITS);
    match find.at(at).run_async(conn).await {
        Ok(page) => Ok(Some(page)),
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads how the last jobs of a kind ended, the newest first.
async fn earlier(
    conn: &mut AsyncPgConnection,
    kind: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Earlier>, Error> {
    let mut jobs = Vec::new();
    for state in [JobState::Completed, JobState::Dead, JobState::Cancelled] {
        let list = Filter::new().state(state).kind(kind);
        let find = admin::find(list).size(EARLIER).visit_at_most(VISITS);
        let ended = find.run_async(conn).await?.jobs;
        jobs.extend(ended.iter().filter_map(|job| Earlier::of(job, now)));
    }
    jobs.sort_by_key(|job| std::cmp::Reverse((job.ended, job.id)));
    jobs.truncate(usize::from(EARLIER));
    Ok(jobs)
}

impl Earlier {
    fn of(job: &Summary, now: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            id: job.id,
            state: job.state,
            ended: job.finished_at?,
            took: rows::took(job, now),
            attempt: job.attempt,
        })
    }
}
