//! The one row that a statement answers.

use diesel::result::{Error, QueryResult};

/// Gives the row that a statement has answered on an async connection, to `load`.
///
/// `get_result` of diesel-async is content with the row, and PostgreSQL sends it before a statement outside of a transaction has
/// committed: who is told so may be told of a job that is not there after a failover. `load` waits for the statement's end.
pub(crate) fn only<U>(rows: Vec<U>) -> QueryResult<U> {
    rows.into_iter().next().ok_or(Error::NotFound)
}
