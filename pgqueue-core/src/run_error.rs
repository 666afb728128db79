//! The failures that a job has kept, read with patience: an operator may have written into the column by hand.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::Serialize;
use serde_json::Value;

use crate::model::Document;

/// A run that did not succeed, as [`JobRow::errors`](crate::JobRow::errors) keeps it: the newest ten, oldest first.
///
/// | kind | the run |
/// |---|---|
/// | `error` | returned an error, or asked for a retry |
/// | `panic` | panicked |
/// | `timeout` | was stopped at its deadline |
/// | `payload` | could not begin: the payload or the metadata cannot be read |
/// | `handler` | gave the job up, by [`Outcome::dead`](crate::Outcome::dead) |
/// | `cancelled` | was cancelled, by its handler or while it ran |
/// | `lost` | ended because its worker died |
///
/// What somebody else wrote into the column is read as far as it goes: what is missing is empty, and an element that has
/// no message is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunError {
    /// When it was stored, by the database's clock.
    pub at: Option<DateTime<Utc>>,
    /// The number of the run, 1 for the first.
    pub attempt: i32,
    /// What happened, by the table above. More may come.
    pub kind: String,
    /// The error with its causes, 8 KiB at most.
    pub message: String,
}

impl RunError {
    fn read(element: &Value) -> Self {
        let text = |name: &str| element.get(name).and_then(Value::as_str);
        let attempt = element.get("attempt").and_then(Value::as_i64);
        let message = text("message").or(element.as_str()).map(str::to_owned);
        Self {
            at: text("at").and_then(|at| at.parse().ok()),
            attempt: attempt
                .and_then(|attempt| attempt.try_into().ok())
                .unwrap_or(0),
            kind: text("kind").unwrap_or_default().to_owned(),
            message: message.unwrap_or_else(|| element.to_string()),
        }
    }
}

/// The column `errors` of a [`JobRow`](crate::JobRow).
#[derive(Debug, FromSqlRow)]
pub struct RunErrors(Vec<RunError>);

impl FromSql<Jsonb, Pg> for RunErrors {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let document = <Document as FromSql<Jsonb, Pg>>::from_sql(value)?;
        Ok(Self(match Value::from(document) {
            Value::Array(elements) => elements.iter().map(RunError::read).collect(),
            other => vec![RunError::read(&other)], // too deep for serde: its text
        }))
    }
}

impl From<RunErrors> for Vec<RunError> {
    fn from(errors: RunErrors) -> Self {
        errors.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_keeps_what_can_be_kept() {
        let read = |element| RunError::read(&element);
        let empty = read(json!(""));
        let said = |message: &str| RunError {
            message: message.to_owned(),
            ..empty.clone()
        };

        assert_eq!(
            (empty.at, empty.attempt, empty.kind.as_str()),
            (None, 0, "")
        );
        assert_eq!(read(json!("by hand")), said("by hand"));
        assert_eq!(read(json!(7)), said("7"));
        assert_eq!(read(json!({"note": "x"})), said(r#"{"note":"x"}"#));
        let wrong = json!({"at": "today", "attempt": 1e12, "kind": 3, "message": "no"});
        assert_eq!(read(wrong), said("no"));
    }
}
