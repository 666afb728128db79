//! A job as it stands in the table, for reading. What a handler gets is its own type and a [`Context`](crate::Context).

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::data_types::PgInterval;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{Interval, Jsonb, Nullable};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::run_error::{RunError, RunErrors};
use crate::state::JobState;

/// One row of `pgqueue_jobs`, all columns.
///
/// JSON that serde cannot read, nested deeper than 127 levels, comes as a `String` of its text.
///
/// Written as JSON its fields are named as the columns, the state is its name, times are RFC 3339, and `timeout` is
/// `timeout_ms`, in milliseconds.
///
/// ```no_run
/// use diesel::prelude::*;
/// use pgqueue_core::{JobRow, JobState, schema::pgqueue_jobs};
/// # fn read(conn: &mut impl diesel::connection::LoadConnection<Backend = diesel::pg::Pg>) -> QueryResult<()> {
/// let dead: Vec<JobRow> = pgqueue_jobs::table
///     .filter(pgqueue_jobs::state.eq(JobState::Dead))
///     .select(JobRow::as_select())
///     .load(conn)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Serialize)]
#[diesel(table_name = crate::schema::pgqueue_jobs)]
#[diesel(check_for_backend(Pg))]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct JobRow {
    pub id: i64,
    pub run_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub fencing_token: i64,
    pub claimed_by: Option<i64>,
    pub claim_batch: Option<i64>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub deadline_at: Option<DateTime<Utc>>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub attempt: i32,
    pub max_retries: i32,
    pub lost: i32,
    pub priority: i16,
    pub state: JobState,
    pub queue: String,
    pub kind: String,
    #[diesel(deserialize_as = Document)]
    pub payload: Value,
    pub unique_key: Option<String>,
    #[serde(rename = "timeout_ms", serialize_with = "milliseconds")]
    pub timeout: Option<Span>,
    #[diesel(deserialize_as = RunErrors)]
    pub errors: Vec<RunError>,
    #[diesel(deserialize_as = MaybeDocument)]
    pub metadata: Option<Value>,
    #[diesel(deserialize_as = MaybeDocument)]
    pub progress: Option<Value>,
    #[diesel(deserialize_as = MaybeDocument)]
    pub output: Option<Value>,
    pub cause: Option<i64>,
}

fn milliseconds<S: Serializer>(length: &Option<Span>, serializer: S) -> Result<S::Ok, S::Error> {
    let milliseconds =
        length.map(|Span(length)| u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    milliseconds.serialize(serializer)
}

/// JSON that somebody stored. PostgreSQL nests it deeper than serde reads: one such row must not fail all that are read with it.
#[derive(Debug, Clone, PartialEq, FromSqlRow)]
pub struct Document {
    value: Result<Value, Unreadable>,
    /// Of its text.
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Unreadable {
    text: String,
    cause: String,
}

impl Document {
    /// Gives the value, or why serde cannot read it.
    pub(crate) fn read(self) -> Result<Value, String> {
        self.value.map_err(|unreadable| unreadable.cause)
    }

    /// One that can be read.
    #[cfg(test)]
    pub(crate) fn of(value: Value) -> Self {
        Self {
            bytes: value.to_string().len(),
            value: Ok(value),
        }
    }

    /// Gives the length of its text.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl FromSql<Jsonb, Pg> for Document {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let [1, text @ ..] = value.as_bytes() else {
            return Err("jsonb of an unknown version".into());
        };
        let unreadable = |cause: serde_json::Error| Unreadable {
            text: String::from_utf8_lossy(text).into_owned(),
            cause: cause.to_string(),
        };
        Ok(Self {
            value: serde_json::from_slice(text).map_err(unreadable),
            bytes: text.len(),
        })
    }
}

impl From<Document> for Value {
    fn from(document: Document) -> Self {
        document
            .value
            .unwrap_or_else(|unreadable| Self::String(unreadable.text))
    }
}

/// A nullable [`Document`] of a [`JobRow`]: `Option<Document>` cannot turn itself into `Option<Value>`.
#[derive(Debug, FromSqlRow)]
pub struct MaybeDocument(Option<Document>);

impl FromSql<Nullable<Jsonb>, Pg> for MaybeDocument {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <Document as FromSql<Jsonb, Pg>>::from_sql(value).map(|document| Self(Some(document)))
    }

    fn from_nullable_sql(value: Option<PgValue<'_>>) -> deserialize::Result<Self> {
        value.map_or(Ok(Self(None)), Self::from_sql)
    }
}

impl From<MaybeDocument> for Option<Value> {
    fn from(document: MaybeDocument) -> Self {
        document.0.map(Value::from)
    }
}

/// A length of time in an `interval` column: at microsecond precision, from zero to about 290,000 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = Interval)]
pub struct Span(pub Duration);

const DAY: i64 = 86_400_000_000;

impl Span {
    fn microseconds(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl From<Duration> for Span {
    fn from(length: Duration) -> Self {
        Self(length)
    }
}

impl ToSql<Interval, Pg> for Span {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Interval, Pg>::to_sql(
            &PgInterval::from_microseconds(self.microseconds()),
            &mut out.reborrow(),
        )
    }
}

impl FromSql<Interval, Pg> for Span {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let interval = <PgInterval as FromSql<Interval, Pg>>::from_sql(value)?;
        let days = i64::from(interval.days) + i64::from(interval.months) * 30;
        let microseconds = interval
            .microseconds
            .saturating_add(days.saturating_mul(DAY));
        Ok(Self(Duration::from_micros(
            u64::try_from(microseconds).unwrap_or(0),
        )))
    }
}
