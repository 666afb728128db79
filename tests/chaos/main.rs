//! A soak of the whole queue under faults, and a checker that judges it by evidence outside the queue's own tables.
//!
//! Producers, workers and operators go about their business; processes are killed and stopped, networks go deaf, answers are
//! lost, sessions are ended, PostgreSQL restarts, crashes and fails over. What a run decides comes from its seed; what time
//! makes of it does not, nor which sessions it finds to end: a run that is repeated is alike and not the same.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod bugs;
mod checker;
mod cluster;
mod failover;
mod faults;
mod fleet;
mod history;
mod operators;
mod report;
mod soak;
mod watch;

use std::time::Duration;

use soak::{Least, Settings};

/// Reads a number from the environment.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}: write a number")),
    )
}

fn settings(length: Duration) -> Settings {
    Settings {
        seed: number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)),
        length,
        least: Least {
            jobs: 20_000,
            kills: 100,
            restarts: 1,
            promotions: 1,
            each: 1,
            strikes: 1,
            commits: 100,
        },
        outages_every: Duration::from_secs(40),
        restarts_to_promotion: 1,
        bug: None,
    }
}

#[expect(clippy::print_stderr, reason = "the figures are what one runs it for")]
async fn run_without_violations(settings: Settings) {
    let report = soak::run(settings).await;
    eprintln!("{report}");
    assert!(report.violations.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_minutes_of_faults_break_no_guarantee() {
    run_without_violations(settings(Duration::from_secs(120))).await;
}

/// `CHAOS_MINUTES` and `CHAOS_SEED` say how long, and which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is told to, an hour by default"]
async fn a_long_time_of_faults_breaks_no_guarantee() {
    let minutes = number("CHAOS_MINUTES").unwrap_or(60);
    let part = |of_an_hour: u64| usize::try_from((of_an_hour * minutes / 60).max(1)).unwrap();
    run_without_violations(Settings {
        // A new standby copies what has become a large database: the processes have more of the time.
        restarts_to_promotion: 6,
        least: Least {
            jobs: i64::try_from(part(1_000_000)).unwrap(),
            kills: part(2000),
            restarts: part(50),
            promotions: part(5),
            each: part(60),
            strikes: part(30),
            commits: part(6000),
        },
        ..settings(Duration::from_secs(60 * minutes))
    })
    .await;
}
