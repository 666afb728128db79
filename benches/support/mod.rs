//! What the benchmarks share: options, a durable server, meters of processor time and memory, and how results are told.
//!
//! A figure of one run on one machine says little, so each scenario is measured in turns with its yardstick, bare
//! tokio-postgres with ideal statements on the same server, and what is told is the median of the ratios of the rounds.

pub mod bare;
pub mod load;
pub mod options;
pub mod processor;
pub mod report;
pub mod wake;
pub mod work;

use local_postgres::LocalPostgres;

/// Starts a private PostgreSQL that keeps what it commits, or takes the one that `DATABASE_URL` names.
///
/// # Errors
/// When no PostgreSQL is installed, or it does not start.
pub fn server() -> anyhow::Result<LocalPostgres> {
    let server = LocalPostgres::builder()
        .durable()
        .setting("max_wal_size", "8GB")
        .unless_env("DATABASE_URL")
        .start()?;
    Ok(server)
}

/// Gives the middle of some figures; of none, not a number.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
