//! How a job is written into an export: as a line of JSON, or as a line of a table.
//!
//! A spreadsheet takes a cell that begins with `=` for a formula, and runs it: such cells get an apostrophe.

use std::borrow::Cow;

use ::csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use chrono::{DateTime, SecondsFormat, Utc};
use pgqueue_core::JobState;
use pgqueue_core::admin::{Documents, Summary};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::json::Redaction;
use crate::problem::Problem;

/// Names of the columns, in their order; the last three only for who may see payloads.
const COLUMNS: [&str; 19] = [
    "id",
    "state",
    "queue",
    "kind",
    "priority",
    "run_at",
    "created_at",
    "started_at",
    "finished_at",
    "cancel_requested_at",
    "attempt",
    "max_retries",
    "lost",
    "claimed_by",
    "unique_key",
    "last_error",
    "payload",
    "metadata",
    "output",
];
const DOCUMENTS: usize = 3;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Ndjson,
}

/// One job of an export, without what hints at a secret.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    id: i64,
    state: JobState,
    queue: &'a str,
    kind: &'a str,
    priority: i16,
    run_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    cancel_requested_at: Option<DateTime<Utc>>,
    attempt: i32,
    max_retries: i32,
    lost: i32,
    claimed_by: Option<i64>,
    unique_key: Option<&'a str>,
    last_error: Option<&'a str>,
    #[serde(flatten)]
    documents: Option<Shown>,
}

#[derive(Serialize)]
struct Shown {
    payload: Option<Box<RawValue>>,
    metadata: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
}

impl<'a> Row<'a> {
    pub(super) fn new(
        job: &'a Summary,
        documents: Option<&Documents>,
        redaction: &Redaction,
    ) -> Self {
        let shown = |json: &String| redaction.raw(json, usize::MAX).0;
        Self {
            id: job.id,
            state: job.state,
            queue: &job.queue,
            kind: &job.kind,
            priority: job.priority,
            run_at: job.run_at,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            cancel_requested_at: job.cancel_requested_at,
            attempt: job.attempt,
            max_retries: job.max_retries,
            lost: job.lost,
            claimed_by: job.claimed_by,
            unique_key: job.unique_key.as_deref(),
            last_error: job.last_error.as_deref(),
            documents: documents.map(|documents| Shown {
                payload: shown(&documents.payload),
                metadata: documents.metadata.as_ref().and_then(shown),
                output: documents.output.as_ref().and_then(shown),
            }),
        }
    }

    fn cells(&self) -> Vec<Cow<'_, str>> {
        let text = |text: Option<&'a str>| plain(text.unwrap_or_default());
        let mut cells = vec![
            number(self.id),
            Cow::Borrowed(self.state.name()),
            plain(self.queue),
            plain(self.kind),
            number(self.priority),
            time(Some(self.run_at)),
            time(Some(self.created_at)),
            time(self.started_at),
            time(self.finished_at),
            time(self.cancel_requested_at),
            number(self.attempt),
            number(self.max_retries),
            number(self.lost),
            self.claimed_by.map_or(Cow::Borrowed(""), number),
            text(self.unique_key),
            text(self.last_error),
        ];
        if let Some(shown) = &self.documents {
            let documents = [&shown.payload, &shown.metadata, &shown.output];
            let json = documents.map(|json| json.as_ref().map_or("", |json| json.get()));
            cells.extend(json.map(plain));
        }
        cells
    }
}

fn number(number: impl ToString) -> Cow<'static, str> {
    Cow::Owned(number.to_string())
}

fn time(time: Option<DateTime<Utc>>) -> Cow<'static, str> {
    time.map_or(Cow::Borrowed(""), |time| {
        Cow::Owned(time.to_rfc3339_opts(SecondsFormat::Micros, true))
    })
}

/// Makes sure that no spreadsheet takes a text for a formula.
fn plain(text: &str) -> Cow<'_, str> {
    // The wide ones are what some spreadsheets turn into the others.
    let dangerous = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(dangerous) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn columns(with_documents: bool) -> &'static [&'static str] {
    let left_out = if with_documents { 0 } else { DOCUMENTS };
    &COLUMNS[..COLUMNS.len() - left_out]
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    pub(super) fn disposition(self) -> &'static str {
        match self {
            Self::Csv => "attachment; filename=\"jobs.csv\"",
            Self::Ndjson => "attachment; filename=\"jobs.ndjson\"",
        }
    }

    /// Gives what comes before the first job.
    pub(super) fn head(self, with_documents: bool) -> Result<Vec<u8>, Problem> {
        let mut text = Vec::new();
        if self == Self::Csv {
            table(&mut text, |table| {
                table.write_record(columns(with_documents))
            })?;
        }
        Ok(text)
    }

    /// Writes jobs.
    pub(super) fn write(self, text: &mut Vec<u8>, rows: &[Row<'_>]) -> Result<(), Problem> {
        match self {
            Self::Csv => table(text, |table| {
                rows.iter().try_for_each(|row| {
                    table.write_record(row.cells().iter().map(AsRef::<str>::as_ref))
                })
            }),
            Self::Ndjson => rows.iter().try_for_each(|row| {
                serde_json::to_writer(&mut *text, row).map_err(unwritten)?;
                text.push(b'\n');
                Ok(())
            }),
        }
    }

    /// Writes the last line of an export that is not all that matches.
    pub(super) fn cut(
        self,
        text: &mut Vec<u8>,
        limit: usize,
        with_documents: bool,
    ) -> Result<(), Problem> {
        let said = format!("cut after {limit} jobs: narrow the filter for the rest");
        match self {
            Self::Csv => table(text, |table| {
                let mut cells = vec![""; columns(with_documents).len()];
                cells[0] = &said;
                table.write_record(cells)
            }),
            Self::Ndjson => {
                text.extend(json!({ "cut": said }).to_string().bytes());
                text.push(b'\n');
                Ok(())
            }
        }
    }
}

/// Writes lines of a table.
fn table(
    text: &mut Vec<u8>,
    write: impl FnOnce(&mut Writer<&mut Vec<u8>>) -> Result<(), ::csv::Error>,
) -> Result<(), Problem> {
    let mut builder = WriterBuilder::new();
    let builder = builder
        .terminator(Terminator::CRLF)
        .quote_style(QuoteStyle::Necessary);
    let mut table = builder.from_writer(text);
    write(&mut table).map_err(unwritten)?;
    table.flush().map_err(unwritten)
}

fn unwritten(error: impl std::fmt::Display) -> Problem {
    Problem::internal(&format!("cannot write an export: {error}"))
}
