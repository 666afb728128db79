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
fn codes_of_http_stay_in_the_cause_where_words_or_a_phrase_say_that_they_are_such() {
    let db = TestDatabase::migrated();
    let kept = [
        "HTTP 503",
        "HTTP 404",
        "https 500 from <address>",
        "HTTP status code 429",
        "http error 500",
        "Status: 502",
        "status code: 404",
        "statusCode=404",
        "503 Service Unavailable",
        "HTTP status client error (404 Not Found) for order <n>",
        "status 503, then status 500",
    ];
    let changed = [
        ("HTTP/1.1 503 of order 17", "HTTP/<n> 503 of order <n>"),
        ("order 503 was refused", "order <n> was refused"),
        ("user 404 not found", "user <n> not found"),
        ("HTTP 5031", "HTTP <n>"),
        ("HTTP 42", "HTTP <n>"),
        ("HTTP 700", "HTTP <n>"),
        ("status 200,000", "status <n>"),
        ("shipment503", "shipment<n>"),
        ("\u{1}503 \u{1}504", "<n> <n>"),
    ];

    let pattern = |message: &str| {
        let ask = format!("SELECT pgqueue_error_pattern($m${message}$m$)");
        db.texts(&ask).remove(0)
    };

    for message in kept {
        let said = message.replace("<n>", "7").replace("<address>", "10.0.0.1");
        assert_eq!(pattern(&said), message);
    }
    for (message, expected) in changed {
        assert_eq!(pattern(message), expected);
    }
    let long = "HTTP 503 ".repeat(100_000);
    assert_eq!(pattern(&long).len(), 300);
}

/// Lets so many jobs of cause 7 die so many minutes ago.
fn die_before(db: &TestDatabase, count: i64, minutes: i64) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at, errors, cause)
         SELECT 'email', '{{}}', 'dead', now() - {minutes} * interval '1 min', '[]', 7 FROM generate_series(1, {count})"
    ));
}

/// When the first and the last of all jobs died, in seconds.
fn deaths(db: &TestDatabase) -> (i64, i64) {
    let at = |which| {
        db.number(&format!(
            "SELECT floor(extract(epoch FROM {which}(finished_at))) FROM pgqueue_jobs"
        ))
    };
    (at("min"), at("max"))
}

#[test]
fn a_cause_tells_in_which_of_the_last_hours_its_jobs_died() {
    let db = TestDatabase::migrated();
    for (count, minutes) in [(2, 30), (1, 90), (3, 23 * 60 + 30), (4, 24 * 60 + 30)] {
        die_before(&db, count, minutes);
    }

    let found = stats::cause(&mut db.sync(), 7).unwrap().unwrap();

    let mut trend = [0; 24];
    (trend[0], trend[22], trend[23]) = (3, 1, 2);
    assert_eq!(found.trend, trend);
    let counts = [found.last_hour, found.last_day, found.jobs];
    assert_eq!(counts.map(|count| count.to_string()), ["2", "6", "10"]);
    assert_eq!(
        (found.first_seen.timestamp(), found.last_seen.timestamp()),
        deaths(&db)
    );
}

#[test]
fn hours_before_those_in_which_the_count_of_a_cause_stopped_are_counted_too() {
    let db = TestDatabase::migrated();
    for (count, minutes) in [(10_001, 30), (3, 5 * 60 + 30), (1, 48 * 60)] {
        die_before(&db, count, minutes);
    }

    let found = stats::cause(&mut db.sync(), 7).unwrap().unwrap();

    let mut trend = [0; 24];
    (trend[18], trend[23]) = (3, 1000);
    assert_eq!(found.trend, trend);
    let counts = [found.last_hour, found.last_day, found.jobs];
    assert_eq!(counts.map(|count| count.to_string()), ["10000+"; 3]);
    assert_eq!(
        (found.first_seen.timestamp(), found.last_seen.timestamp()),
        deaths(&db)
    );
}

#[test]
fn a_cause_names_the_kinds_and_queues_of_its_jobs_once_each() {
    let db = TestDatabase::migrated();
    for (queue, kind) in [("b", "x"), ("a", "x"), ("b", "y"), ("b", "x")] {
        db.execute(&format!(
            "INSERT INTO pgqueue_jobs (queue, kind, payload, state, finished_at, cause) VALUES ('{queue}', '{kind}', '{{}}', 'dead', now(), 7)"
        ));
    }

    let found = stats::cause(&mut db.sync(), 7).unwrap().unwrap();

    assert_eq!(
        (found.queues, found.kinds),
        (vec!["a".into(), "b".into()], vec!["x".into(), "y".into()])
    );
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
