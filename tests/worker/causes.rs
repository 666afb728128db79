//! Causes of death: every way to die gives one, alike messages share it, and it can be acted on.

use chrono::{DateTime, Utc};
use pgqueue_core::admin::{self, Filter};
use pgqueue_core::stats;
use pgqueue_suite::TestDatabase;

/// Lets jobs die by plain SQL, with these messages.
fn die(db: &TestDatabase, messages: &[&str]) {
    for message in messages {
        db.execute(&format!(
            "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at, errors)
             VALUES ('email', '{{}}', 'dead', now(), jsonb_build_array(jsonb_build_object('kind', 'error', 'message', $m${message}$m$)))"
        ));
    }
}

#[test]
fn messages_that_differ_by_numbers_names_and_addresses_are_one_cause() {
    let db = TestDatabase::migrated();
    die(
        &db,
        &[
            "order 17 of \"ann\" at 10.0.0.1:80 timed out after 300 ms (6f1c2a1e-0000-4000-8000-0123456789ab)",
            "order 4,711 of \"bob\" at 10.9.8.7 timed out after 2.5 s (6f1c2a1e-ffff-4000-8000-0123456789ab)",
            "order 17 was refused",
        ],
    );

    let causes = stats::causes(&mut db.sync(), 10).unwrap();

    let mut found: Vec<(i64, &str)> = causes
        .iter()
        .map(|cause| (cause.jobs.at_least, cause.pattern.as_str()))
        .collect();
    found.sort_unstable();
    let expected = [
        (1, "order <n> was refused"),
        (
            2,
            "order <n> of <text> at <address> timed out after <duration> (<uuid>)",
        ),
    ];
    assert_eq!(found, expected);
    assert_eq!(causes[0].trend.iter().sum::<i64>(), causes[0].jobs.at_least);
    assert_eq!(causes[0].kinds, ["email"]);
}

#[test]
fn a_job_that_dies_again_of_something_else_moves_to_that_cause() {
    let db = TestDatabase::migrated();
    die(&db, &["refused"]);
    let before = db.jobs()[0].cause.unwrap();

    admin::requeue(Filter::new().cause(before))
        .run(&mut db.sync())
        .unwrap();
    db.execute("UPDATE pgqueue_jobs SET state = 'dead', finished_at = now(), errors = errors || '[{\"kind\": \"panic\", \"message\": \"refused\"}]'");

    let after = db.jobs()[0].cause.unwrap();
    assert_ne!(before, after, "another kind of failure is another cause");
    let causes = stats::causes(&mut db.sync(), 10).unwrap();
    assert_eq!((causes.len(), causes[0].cause), (1, after));
}

#[test]
fn an_action_on_a_cause_leaves_the_other_causes_alone() {
    let db = TestDatabase::migrated();
    die(&db, &["refused 1", "refused 2", "closed"]);
    let cause = db.jobs()[0].cause.unwrap();

    let done = admin::requeue(Filter::new().cause(cause))
        .run(&mut db.sync())
        .unwrap();

    assert_eq!(done.changed, 2);
    assert_eq!(
        db.number("SELECT count(*) FROM pgqueue_jobs WHERE state = 'dead'"),
        1
    );
}

#[test]
fn a_job_that_dies_without_an_error_has_a_cause_and_the_time_of_its_death() {
    let db = TestDatabase::migrated();
    db.execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('email', '{}')");
    db.execute("UPDATE pgqueue_jobs SET state = 'dead', finished_at = '2026-01-02 03:04:05Z'");

    let causes = stats::causes(&mut db.sync(), 10).unwrap();

    let died: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!((causes.len(), causes[0].pattern.as_str()), (1, ""));
    assert_eq!((causes[0].first_seen, causes[0].last_seen), (died, died));
    assert_eq!(causes[0].last_day.at_least, 0);
}

#[test]
fn one_cause_is_told_of_alone_and_one_that_nobody_died_of_is_not() {
    let db = TestDatabase::migrated();
    die(&db, &["refused 1", "refused 2", "closed"]);
    let refused = db.jobs()[0].cause.unwrap();

    let found = stats::cause(&mut db.sync(), refused).unwrap().unwrap();

    assert_eq!((found.cause, found.jobs.at_least), (refused, 2));
    assert_eq!(stats::cause(&mut db.sync(), refused - 1).unwrap(), None);
}

#[test]
fn jobs_of_a_rare_cause_are_listed_however_many_others_died_later() {
    let db = TestDatabase::migrated();
    die(&db, &["the rare one"]);
    let rare = db.jobs()[0].cause.unwrap();
    db.execute("UPDATE pgqueue_jobs SET finished_at = now() - interval '1 day'");
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at, cause)
         SELECT 'email', '{}', 'dead', now(), 1 FROM generate_series(1, 12000)",
    );

    let dead = Filter::new().state(pgqueue_core::JobState::Dead);
    let page = admin::find(dead.cause(rare))
        .size(25)
        .run(&mut db.sync())
        .unwrap();

    assert_eq!((page.jobs.len(), page.stopped), (1, None));
}
