//! Changing one job, copying it, and writing down that its secrets were looked at.

use chrono::{DateTime, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::AsyncConnectionCore;
use serde::de::IgnoredAny;

use super::Who;
use crate::answer;
use crate::enqueue::{check_name, check_range};
use crate::error::{Error, ErrorKind, Invalid, explain};
use crate::sql::operators::{CloneJob, EditJob, Reveal};

/// Parts of names that hint at a secret: what has one of them is not repeated in the audit, nor shown by the dashboard
/// unless somebody asks for it.
pub const SECRET_WORDS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "api_key",
    "apikey",
    "api-key",
    "credential",
    "private_key",
    "privatekey",
    "cookie",
    "session_id",
];

/// Largest payload that a table of ours takes, whatever `pgqueue.payload_limit` says.
const LARGEST_PAYLOAD: u64 = 64 << 20;
/// Deepest payload: a worker reads no more levels.
const DEPTH_LIMIT: usize = 127;

/// Changes a pending or dead job, if it is still the `version` that [`job`](super::job) gave: what somebody else did
/// meanwhile is never overwritten.
pub fn edit(id: i64, version: impl Into<String>) -> Edit {
    Edit {
        id,
        version: version.into(),
        payload: None,
        queue: None,
        priority: None,
        run_at: None,
        max_retries: None,
        requeues: false,
        hidden: SECRET_WORDS.map(str::to_owned).to_vec(),
        who: Who::default(),
    }
}

/// What becomes of a job; nothing happens until [`run`](Self::run) or [`run_async`](Self::run_async). Fields that are not
/// named stay. Its audit row has what differs before and after.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it runs"]
pub struct Edit {
    id: i64,
    version: String,
    payload: Option<String>,
    queue: Option<String>,
    priority: Option<i16>,
    run_at: Option<DateTime<Utc>>,
    max_retries: Option<i32>,
    requeues: bool,
    hidden: Vec<String>,
    who: Who,
}

/// What an edit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edited {
    /// The job is changed.
    Saved,
    /// Nothing: it is not the version that was shown, or neither pending nor dead, or gone.
    Outdated,
    /// Nothing: another pending or running job has its unique key in that queue.
    KeyTaken {
        /// That job.
        by: i64,
    },
}

impl Edit {
    says_who!();

    /// Gives it this payload: the text of a JSON value, kept with all digits of its numbers. As PostgreSQL prints it, it has at
    /// most the bytes that `pgqueue.payload_limit` of the database allows, 1 MiB if it is not set.
    pub fn payload(mut self, json: impl Into<String>) -> Self {
        self.payload = Some(json.into());
        self
    }

    /// Puts it into this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Gives it this priority, 0 to 9.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Makes it due at this time.
    pub fn run_at(mut self, time: DateTime<Utc>) -> Self {
        self.run_at = Some(time);
        self
    }

    /// Gives it so many retries.
    pub fn max_retries(mut self, retries: i32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Requeues it, too: a dead job is pending then, its attempts back to zero; due now unless [`run_at`](Self::run_at) says else.
    pub fn requeue(mut self) -> Self {
        self.requeues = true;
        self
    }

    /// Keeps what has one of these words, too, out of the audit; see [`SECRET_WORDS`].
    pub fn hide(mut self, words: impl IntoIterator<Item = String>) -> Self {
        let words = words.into_iter().map(|word| word.to_lowercase());
        self.hidden.extend(words);
        self
    }

    /// Changes the job, on a sync connection.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a value out of bounds and for a payload that is no JSON; [`ErrorKind::Serialization`]
    /// when its unique key was taken at the same moment; errors of the database.
    pub fn run<C: LoadConnection<Backend = Pg>>(self, conn: &mut C) -> Result<Edited, Error> {
        self.check()?;
        told(RunQueryDsl::get_result(self.statement(), conn))
    }

    /// Changes the job, on an async connection. Effect and errors are those of [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancellation safety
    /// Dropped before it resolves, it has happened or not.
    pub async fn run_async<C: AsyncConnectionCore<Backend = Pg>>(
        self,
        conn: &mut C,
    ) -> Result<Edited, Error> {
        self.check()?;
        let rows = diesel_async::RunQueryDsl::load(self.statement(), conn).await;
        told(rows.and_then(answer::only))
    }

    fn statement(&self) -> EditJob<'_> {
        EditJob {
            id: self.id,
            version: &self.version,
            payload: self.payload.as_deref(),
            queue: self.queue.as_deref(),
            priority: self.priority,
            run_at: self.run_at,
            max_retries: self.max_retries,
            requeues: self.requeues,
            hidden: &self.hidden,
            actor: self.who.actor.as_deref(),
            reason: self.who.reason.as_deref(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(queue) = &self.queue {
            check_name("queue", queue)?;
        }
        if let Some(priority) = self.priority {
            check_range("priority", priority.into(), 0, 9)?;
        }
        if let Some(retries) = self.max_retries {
            check_range("max_retries", retries.into(), 0, 1000)?;
        }
        if let Some(time) = self.run_at {
            check_range("run_at", time.timestamp(), 0, 253_402_300_799)?; // 1970 to the end of the year 9999
        }
        self.payload.as_deref().map_or(Ok(()), check_payload)
    }
}

/// Checks a payload without reading its numbers, which would round them. Its size is left to PostgreSQL, which counts it as it
/// prints it and knows the database's own limit; but it is not asked to print numbers that have more digits than any limit allows.
fn check_payload(json: &str) -> Result<(), Error> {
    let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    if let Err(cause) = serde_json::from_str::<IgnoredAny>(json) {
        return invalid(format!("the payload is not JSON: {cause}"));
    }
    let depth = depth(json);
    if depth > DEPTH_LIMIT {
        return invalid(format!(
            "the payload has {depth} levels: at most {DEPTH_LIMIT} can be run"
        ));
    }
    let zeros = zeros(json);
    if zeros > LARGEST_PAYLOAD {
        return invalid(format!(
            "the payload's numbers have some {zeros} digits: a payload has at most {LARGEST_PAYLOAD} bytes, whatever the \
             database's limit"
        ));
    }
    Ok(())
}

/// Counts the levels of what is JSON.
fn depth(json: &str) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    for byte in outside_of_texts(json) {
        match byte {
            b'[' | b'{' => level += 1,
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(level);
    }
    deepest
}

/// Adds up the exponents of the numbers of what is JSON: PostgreSQL prints about so many zeros.
fn zeros(json: &str) -> u64 {
    let mut bytes = outside_of_texts(json).peekable();
    let mut zeros = 0_u64;
    while let Some(byte) = bytes.next() {
        if !matches!(byte, b'e' | b'E') {
            continue;
        }
        bytes.next_if(|sign| matches!(sign, b'+' | b'-'));
        let mut exponent = 0_u64;
        while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
            exponent = exponent
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'));
        }
        zeros = zeros.saturating_add(exponent);
    }
    zeros
}

fn outside_of_texts(json: &str) -> impl Iterator<Item = u8> {
    let (mut in_text, mut escaped) = (false, false);
    json.bytes().filter(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ => return !in_text,
        }
        false
    })
}

fn told(answer: QueryResult<Answer>) -> Result<Edited, Error> {
    let answer = answer.optional().map_err(refused)?;
    answer.map_or(Ok(Edited::Outdated), Answer::told)
}

/// What the statement answers of a job that is still what was shown.
#[derive(Debug, Queryable)]
struct Answer {
    blocker: Option<i64>,
    changed: Option<i64>,
    /// Bytes of the payload and their limit, where they are more.
    bytes: Option<i64>,
    most: Option<i64>,
}

impl Answer {
    fn told(self) -> Result<Edited, Error> {
        if let (Some(size), Some(limit)) = (self.bytes, self.most) {
            let message = format!(
                "the payload has {size} bytes as PostgreSQL prints it: at most {limit} are allowed; store the data in a table and \
                 give the job its key, or raise pgqueue.payload_limit in the database"
            );
            let invalid = Invalid {
                field: "payload",
                size,
                limit,
            };
            return Err(Error::out_of_bounds(invalid, message));
        }
        Ok(match (self.blocker, self.changed) {
            (_, Some(_)) => Edited::Saved,
            (Some(by), None) => Edited::KeyTaken { by },
            (None, None) => Edited::Outdated,
        })
    }
}

/// Tells values that only PostgreSQL could find fault with, and a race for a unique key, from other errors.
fn refused(error: DieselError) -> Error {
    let error = explain(error);
    match &error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Error::new(
            ErrorKind::Serialization,
            "another job took the unique key at the same moment: nothing was changed",
        ),
        DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, info) => Error::new(
            ErrorKind::Invalid,
            format!("PostgreSQL refuses the value: {}", info.message()),
        ),
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, info)
            if ["json", "Unicode", "numeric"]
                .iter()
                .any(|word| info.message().contains(word)) =>
        {
            let message = format!("PostgreSQL refuses the payload: {}", info.message());
            Error::new(ErrorKind::Invalid, message)
        }
        _ => error.into(),
    }
}

/// Enqueues a copy of a job: the same queue, kind, payload and settings, due now, without the unique key; the copy's
/// metadata has the original's id as `cloned_from`.
pub fn clone(id: i64) -> JobAction {
    JobAction {
        id,
        clones: true,
        who: Who::default(),
    }
}

/// Writes into the audit that somebody looks at what is hidden of a job.
pub fn reveal(id: i64) -> JobAction {
    JobAction {
        id,
        clones: false,
        who: Who::default(),
    }
}

/// An action on one job; nothing happens until [`run`](Self::run) or [`run_async`](Self::run_async).
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it runs"]
pub struct JobAction {
    id: i64,
    clones: bool,
    who: Who,
}

impl JobAction {
    says_who!();

    /// Acts, on a sync connection. Gives the id of the copy, or of the job that is looked at; nothing: there is no such job.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the job is larger than the database's limit for new ones; errors of the database.
    pub fn run<C: LoadConnection<Backend = Pg>>(self, conn: &mut C) -> Result<Option<i64>, Error> {
        let answer = if self.clones {
            RunQueryDsl::get_result(self.copy(), conn)
        } else {
            RunQueryDsl::get_result(self.look(), conn)
        };
        answer.optional().map_err(refused)
    }

    /// Acts, on an async connection. Effect and errors are those of [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancellation safety
    /// Dropped before it resolves, it has happened or not.
    pub async fn run_async<C: AsyncConnectionCore<Backend = Pg>>(
        self,
        conn: &mut C,
    ) -> Result<Option<i64>, Error> {
        let rows = if self.clones {
            diesel_async::RunQueryDsl::load(self.copy(), conn).await
        } else {
            diesel_async::RunQueryDsl::load(self.look(), conn).await
        };
        rows.and_then(answer::only).optional().map_err(refused)
    }

    fn copy(&self) -> CloneJob<'_> {
        CloneJob {
            id: self.id,
            actor: self.who.actor.as_deref(),
            reason: self.who.reason.as_deref(),
        }
    }

    fn look(&self) -> Reveal<'_> {
        Reveal {
            id: self.id,
            actor: self.who.actor.as_deref(),
            reason: self.who.reason.as_deref(),
        }
    }
}
