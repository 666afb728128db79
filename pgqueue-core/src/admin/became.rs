//! What became of jobs that an operation requeued: the trash names them for a day, and here they are looked up as they are now.
//!
//! Called by who shows an operation, also while its canary waits. It reads a bounded number of jobs, by primary keys.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncConnectionCore, RunQueryDsl};
use serde::Serialize;

use crate::error::{Error, explain};
use crate::sql::operators::ReadBecame;
use crate::state::JobState;

/// Most jobs that are looked up.
const LOOK_LIMIT: i64 = 1000;

/// Jobs of an operation that are in one state by now.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Serialize)]
#[non_exhaustive]
pub struct Became {
    /// The state; none: they are gone.
    pub state: Option<JobState>,
    /// How many they are.
    pub jobs: i64,
    /// The first 100 of them.
    pub ids: Vec<i64>,
}

/// Tells in which states the jobs of a requeue or purge are by now: the first 1,000 by id, as long as it can be undone.
/// Nothing when that is over.
///
/// # Errors
/// Errors of the database.
pub async fn became_async<C>(conn: &mut C, operation: i64) -> Result<Vec<Became>, Error>
where
    C: AsyncConnectionCore<Backend = Pg>,
{
    let limit = LOOK_LIMIT;
    let read = ReadBecame { operation, limit }.load(conn);
    Ok(read.await.map_err(explain)?)
}
