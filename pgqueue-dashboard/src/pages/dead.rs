//! The inbox of dead jobs: of what they died, since when, how often, and the means to act on exactly one cause.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, Filter, Record, Summary};
use pgqueue_core::stats::{self, CauseStats, Count};
use pgqueue_core::{Error, JobState};
use serde::Deserialize;

use crate::frame::{Frame, Section};
use crate::link::encoded;
use crate::live::{CAUSES, Snapshot};
use crate::problem::Problem;
use crate::show;
use crate::trend::Trend;
use crate::visit::Visit;

/// Kinds, and queues, that a row names; more are counted.
const NAMED: usize = 2;
/// Jobs that the page of a cause lists.
const NEWEST: u16 = 25;
/// Characters of a message that the page of a cause shows; the page of the job has all.
const MESSAGE_LIMIT: usize = 16_000;
/// Lengths that a purge by age offers, as filters write them.
const AGES: [(&str, &str); 5] = [
    ("1d", "1 day"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("365d", "1 year"),
];

/// The query of the inbox.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    sort: Option<String>,
}

/// What both pages show of a cause.
struct Cause {
    stats: CauseStats,
}

#[derive(Template)]
#[template(path = "dead.html")]
struct Inbox {
    frame: Frame,
    causes: Vec<Cause>,
    read_at: DateTime<Utc>,
    by_count: bool,
    /// Queues, for the purge by age.
    snapshot: Arc<Snapshot>,
}

#[derive(Template)]
#[template(path = "dead_cause.html")]
struct CausePage {
    frame: Frame,
    cause: Cause,
    message: String,
    is_cut: bool,
    jobs: Vec<Summary>,
}

impl Cause {
    fn trend<'a>(&'a self, frame: &Frame) -> Trend<'a> {
        Trend {
            hours: &self.stats.trend,
            now: frame.now,
            zone: frame.zone(),
            is_large: false,
        }
    }

    fn chart<'a>(&'a self, frame: &Frame) -> Trend<'a> {
        Trend {
            is_large: true,
            ..self.trend(frame)
        }
    }

    fn heading(&self) -> &str {
        match self.stats.pattern.as_str() {
            "" => "died without a message",
            pattern => pattern,
        }
    }

    fn named<'a>(&self, names: &'a [String]) -> &'a [String] {
        &names[..names.len().min(NAMED)]
    }

    fn unnamed(&self) -> usize {
        let rest = |names: &[String]| names.len().saturating_sub(NAMED);
        rest(&self.stats.kinds) + rest(&self.stats.queues)
    }

    /// The filter of exactly these jobs, as the list and bulk operations write it.
    fn filter(&self) -> String {
        format!("state:dead cause:{}", self.stats.cause)
    }

    /// The query of the list of exactly these jobs.
    fn query(&self) -> String {
        encoded(&[("q", &self.filter())])
    }

    fn link(&self, frame: &Frame, action: &str) -> String {
        let query = encoded(&[("action", action), ("filter", &self.filter())]);
        format!("{}/bulk/preview?{query}", frame.base)
    }
}

impl Inbox {
    fn ages(&self) -> [(&'static str, &'static str); 5] {
        AGES
    }

    fn is_full(&self) -> bool {
        self.causes.len() >= CAUSES
    }

    fn jobs(&self) -> Count {
        self.total(|cause| cause.jobs)
    }

    fn last_hour(&self) -> Count {
        self.total(|cause| cause.last_hour)
    }

    /// Adds up a count of all causes; it is a lower bound when one of them is, or when there are more causes.
    fn total(&self, of: fn(&CauseStats) -> Count) -> Count {
        let counts = || self.causes.iter().map(|cause| of(&cause.stats));
        Count {
            at_least: counts().map(|count| count.at_least).sum(),
            exact: counts().all(|count| count.exact) && !self.is_full(),
        }
    }
}

/// `GET /dead`
pub(crate) async fn inbox(visit: Visit, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    let live = &visit.dashboard.inner.live;
    let by_count = asked.sort.as_deref() == Some("count");
    let found = live.causes().await?;
    let mut causes: Vec<Cause> = found
        .all
        .iter()
        .cloned()
        .map(|stats| Cause { stats })
        .collect();
    if by_count {
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.stats.jobs.at_least)); // stable: then the one seen last
    }
    visit.page(&Inbox {
        frame: visit.frame(Section::Dead, "Dead jobs"),
        causes,
        read_at: found.at,
        by_count,
        snapshot: live.snapshot().await?,
    })
}

/// `GET /dead/{cause}`
pub(crate) async fn cause(visit: Visit, cause: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (stats, message, jobs) = told(&visit, &cause).await?;
    let (message, is_cut) = show::cut(message, MESSAGE_LIMIT);
    visit.page(&CausePage {
        frame: visit.frame(Section::Dead, "Cause of death"),
        cause: Cause { stats },
        message,
        is_cut,
        jobs,
    })
}

/// Reads a cause by its number, the whole message of its newest job, and its newest jobs.
pub(crate) async fn told(
    visit: &Visit,
    cause: &str,
) -> Result<(CauseStats, String, Vec<Summary>), Problem> {
    let unknown = || {
        Problem::not_found(
            "no dead job has this cause",
            "its jobs were requeued or purged, or retention removed them: look at the dead inbox for what is left",
        )
    };
    let cause: i64 = cause.parse().map_err(|_| unknown())?;
    let found = visit
        .database()
        .read(move |conn| load(conn, cause).boxed())
        .await?;
    let (stats, sample, jobs) = found.ok_or_else(unknown)?;
    let newest = sample.and_then(|job| job.failures().pop());
    let message = newest.map_or(stats.message.clone(), |failure| failure.message);
    Ok((stats, message, jobs))
}

/// Reads a cause, its newest job, and the list of its newest jobs.
async fn load(
    conn: &mut AsyncPgConnection,
    cause: i64,
) -> Result<Option<(CauseStats, Option<Record>, Vec<Summary>)>, Error> {
    let Some(stats) = stats::cause_async(conn, cause).await? else {
        return Ok(None);
    };
    let sample = admin::job_async(conn, stats.sample).await?;
    let filter = Filter::new().state(JobState::Dead).cause(cause);
    let page = admin::find(filter).size(NEWEST).run_async(conn).await?;
    Ok(Some((stats, sample, page.jobs)))
}
