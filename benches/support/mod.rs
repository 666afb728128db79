//! What the benchmarks share: options, a durable server, meters of processor time and memory, and how results are told.
//!
//! A figure of one run on one machine says little, so each scenario is measured in turns with its yardstick, bare
//! tokio-postgres with ideal statements on the same server, and what is told is the median of the ratios of the rounds.

pub mod bare;
pub mod drain;
pub mod histogram;
pub mod load;
pub mod number;
pub mod options;
pub mod processor;
pub mod report;
pub mod run;
mod target;
pub mod wake;
pub mod wake_ups;
pub mod watch;
pub mod work;

use local_postgres::{Builder, LocalPostgres};

/// Starts a private PostgreSQL that keeps what it commits, or takes the one that `DATABASE_URL` names.
///
/// # Errors
/// When no PostgreSQL is installed, or it does not start.
pub fn server() -> anyhow::Result<LocalPostgres> {
    Ok(durable().start()?)
}

/// Starts such a server that also says what each statement took, if it has the extension `pg_stat_statements`.
///
/// # Errors
/// As [`server`].
pub fn counting_server() -> anyhow::Result<LocalPostgres> {
    let counting = durable()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.track_planning", "on")
        .setting("pg_stat_statements.track_utility", "off")
        .setting("autovacuum", "off") // its transactions would pass for a worker's
        .start();
    Ok(counting.or_else(|_not_installed| durable().start())?)
}

/// Its log is large enough that no checkpoint runs into a measurement by its size.
fn durable() -> Builder {
    LocalPostgres::builder()
        .durable()
        .setting("max_wal_size", "8GB")
        .unless_env("DATABASE_URL")
}

/// Gives the middle of some figures, or what is half-way between the two in the middle; of none, not a number.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn of_two_rounds_neither_the_better_nor_the_worse_is_the_median() {
        assert!((median(&[2.0, 1.0]) - 1.5).abs() < f64::EPSILON);
        assert!((median(&[3.0, 9.0, 1.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
