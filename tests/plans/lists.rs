//! Lists of jobs and what is told of one: no page looks at more than 10,000 jobs, at any depth and whatever the filter.

use diesel::prelude::*;
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Filter, Page};
use pgqueue_suite::TestDatabase;

use super::actions::count;
use super::load::{empty_and_analysed, load};

/// What a reading cost: sequential scans, and jobs fetched by index.
fn metered<T>(db: &TestDatabase, read: impl FnOnce(&mut PgConnection) -> T) -> (T, i64, i64) {
    let mut conn = db.sync();
    conn.begin_test_transaction().unwrap();
    let before = (
        count(&mut conn, "seq_scan"),
        count(&mut conn, "idx_tup_fetch"),
    );
    let answer = read(&mut conn);
    let scans = count(&mut conn, "seq_scan") - before.0;
    (answer, scans, count(&mut conn, "idx_tup_fetch") - before.1)
}

/// A list, with the most jobs that its first page and one far behind may fetch.
fn cases() -> Vec<(&'static str, Filter, i64)> {
    let state = |state| Filter::new().state(state);
    let ago = chrono::Utc::now() - chrono::TimeDelta::hours(7);
    vec![
        ("all", Filter::new(), 120),
        ("dead", state(JobState::Dead), 120),
        ("completed", state(JobState::Completed), 1_200), // hundreds may have ended at the same time
        ("cancelled", state(JobState::Cancelled), 120),
        ("pending", state(JobState::Pending), 120),
        (
            "pending of a queue",
            state(JobState::Pending).queue("default"),
            120,
        ),
        (
            "pending of no queue",
            state(JobState::Pending).queue("other"),
            120,
        ),
        ("running", state(JobState::Running), 10_200),
        (
            "ended before",
            state(JobState::Completed).finished_before(ago),
            1_200,
        ),
        ("rare", Filter::new().kind("rare"), 10_200),
        (
            "rare and completed",
            state(JobState::Completed).kind("rare"),
            10_400,
        ),
        (
            "rare and pending",
            state(JobState::Pending).tag("rare"),
            10_200,
        ),
        // Of 15,000 dead jobs, few enough that the planner may sort them all.
        (
            "rare error",
            state(JobState::Dead).error_contains("rare"),
            25_200,
        ),
        ("by id", Filter::new().ids([1, 400_001, 1_000_001]), 10),
    ]
}

fn page(db: &TestDatabase, filter: &Filter, at: Option<admin::Cursor>) -> (Page, i64, i64) {
    metered(db, |conn| {
        let find = admin::find(filter.clone()).size(50);
        match at {
            Some(cursor) => find.at(cursor).run(conn).unwrap(),
            None => find.run(conn).unwrap(),
        }
    })
}

#[tokio::test]
async fn a_page_looks_at_no_more_jobs_far_behind_than_in_front() {
    let (db, loader) = empty_and_analysed().await;
    load(&loader).await;
    loader.batch_execute("ANALYZE pgqueue_jobs").await.unwrap();

    let mut complaints = Vec::new();
    for (name, filter, limit) in cases() {
        let mut at = None;
        for turn in 0..12 {
            let (page, scans, fetched) = page(&db, &filter, at);
            if scans > 0 || fetched > limit || page.visited > limit {
                complaints.push(format!(
                    "{name}, page {turn}: {scans} scans, {fetched} fetched"
                ));
            }
            at = page.older;
            if at.is_none() {
                break;
            }
        }
    }

    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test]
async fn what_is_told_of_one_job_looks_at_its_line_only() {
    let (db, loader) = empty_and_analysed().await;
    load(&loader).await;
    loader.batch_execute("ANALYZE pgqueue_jobs").await.unwrap();

    for id in [1, 299_999, 300_500, 400_001, 1_000_001] {
        let (told, scans, fetched) = metered(&db, |conn| {
            let job = admin::job(conn, id).unwrap().unwrap();
            let copy = admin::clone(id).run(conn).unwrap();
            let seen = admin::reveal(id).run(conn).unwrap();
            let edited = admin::edit(id, job.version).priority(1).run(conn).unwrap();
            (admin::why(conn, id).unwrap(), copy, seen, edited)
        });
        assert!(!told.0.is_empty() && told.1.is_some() && told.2.is_some());
        assert!(
            scans == 0 && fetched < 1_100,
            "{id}: {scans} scans, {fetched} fetched"
        );
    }
}

#[tokio::test]
async fn what_is_new_in_a_list_is_counted_by_its_index() {
    let (db, loader) = empty_and_analysed().await;
    load(&loader).await;
    loader.batch_execute("ANALYZE pgqueue_jobs").await.unwrap();

    let mut complaints = Vec::new();
    for (name, filter, _) in cases() {
        let mut first = admin::find(filter.clone())
            .size(1)
            .run(&mut db.sync())
            .unwrap();
        // As if the page had been open for hours.
        let mut old = admin::find(400_001).run(&mut db.sync()).unwrap();
        for job in [first.jobs.pop(), old.jobs.pop()].into_iter().flatten() {
            let Some(place) = job.place(&filter) else {
                continue;
            };
            let find = admin::find(filter.clone()).size(99).at(place);
            let (count, scans, fetched) = metered(&db, |conn| find.count_ahead(conn).unwrap());
            // Running jobs are sorted; of 15,000 dead ones the planner may sort all.
            let limit = if matches!(name, "running" | "rare error") {
                15_200
            } else {
                5_200
            };
            if scans > 0 || fetched > limit || count.at_least > 99 {
                complaints.push(format!(
                    "{name}: {scans} scans, {fetched} fetched, {count:?}"
                ));
            }
        }
    }

    assert!(complaints.is_empty(), "{complaints:#?}");
}
