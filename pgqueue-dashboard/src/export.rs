//! All jobs that match a filter, as CSV or as NDJSON.
//!
//! They are read a page at a time, each in a short transaction of its own, while the client takes them in: an export of any
//! length costs the memory of one batch, holds no connection while the client is slow, and ends when the client goes away.
//! A failure midway, or the end of the dashboard, breaks the transfer off, so that no file is short without a sign of it.

mod format;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use chrono::Utc;
use diesel_async::AsyncPgConnection;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use pgqueue_core::Error;
use pgqueue_core::admin::{self, Cursor, Documents, Filter, Find, Summary};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Permissions;
use crate::database::Database;
use crate::json::Redaction;
use crate::live::Live;
use crate::pages::bulk::terms;
use crate::problem::Problem;
use crate::visit::Visit;

use format::{Format, Row};

/// Most jobs of an export: what is more is for a copy of the database.
pub(crate) const MOST: usize = 1_000_000;
/// Most exports at once: each keeps a batch in memory, for as long as its client likes.
const EXPORTS: usize = 4;
/// Jobs that are read at once.
const PAGE: u16 = 500;
/// Jobs whose documents are read at once, each a megabyte or more at worst.
const CHUNK: usize = 16;
/// A batch ends when its documents have so many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How often a batch is tried while the database is busy, and how long between.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Makes the slots of the exports that may run at once.
pub(crate) fn slots() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(EXPORTS))
}

/// The query of an export.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    q: String,
    limit: Option<usize>,
}

impl Asked {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(MOST);
        if (1..=MOST).contains(&limit) {
            return Ok(limit);
        }
        let detail = format!("the limit is {limit}");
        Err(Problem::invalid(detail, format!("choose 1 to {MOST}")))
    }
}

/// `GET /export.csv`
pub(crate) async fn csv(visit: Visit, asked: web::Query<Asked>) -> Result<HttpResponse, Problem> {
    answer(&visit, &asked, Format::Csv).await
}

/// `GET /export.ndjson`
pub(crate) async fn ndjson(
    visit: Visit,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    answer(&visit, &asked, Format::Ndjson).await
}

async fn answer(visit: &Visit, asked: &Asked, format: Format) -> Result<HttpResponse, Problem> {
    let slots = Arc::clone(&visit.dashboard.inner.exports);
    visit.dashboard.inner.live.listen_for_signals();
    let mut export = Export {
        filter: terms(visit, &asked.q)?.filter(Utc::now()),
        limit: asked.limit()?,
        written: 0,
        slot: slots.try_acquire_owned().map_err(|_| busy())?,
        live: visit.dashboard.inner.live.clone(),
        database: visit.database().clone(),
        redaction: visit.dashboard.inner.redaction.clone(),
        with_documents: visit.may(Permissions::VIEW_PAYLOAD),
        format,
        place: Place::Start,
        waiting: Vec::new(),
    };
    // What fails before the first byte is a problem like that of any page.
    let mut first = format.head(export.with_documents)?;
    export.append(&mut first).await?;
    let first = Some(Bytes::from(first)).filter(|bytes| !bytes.is_empty());
    let body = stream::iter(first.map(Ok)).chain(stream::unfold(Some(export), further));
    Ok(HttpResponse::Ok()
        .content_type(format.content_type())
        .insert_header(("content-disposition", format.disposition()))
        .streaming(body))
}

fn busy() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "Busy",
        format!("{EXPORTS} exports are running already"),
        "try again when one of them has ended",
    )
    .after(30)
}

/// Gives the next piece of the body. A failure is the last one: it breaks the transfer off.
async fn further(
    export: Option<Export>,
) -> Option<(Result<Bytes, actix_web::Error>, Option<Export>)> {
    let mut export = export?;
    let mut text = Vec::new();
    // An empty piece would end the body.
    while text.is_empty() {
        if matches!(export.place, Place::End) {
            return None;
        }
        let piece = if export.live.has_ended() {
            Err(Problem::ending())
        } else {
            export.append(&mut text).await
        };
        if let Err(problem) = piece {
            tracing::warn!(%problem, "an export broke off");
            return Some((Err(problem.into()), None));
        }
    }
    Some((Ok(Bytes::from(text)), Some(export)))
}

/// Where an export has come to.
#[derive(Debug, Clone)]
enum Place {
    Start,
    At(Cursor),
    /// All jobs are read; some of them may wait for their documents.
    Last,
    End,
}

/// One export that is going on.
struct Export {
    live: Live,
    database: Database,
    filter: Filter,
    redaction: Redaction,
    with_documents: bool,
    format: Format,
    place: Place,
    /// Jobs of the page that are not written yet.
    waiting: Vec<Summary>,
    /// Most jobs that it writes.
    limit: usize,
    written: usize,
    /// Given back with it.
    #[expect(dead_code, reason = "held, not used")]
    slot: OwnedSemaphorePermit,
}

/// What is read at once.
struct Batch {
    rows: Vec<(Summary, Option<Documents>)>,
    waiting: Vec<Summary>,
    older: Option<Cursor>,
}

impl Export {
    /// Reads and writes the next batch, which may be empty.
    async fn append(&mut self, text: &mut Vec<u8>) -> Result<(), Problem> {
        let batch = self.batch().await?;
        let turned = self.waiting.is_empty();
        self.waiting = batch.waiting;
        if turned {
            self.place = batch.older.map_or(Place::Last, Place::At);
        }
        let mut rows = batch.rows.iter();
        let left = self.limit - self.written;
        let written: Vec<Row<'_>> = rows
            .by_ref()
            .take(left)
            .map(|(job, documents)| Row::new(job, documents.as_ref(), &self.redaction))
            .collect();
        self.format.write(text, &written)?;
        self.written += written.len();
        let is_last = self.waiting.is_empty() && matches!(self.place, Place::Last);
        let has_more = rows.next().is_some() || !is_last;
        let is_full = self.written == self.limit;
        if has_more && is_full {
            self.format.cut(text, self.limit, self.with_documents)?;
        }
        if is_full || !has_more {
            self.place = Place::End;
        }
        Ok(())
    }

    /// Reads the next batch, more than once if the database has no time for it.
    async fn batch(&self) -> Result<Batch, Problem> {
        let mut tries = 1;
        loop {
            let (find, waiting) = (self.find(), self.waiting.clone());
            let with_documents = self.with_documents;
            let read = self
                .database
                .read(move |conn| read(conn, find, waiting, with_documents).boxed());
            match read.await {
                Err(problem)
                    if problem.status == StatusCode::SERVICE_UNAVAILABLE && tries < TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Gives the next page, unless jobs of the last one wait.
    fn find(&self) -> Option<Find> {
        let find = admin::find(self.filter.clone()).size(PAGE);
        match &self.place {
            _ if !self.waiting.is_empty() => None,
            Place::Start => Some(find),
            Place::At(cursor) => Some(find.at(cursor.clone())),
            Place::Last | Place::End => None,
        }
    }
}

/// Reads a page and the documents of its first jobs, or of the first of those that wait.
async fn read(
    conn: &mut AsyncPgConnection,
    find: Option<Find>,
    mut waiting: Vec<Summary>,
    with_documents: bool,
) -> Result<Batch, Error> {
    let mut older = None;
    if let Some(find) = find {
        let page = find.run_async(conn).await?;
        (waiting, older) = (page.jobs, page.older);
    }
    let mut rows = Vec::new();
    if !with_documents {
        rows.extend(waiting.drain(..).map(|job| (job, None)));
    }
    let mut bytes = 0;
    while bytes < BATCH_BYTES && !waiting.is_empty() {
        let chunk: Vec<Summary> = waiting.drain(..waiting.len().min(CHUNK)).collect();
        let ids: Vec<i64> = chunk.iter().map(|job| job.id).collect();
        let mut found = admin::documents_async(conn, &ids).await?;
        bytes += found.iter().map(size).sum::<usize>();
        // What is gone by now is left out.
        rows.extend(chunk.into_iter().filter_map(|job| {
            let place = found.iter().position(|one| one.id == job.id)?;
            Some((job, Some(found.swap_remove(place))))
        }));
    }
    Ok(Batch {
        rows,
        waiting,
        older,
    })
}

fn size(documents: &Documents) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    documents.payload.len() + length(&documents.metadata) + length(&documents.output)
}
