//! A job that takes its process down is found out and parked, without its neighbours.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgqueue_core::{Context, JobState, new};

#[tokio::test]
async fn a_poison_job_is_parked_while_its_nine_neighbours_complete() {
    let db = TestDatabase::migrated();
    let poison = new(Act::Abort).max_retries(100);
    let poison = poison.enqueue(&mut db.sync()).unwrap().id;
    let neighbours: Vec<i64> = (0..9).map(|_| enqueue(&db, Act::Return)).collect();
    // The first process runs all ten, so that the first crash falls on all of them.
    db.execute("UPDATE pgqueue_jobs SET payload = '\"Wait\"' WHERE payload = '\"Return\"'");
    let settings = Settings::new(db.url(), "supervised", LEASE);

    let mut crashes = 0;
    while db.job(poison).state != JobState::Dead {
        let mut process = process(&settings);
        if crashes > 0 {
            process.open_gate();
        }
        wait_until("the process died or the poison is parked", || {
            std::future::ready(process.has_exited() || db.job(poison).state == JobState::Dead)
        })
        .await;
        if process.has_exited() {
            crashes += 1;
        } else {
            process
                .wait_for("ERROR pgqueue_core::maintenance::rescue: job is dead")
                .await;
        }
    }
    let mut last = process(&settings);
    last.open_gate();
    db.wait_for_count(JobState::Completed, 9).await;

    let row = db.job(poison);
    assert_eq!(crashes, 4, "the first, when ten ran, and three alone");
    assert_eq!((row.attempt, row.lost), (4, 4));
    assert_eq!(failures(&row), ["lost"; 4]);
    for neighbour in neighbours {
        let row = db.job(neighbour);
        assert!(row.lost <= 3, "{} losses", row.lost);
    }
}

#[tokio::test]
async fn jobs_that_have_lost_a_process_run_one_after_the_other_without_a_pause() {
    let db = TestDatabase::migrated();
    let (together, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let suspects: Vec<i64> = (0..6).map(|_| enqueue(&db, Act::Return)).collect();
    db.execute("UPDATE pgqueue_jobs SET lost = 1");

    let (now_running, seen) = (Arc::clone(&together), Arc::clone(&most));
    let overlap = move |_: Act, _: Context| {
        let (together, most) = (Arc::clone(&now_running), Arc::clone(&seen));
        async move {
            most.fetch_max(
                together.fetch_add(1, Ordering::SeqCst) + 1,
                Ordering::SeqCst,
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
            together.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, String>(())
        }
    };
    let worker = builder(&db).handle(overlap);
    // No poll would ever find the next one.
    let hour = Duration::from_secs(3600);
    let _worker = run(worker.poll_interval(hour).build().unwrap());
    db.wait_for_count(JobState::Completed, 6).await;

    assert_eq!(most.load(Ordering::SeqCst), 1);
    let mut ends: Vec<_> = suspects
        .into_iter()
        .map(|job| db.job(job))
        .map(|row| (row.started_at.unwrap(), row.finished_at.unwrap()))
        .collect();
    ends.sort_unstable();
    for pair in ends.windows(2) {
        assert_within(pair[0].1, pair[1].0, Duration::ZERO);
    }
}
