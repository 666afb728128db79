//! A database that looks used: for tests of the dashboard, its screenshots and its benchmark.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

/// How many jobs of each sort.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Completed within the last day.
    pub completed: u32,
    /// Dead, of three causes.
    pub dead: u32,
    /// Pending: due, scheduled, and waiting for a retry.
    pub pending: u32,
}

impl Scale {
    /// A small shop.
    pub const SMALL: Self = Self {
        completed: 3000,
        dead: 150,
        pending: 400,
    };
    /// What the dashboard must be quick with.
    pub const LARGE: Self = Self {
        completed: 5_000_000,
        dead: 200_000,
        pending: 100_000,
    };
}

/// Fills the tables of a migrated database.
///
/// # Errors
/// What the database refuses.
pub fn seed(conn: &mut PgConnection, scale: Scale) -> QueryResult<()> {
    let script = include_str!("seed.sql")
        .replace(":completed", &scale.completed.to_string())
        .replace(":dead", &scale.dead.to_string())
        .replace(":pending", &scale.pending.to_string());
    conn.batch_execute(&script)
}
