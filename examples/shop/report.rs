//! The result of `--once`, for a person to read.

#![expect(clippy::print_stdout, reason = "it tells the person the result")]

use pgqueue_core::{Job, JobRow, JobState};

use crate::dock::CAPACITY;
use crate::evidence::{Evidence, order_of};
use crate::import::Import;
use crate::jobs::{KINDS, NotifyWarehouse};
use crate::progress::rate;

/// Prints what an import did.
pub(crate) fn print_import(import: &Import) {
    let end = if import.whole {
        ""
    } else {
        " before it was stopped"
    };
    let (placed, refused) = (import.placed, import.refused.len());
    println!("\nimported {placed} orders{end}; rolled back {refused}:");
    for order in &import.refused {
        println!(
            "  line {:>4}, order {}: {}",
            order.line, order.number, order.reason
        );
    }
    println!();
}

/// Prints the table, the dead list, and whether everything fits together.
pub(crate) fn print_result(evidence: &Evidence, contradictions: &[String]) {
    print_dead(evidence);
    print_kinds(evidence);
    print_totals(evidence);
    if contradictions.is_empty() {
        println!("\nall checks hold");
    }
    for contradiction in contradictions {
        println!("\nWRONG: {contradiction}");
    }
}

fn print_dead(evidence: &Evidence) {
    println!("\ndead jobs:");
    for job in evidence.dead() {
        println!(
            "  job {:>5}, {} of order {}, {} attempts: {}",
            job.id,
            job.kind,
            order_of(job).unwrap_or_default(),
            job.attempt,
            last_error(job)
        );
    }
}

fn print_kinds(evidence: &Evidence) {
    print!("\n{:<20}", "jobs");
    for state in JobState::ALL {
        print!("{:>11}", state.name());
    }
    println!("{:>11}", "retries");
    for kind in KINDS {
        print!("  {kind:<18}");
        for state in JobState::ALL {
            let jobs = evidence.of_kind(kind);
            print!("{:>11}", jobs.filter(|job| job.state == state).count());
        }
        println!("{:>11}", evidence.of_kind(kind).map(retries).sum::<usize>());
    }
}

fn print_totals(evidence: &Evidence) {
    let completed = evidence
        .jobs
        .iter()
        .filter(|job| job.state == JobState::Completed);
    let saved = completed.filter(|job| job.attempt > 1).count();
    let shipments = evidence.of_kind(NotifyWarehouse::KIND);
    let counted = shipments.map(attempts).sum();
    let (jobs, seconds) = speed(&evidence.jobs);
    let rows = [
        ("orders", evidence.orders.len(), "committed"),
        ("", evidence.import.refused.len(), "rolled back"),
        ("receipts on disk", evidence.receipts.len(), "by Message-ID"),
        ("", evidence.archived.len(), "in the archive"),
        ("retries", evidence.jobs.iter().map(retries).sum(), "runs"),
        ("", saved, "jobs completed after some"),
        ("dead", evidence.dead().count(), "jobs, to closed postcodes"),
        ("warehouse's log", evidence.requests.len(), "requests"),
        ("", counted, "attempts counted by the queue"),
    ];
    println!();
    for (what, count, remark) in rows {
        println!("{what:<20}{count:>7}  {remark}");
    }
    println!(
        "{:<20}{jobs:>7}  in {seconds:.1} s: {}, while the dock takes {CAPACITY} shipments a second",
        "jobs ended",
        rate(jobs, seconds)
    );
}

fn retries(job: &JobRow) -> usize {
    attempts(job).saturating_sub(1)
}

fn attempts(job: &JobRow) -> usize {
    usize::try_from(job.attempt).unwrap_or(0)
}

/// Gives how many jobs ended, and in how many seconds from the first enqueue, by the database's clock.
fn speed(jobs: &[JobRow]) -> (i64, f64) {
    let first = jobs.iter().map(|job| job.created_at).min();
    let ends: Vec<_> = jobs.iter().filter_map(|job| job.finished_at).collect();
    let seconds = first
        .zip(ends.iter().max())
        .map_or(0.0, |(first, last)| (*last - first).as_seconds_f64());
    (i64::try_from(ends.len()).unwrap_or(i64::MAX), seconds)
}

fn last_error(job: &JobRow) -> &str {
    let newest = job.errors.last();
    newest.map_or("no error was kept", |error| &error.message)
}
