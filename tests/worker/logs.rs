//! What is logged of a run's end, and how loudly.

use std::time::Duration;

use pgqueue_core::{NewJob, Outcome, RawJob};
use pgqueue_suite::TestDatabase;
use pgqueue_suite::log::Log;
use serde_json::json;

use crate::{enqueue, worker};

/// Ends as the payload says.
async fn end(job: RawJob, _: pgqueue_core::Context) -> Result<Outcome, String> {
    match job.payload.as_str() {
        Some("failed") => Err("no".into()),
        Some("later") => Ok(Outcome::retry_after(Duration::from_secs(3600), "busy")),
        Some("dead") => Ok(Outcome::dead("never")),
        _ => Ok(Outcome::done()),
    }
}

#[tokio::test]
async fn every_death_is_an_error_a_failure_that_is_retried_a_warning_and_a_success_neither() {
    let db = TestDatabase::migrated();
    let cases = [
        ("failed", 0, Some("ERROR")),
        ("later", 0, Some("ERROR")),
        ("dead", 3, Some("ERROR")),
        ("failed", 3, Some("WARN")),
        ("later", 3, Some("WARN")),
        ("done", 0, None),
    ];
    let jobs = cases
        .map(|(how, retries, _)| enqueue(&db, NewJob::new("job", json!(how)).max_retries(retries)));
    let builder = worker(&db, end).retry_base_wait(Duration::from_secs(3600));
    let log = Log::default();

    let listening = log.listen();
    builder.build().unwrap().run_until_empty().await.unwrap();
    drop(listening);

    let text = log.text();
    for ((how, retries, level), job) in cases.into_iter().zip(jobs) {
        let of_job = |line: &&str| line.contains(&format!(" job.id={job} "));
        let lines: Vec<_> = text.lines().filter(of_job).collect();
        let expected: Vec<_> = level.into_iter().collect();
        let levels: Vec<_> = lines
            .iter()
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!(levels, expected, "{how} with {retries} retries: {lines:#?}");
    }
}
