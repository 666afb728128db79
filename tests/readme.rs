//! The README's quickstart, run as it stands there, and its promises about itself.

#![expect(
    missing_docs,
    clippy::print_stdout,
    reason = "written for a reader of the README"
)]

include!(concat!(env!("OUT_DIR"), "/quickstart.rs"));

#[tokio::test]
async fn the_quickstart_enqueues_in_both_flavours_and_runs_its_jobs() {
    let database = pgqueue_suite::TestDatabase::migrated();
    database.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, email text NOT NULL)");

    let order_id =
        place_order(&mut database.sync(), "ada@example.com").expect("the order is placed");
    remind(&mut database.asynchronous().await, order_id)
        .await
        .expect("the job is enqueued");
    tokio::select! {
        ended = work(database.url()) => panic!("the worker ended by itself: {ended:?}"),
        () = database.wait_for_count(pgqueue_core::JobState::Completed, 2) => {}
    }

    let jobs = database.jobs();
    assert_eq!((jobs[1].max_retries, jobs[1].priority), (5, 2));
    assert_eq!(jobs[1].unique_key.as_deref(), Some("order:1"));
}

#[test]
fn the_quickstart_is_forty_lines_and_imports_one_line_of_ours() {
    let source = include_str!(concat!(env!("OUT_DIR"), "/quickstart.rs"));

    let lines = source
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    let ours = source
        .lines()
        .filter(|line| line.starts_with("use pgqueue"))
        .count();

    assert!(lines <= 40, "{lines} lines");
    assert_eq!(ours, 1);
}
