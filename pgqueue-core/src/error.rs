//! The one public error. Its message names the object, the cause and the next step; [`ErrorKind`] is what a program
//! can act on. It travels inside Diesel's own error through a user's transaction and comes back by [`Error::of`].

use std::fmt;

use diesel::result::DatabaseErrorKind;
use diesel::result::Error as DieselError;

/// Any error of a handler: `anyhow::Error`, `String`, or what implements [`std::error::Error`].
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value of a job is out of its bounds. [`Error::invalid`] measures it, and nothing was sent to the database; only a
    /// payload over the database's own limit is found there, and has failed the transaction.
    Invalid,
    /// A setting of the worker cannot work; found when it was built.
    Configuration,
    /// The tables are missing, or older than this version of the crate: call `migrate`.
    Migration,
    /// Another run of the job has begun, or it was ended by somebody else: this run may not change it any more.
    LeaseLost,
    /// The run has ended by `complete_in` already.
    AlreadyCompleted,
    /// A conflict with a concurrent transaction (SQLSTATE 40001): run your transaction again.
    Serialization,
    /// No connection could be made or taken from the pool.
    Connection,
    /// A panic inside the worker: a bug of pgqueue.
    Internal,
    /// Any other error of the database, in [`source`](std::error::Error::source).
    Database,
}

/// The field of a job that was refused, with the size it had and the bound it broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// Name of the column.
    pub field: &'static str,
    /// What was measured: bytes of a text, levels of nesting, or the number itself.
    pub size: i64,
    /// The bound: the largest value allowed, or the smallest when `size` is below it.
    pub limit: i64,
}

/// An error of pgqueue.
///
/// # Example
/// ```
/// use pgqueue_core::{Error, ErrorKind, NewJob};
/// # use diesel::query_builder::QueryBuilder;
/// let error = NewJob::new("", serde_json::json!({})).validate().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert_eq!(error.invalid().unwrap().field, "kind");
///
/// let diesel_error = diesel::result::Error::from(error); // what `enqueue` returns
/// assert_eq!(Error::of(&diesel_error).unwrap().kind(), ErrorKind::Invalid);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    invalid: Option<Invalid>,
    source: Option<BoxError>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            invalid: None,
            source: None,
        }))
    }

    /// Makes an error of a setting that cannot work, for crates that build on this one.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, message)
    }

    pub(crate) fn out_of_bounds(invalid: Invalid, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Invalid, message);
        error.0.invalid = Some(invalid);
        error
    }

    pub(crate) fn lease_lost(id: i64) -> Self {
        Self::new(
            ErrorKind::LeaseLost,
            format!(
                "job {id} is not this run's any more: its lease was lost or somebody ended it; roll back and stop"
            ),
        )
    }

    pub(crate) fn caused(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Tells what went wrong, as far as a caller can act on it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Names the refused field and its bound, when the kind is [`ErrorKind::Invalid`] and the field was measured here.
    #[must_use]
    pub fn invalid(&self) -> Option<&Invalid> {
        self.0.invalid.as_ref()
    }

    /// Reads the error of pgqueue back out of what `enqueue`, `complete_in` and the other Diesel-typed calls return.
    ///
    /// Errors of the database itself are Diesel's own and give `None`; turn one into an [`Error`] by `from` to get its kind.
    #[must_use]
    pub fn of(error: &DieselError) -> Option<&Self> {
        match error {
            DieselError::QueryBuilderError(cause) => cause.downcast_ref(),
            _ => None,
        }
    }

    /// Is true when the same transaction may succeed if it is run again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Serialization | ErrorKind::Connection
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind)
            .field("message", &self.0.message);
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<Error> for DieselError {
    fn from(error: Error) -> Self {
        Self::QueryBuilderError(Box::new(error))
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let error = match explain(error) {
            DieselError::QueryBuilderError(cause) => match cause.downcast::<Self>() {
                Ok(ours) => return *ours,
                Err(other) => DieselError::QueryBuilderError(other),
            },
            other => other,
        };
        let (kind, advice) = match &error {
            DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
                (ErrorKind::Serialization, "; run the transaction again")
            }
            DieselError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
                _,
            ) => (
                ErrorKind::Connection,
                "; the connection to PostgreSQL is gone, use a new one",
            ),
            _ => (ErrorKind::Database, ""),
        };
        Self::new(kind, format!("pgqueue: {error}{advice}")).caused(error)
    }
}

/// Replaces "relation does not exist" by the call that makes it exist, and a payload over the database's limit by the
/// limits to raise; every other error passes unchanged.
///
/// Diesel hides the SQLSTATE and messages are translated, but an unknown relation, column or function is the only
/// unclassified error that names one of ours and points into the statement.
pub(crate) fn explain(error: DieselError) -> DieselError {
    if let Some(field) = over_the_databases_limit(&error) {
        let message = format!(
            "{field} of the job is larger than this database allows: store the data in a table and give the job its key, or raise \
             pgqueue.payload_limit in the database (1048576 bytes if it is not set, 67108864 at most): a job's own payload_limit does not"
        );
        return Error::new(ErrorKind::Invalid, message).caused(error).into();
    }
    let missing = match &error {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, info) => {
            info.statement_position().is_some() && names_ours(info.message())
        }
        _ => false,
    };
    if !missing {
        return error;
    }
    Error::new(
        ErrorKind::Migration,
        format!(
            "the tables of pgqueue are missing or older than this version of the crate ({error}): \
             run migration {} by `pgqueue_core::migrate(&mut conn)` or `migrate_async`, in the schema of this connection's search_path",
            crate::migrate::newest()
        ),
    )
    .caused(error)
    .into()
}

/// Gives the field that the database's limit of size refuses, if that is what the error is about.
fn over_the_databases_limit(error: &DieselError) -> Option<&'static str> {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, info) => {
            match info.constraint_name() {
                Some("pgqueue_jobs_payload_size") => Some("payload"),
                Some("pgqueue_jobs_metadata_size") => Some("metadata"),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Tells whether a message is about a table or function of ours, or a column that a later migration added to the jobs: of
/// such a one PostgreSQL says only what our statements call it.
fn names_ours(message: &str) -> bool {
    ["pgqueue_", "j.cause"]
        .iter()
        .any(|name| message.contains(name))
}

/// Gives an error's message with those of its causes.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_message = cause.to_string();
        if !message.contains(&cause_message) {
            message.push_str(": ");
            message.push_str(&cause_message);
        }
        source = cause.source();
    }
    message
}
