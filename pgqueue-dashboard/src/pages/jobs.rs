//! The list of jobs: a filter, its chips, a page of what matches, and what to do with those selected.

use std::sync::Arc;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::Utc;
use futures_util::FutureExt as _;
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Cursor, Filter, Page};
use pgqueue_core::stats::{Count, QueueStats};
use serde::Deserialize;

use super::news::{News, Shown};
use super::rows::{self, Row};
use crate::columns::Column;
use crate::copy_as::{self, Copied};
use crate::filter::{Mistake, Terms};
use crate::frame::{Frame, Section};
use crate::json::Redaction;
use crate::link::encoded;
use crate::problem::Problem;
use crate::visit::Visit;

/// How many jobs a page may have.
const SIZES: [u16; 3] = [25, 50, 100];

/// The query of the page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
    size: Option<String>,
    at: Option<String>,
    /// Rows of a page that asks for its news, and where it began.
    shown: Option<String>,
    since: Option<String>,
}

impl Asked {
    /// The job that a bare number in the filter means.
    fn job(&self) -> Option<i64> {
        let text = self.q.trim();
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number)
    }

    fn size(&self) -> u16 {
        let size = self.size.as_deref().and_then(|size| size.parse().ok());
        size.filter(|size| SIZES.contains(size)).unwrap_or(50)
    }

    fn cursor(&self) -> Result<Option<Cursor>, Problem> {
        let text = self.at.as_deref().filter(|text| !text.is_empty());
        Ok(text.map(str::parse).transpose()?)
    }

    fn shown(&self) -> Result<Option<Shown>, Problem> {
        let shown = self.shown.as_deref();
        let parse = |ids| Shown::parse(ids, self.since.as_deref());
        shown.map(parse).transpose()
    }
}

/// A link that changes the filter.
struct Choice {
    name: String,
    count: Option<Count>,
    href: String,
    is_on: bool,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Jobs {
    frame: Frame,
    text: String,
    mistake: Option<String>,
    tabs: Vec<Choice>,
    chips: Vec<Choice>,
    sizes: Vec<Choice>,
    columns: Vec<Column>,
    rows: Vec<Row>,
    page: Option<Page>,
    news: News,
    /// Where the page asks for its news.
    news_from: String,
    /// The address of this page.
    again: String,
    /// The address of the list without a place.
    first: String,
    older: Option<String>,
    newer: Option<String>,
    queues: Vec<String>,
    kinds: Arc<Vec<String>>,
    state: Option<JobState>,
    has_no_jobs: bool,
    copies: Vec<Copied>,
}

impl Jobs {
    /// The actions on all that match, for which the state leaves something to do.
    fn bulk_actions(&self) -> Vec<(&'static str, &'static str, bool)> {
        let is = |states: &[JobState]| self.state.is_none_or(|state| states.contains(&state));
        let ended = [JobState::Dead, JobState::Cancelled, JobState::Completed];
        let all = [
            ("requeue", "Requeue", self.frame.may_requeue() && is(&ended)),
            (
                "run_now",
                "Run now",
                self.frame.may_requeue() && is(&[JobState::Pending]),
            ),
            (
                "cancel",
                "Cancel",
                self.frame.may_cancel() && is(&[JobState::Pending, JobState::Running]),
            ),
            ("purge", "Purge", self.frame.may_purge() && is(&ended)),
        ];
        all.into_iter().filter(|(.., shown)| *shown).collect()
    }

    fn export_link(&self, format: &str) -> String {
        let query = encoded(&[("q", &self.text)]);
        format!("{}/export.{format}?{query}", self.frame.base)
    }

    fn bulk_link(&self, action: &str) -> String {
        let query = encoded(&[("action", action), ("filter", &self.text)]);
        format!("{}/bulk/preview?{query}", self.frame.base)
    }

    /// Gives the columns to choose from, each with whether it is chosen.
    fn choices(&self) -> impl Iterator<Item = (Column, bool)> {
        let chosen = self.frame.preferences.columns;
        let may_see = self.frame.may_see_payloads();
        let choices = Column::ALL.into_iter();
        let choices = choices.filter(move |column| may_see || *column != Column::Payload);
        choices.map(move |column| (column, chosen.has(column)))
    }
}

/// `GET /jobs`
pub(crate) async fn show(visit: Visit, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    if let Some(id) = asked.job() {
        let job = format!("{}/jobs/{id}", visit.base);
        let mut response = HttpResponse::SeeOther();
        return Ok(response.insert_header((LOCATION, job)).finish());
    }
    let frame = visit.frame(Section::Jobs, "Jobs");
    let snapshot = visit.dashboard.inner.live.snapshot().await?;
    let kinds = visit
        .dashboard
        .inner
        .suggestions
        .kinds(visit.database())
        .await;
    let (terms, mistake) = match Terms::parse(&asked.q) {
        Ok(terms) => (terms, None),
        Err(Mistake(text)) => (Terms::default(), Some(text)),
    };
    if terms.reads_payloads() && !frame.may_see_payloads() {
        return Err(Problem::forbidden(
            "a filter by args tells of payloads, which takes the permission VIEW_PAYLOAD",
            "remove the args term",
        ));
    }
    let list = List::read(&visit, &terms, &asked, mistake.is_none()).await?;
    let page = list.page;
    let text = if mistake.is_some() {
        asked.q.clone()
    } else {
        terms.to_string()
    };
    let link =
        |terms: &Terms, size: u16, at: Option<&Cursor>| address(&frame.base, terms, size, at);
    let cursors = page
        .as_ref()
        .map(|page| (page.older.as_ref(), page.newer.as_ref()));
    let (older, newer) = cursors.unwrap_or_default();
    let answer = Jobs {
        text,
        mistake,
        tabs: tabs(&frame.base, &terms, asked.size(), &snapshot.queues),
        chips: chips(&frame.base, &terms, asked.size()),
        sizes: sizes(&frame.base, &terms, asked.size()),
        columns: columns(&frame),
        rows: rows::of(&visit, page.as_ref(), &terms, &list.filter),
        news: list.news,
        news_from: news_from(&frame.base, &terms, &asked, &list.shown),
        again: link(&terms, asked.size(), asked.cursor()?.as_ref()),
        first: link(&terms, asked.size(), None),
        older: older.map(|cursor| link(&terms, asked.size(), Some(cursor))),
        newer: newer.map(|cursor| link(&terms, asked.size(), Some(cursor))),
        queues: snapshot
            .queues
            .iter()
            .map(|queue| queue.queue.clone())
            .collect(),
        kinds,
        state: terms.state(),
        has_no_jobs: terms.is_empty()
            && asked.at.is_none()
            && page.as_ref().is_some_and(|page| page.jobs.is_empty()),
        copies: copy_as::list(&visit, &terms),
        page,
        frame,
    };
    visit.page(&answer)
}

/// What is read for a page.
struct List {
    filter: Filter,
    page: Option<Page>,
    shown: Shown,
    news: News,
}

impl List {
    /// Reads a page, or one that was shown before as it is now; nothing for a filter with a mistake.
    async fn read(
        visit: &Visit,
        terms: &Terms,
        asked: &Asked,
        is_understood: bool,
    ) -> Result<Self, Problem> {
        let filter = terms.filter(Utc::now());
        let (page, shown, news) = match asked.shown()? {
            _ if !is_understood => (None, Shown::default(), News::default()),
            Some(shown) => {
                let (page, news) = shown.read(visit, terms, filter.clone()).await?;
                (Some(page), shown, news)
            }
            None => {
                let page = read(visit, filter.clone(), asked).await?;
                let shown = Shown::on(&page, terms, &filter, asked.cursor()?.is_none());
                (Some(page), shown, News::default())
            }
        };
        Ok(Self {
            filter,
            page,
            shown,
            news,
        })
    }
}

async fn read(visit: &Visit, filter: Filter, asked: &Asked) -> Result<Page, Problem> {
    let mut find = admin::find(filter).size(asked.size());
    if let Some(cursor) = asked.cursor()? {
        find = find.at(cursor);
    }
    visit
        .database()
        .read(|conn| find.run_async(conn).boxed())
        .await
}

/// Gives the columns that somebody has chosen and may see.
fn columns(frame: &Frame) -> Vec<Column> {
    let may_see = frame.may_see_payloads();
    let chosen = frame.preferences.columns.iter();
    chosen
        .filter(|column| may_see || *column != Column::Payload)
        .collect()
}

fn news_from(base: &str, terms: &Terms, asked: &Asked, shown: &Shown) -> String {
    let (text, size) = (terms.to_string(), asked.size().to_string());
    let at = asked.at.as_deref().unwrap_or_default();
    let news = shown.query();
    let mut query = vec![("q", text.as_str()), ("size", &size), ("at", at)];
    query.extend(news.iter().map(|(name, value)| (*name, value.as_str())));
    format!("{base}/jobs?{}", encoded(&query))
}

fn tabs(base: &str, terms: &Terms, size: u16, queues: &[QueueStats]) -> Vec<Choice> {
    let queue = terms.iter().find_map(|term| match term {
        crate::filter::Term::Queue(queue) => Some(queue),
        _ => None,
    });
    let total = |count: fn(&QueueStats) -> Count| {
        let of_queue = queues
            .iter()
            .filter(|stats| queue.is_none_or(|queue| *queue == stats.queue));
        of_queue.map(count).fold(
            Count {
                at_least: 0,
                exact: true,
            },
            |sum, one| Count {
                at_least: sum.at_least + one.at_least,
                exact: sum.exact && one.exact,
            },
        )
    };
    let counted = |state: JobState| match state {
        JobState::Pending => total(|queue| queue.pending),
        JobState::Running => total(|queue| queue.running),
        JobState::Completed => total(|queue| queue.completed),
        JobState::Cancelled => total(|queue| queue.cancelled),
        JobState::Dead => total(|queue| queue.dead),
    };
    // A count that leaves terms out would be wrong; only state and queue are in it.
    let has_count = terms
        .in_state(None)
        .iter()
        .all(|term| matches!(term, crate::filter::Term::Queue(_)));
    let tab = |state: Option<JobState>| Choice {
        name: state.map_or("all", JobState::name).to_owned(),
        // "At least 0" tells nothing.
        count: state
            .filter(|_| has_count)
            .map(counted)
            .filter(|count| count.exact || count.at_least > 0),
        href: address(base, &terms.in_state(state), size, None),
        is_on: terms.state() == state,
    };
    [None]
        .into_iter()
        .chain(JobState::ALL.map(Some))
        .map(tab)
        .collect()
}

fn chips(base: &str, terms: &Terms, size: u16) -> Vec<Choice> {
    let chip = |(position, term): (usize, &crate::filter::Term)| Choice {
        name: term.to_string(),
        count: None,
        href: address(base, &terms.without(position), size, None),
        is_on: false,
    };
    terms.iter().enumerate().map(chip).collect()
}

fn sizes(base: &str, terms: &Terms, chosen: u16) -> Vec<Choice> {
    let size = |size: u16| Choice {
        name: size.to_string(),
        count: None,
        href: address(base, terms, size, None),
        is_on: size == chosen,
    };
    SIZES.map(size).into()
}

fn address(base: &str, terms: &Terms, size: u16, at: Option<&Cursor>) -> String {
    let (text, size, at) = (
        terms.to_string(),
        size.to_string(),
        at.map(ToString::to_string),
    );
    let mut query = Vec::new();
    if !text.is_empty() {
        query.push(("q", text.as_str()));
    }
    if size != "50" {
        query.push(("size", &size));
    }
    if let Some(at) = &at {
        query.push(("at", at));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{base}/jobs{mark}{}", encoded(&query))
}

/// Writes a link to the list with this filter.
pub(super) fn link(base: &str, terms: &str) -> String {
    format!("{base}/jobs?{}", encoded(&[("q", terms)]))
}

/// Gives what is hidden from this visitor.
pub(super) fn redaction(visit: &Visit) -> &Redaction {
    &visit.dashboard.inner.redaction
}
