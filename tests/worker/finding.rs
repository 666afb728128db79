//! Looking for jobs, and what is told of one, alike on sync and async connections.

use pgqueue_core::admin::{self, Edited, Filter, Reason};
use pgqueue_core::{ErrorKind, JobState, NewJob};
use pgqueue_suite::TestDatabase;

fn dead(db: &TestDatabase, count: i64) {
    db.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at, unique_key) \
         SELECT 'job', '{{\"n\": 1.10}}', 'dead', 4, now(), 'key ' || n FROM generate_series(1, {count}) AS n"
    ));
}

#[tokio::test]
async fn pages_follow_each_other_though_all_ended_at_the_same_time() {
    let db = TestDatabase::migrated();
    dead(&db, 120);
    let filter = || Filter::new().state(JobState::Dead);

    let first = admin::find(filter()).size(50).run(&mut db.sync()).unwrap();
    let at = first.older.unwrap().to_string().parse().unwrap();
    let mut conn = db.asynchronous().await;
    let second = admin::find(filter())
        .size(50)
        .at(at)
        .run_async(&mut conn)
        .await
        .unwrap();
    let third = admin::find(filter())
        .size(50)
        .at(second.older.clone().unwrap())
        .run(&mut db.sync())
        .unwrap();
    let again = admin::find(filter())
        .size(50)
        .at(third.newer.unwrap())
        .run(&mut db.sync())
        .unwrap();

    let ids: Vec<i64> = [&first.jobs, &second.jobs, &third.jobs]
        .into_iter()
        .flatten()
        .map(|job| job.id)
        .collect();
    assert!(ids.iter().rev().copied().eq(1..=120));
    assert_eq!(third.older, None);
    assert_eq!(again.jobs, second.jobs);
}

#[tokio::test]
async fn a_search_that_finds_little_says_how_far_it_came() {
    let db = TestDatabase::migrated();
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload) SELECT CASE WHEN n = 1 THEN 'rare' ELSE 'job' END, '{}' \
         FROM generate_series(1, 12000) AS n",
    );
    let rare = || Filter::new().kind("rare");

    let first = admin::find(rare()).run(&mut db.sync()).unwrap();
    let second = admin::find(rare())
        .at(first.older.clone().unwrap())
        .run(&mut db.sync())
        .unwrap();

    assert!(first.jobs.is_empty() && first.visited == 10_000 && first.stopped.is_some());
    assert!(second.jobs.len() == 1 && second.visited == 2_000 && second.stopped.is_none());
    assert_eq!(second.older, None);
}

#[test]
fn a_place_of_another_list_is_refused() {
    let db = TestDatabase::migrated();
    dead(&db, 60);
    let page = admin::find(Filter::new().state(JobState::Dead))
        .run(&mut db.sync())
        .unwrap();

    let refused = admin::find(Filter::new())
        .at(page.older.unwrap())
        .run(&mut db.sync());

    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    assert!("o".parse::<admin::Cursor>().is_err());
}

#[tokio::test]
async fn an_edit_of_an_older_version_changes_nothing() {
    let db = TestDatabase::migrated();
    dead(&db, 1);
    let mut conn = db.asynchronous().await;
    let shown = admin::job_async(&mut conn, 1).await.unwrap().unwrap();
    assert_eq!(shown.payload, "{\"n\": 1.10}");

    let saved = admin::edit(1, &shown.version)
        .priority(0)
        .by("alice")
        .run(&mut db.sync())
        .unwrap();
    let outdated = admin::edit(1, &shown.version)
        .priority(9)
        .run_async(&mut conn)
        .await
        .unwrap();

    assert_eq!((saved, outdated), (Edited::Saved, Edited::Outdated));
    assert_eq!(db.job(1).priority, 0);
    let deeds = admin::deeds(&mut db.sync(), 1).unwrap();
    assert_eq!(deeds.len(), 1);
    assert_eq!(
        (deeds[0].actor.as_str(), deeds[0].action.as_str()),
        ("alice", "edit")
    );
    assert_eq!(admin::deeds_async(&mut conn, 1).await.unwrap(), deeds);
}

#[test]
fn an_edited_payload_is_bounded_by_the_databases_limit_as_postgresql_prints_it() {
    let db = TestDatabase::migrated();
    dead(&db, 1);
    let edit = |payload: &str| {
        let mut conn = db.sync();
        let shown = admin::job(&mut conn, 1).unwrap().unwrap();
        admin::edit(1, shown.version)
            .payload(payload)
            .run(&mut conn)
    };
    let spacious = format!("[{}1]", " ".repeat(2 << 20));
    let printed = format!("[{}]", ["1e100000"; 11].join(","));
    let text = format!("\"{}\"", "x".repeat(2 << 20));

    let saved = edit(&spacious).unwrap();
    let refused = [&printed, &text].map(|payload| edit(payload).unwrap_err());
    let endless = format!("[{}]", ["1e131071"; 10_000].join(","));
    let endless = edit(&endless).unwrap_err();
    db.set_default("pgqueue.payload_limit = 4194304");
    let after = [&printed, &text].map(|payload| edit(payload).unwrap());

    assert_eq!(saved, Edited::Saved);
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("pgqueue.payload_limit"));
        let invalid = error.invalid().unwrap();
        assert_eq!((invalid.field, invalid.limit), ("payload", 1 << 20));
    }
    assert_eq!(after, [Edited::Saved, Edited::Saved]);
    assert_eq!(endless.kind(), ErrorKind::Invalid);
    assert!(endless.to_string().contains("1310710000 digits"));
}

#[test]
fn a_clone_that_the_database_would_not_store_names_the_limit_to_raise() {
    let db = TestDatabase::migrated();
    db.set_default("pgqueue.payload_limit = 4194304");
    let large = serde_json::json!("x".repeat(2 << 20));
    let large = NewJob::new("job", large).payload_limit(4 << 20);
    let id = large.enqueue(&mut db.sync()).unwrap().id;
    db.set_default("pgqueue.payload_limit = 1048576");

    let error = admin::clone(id).run(&mut db.sync()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    let said = "payload of the job is larger than this database allows";
    assert!(error.to_string().starts_with(said), "{error}");
    assert!(error.to_string().contains("raise pgqueue.payload_limit"));
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_jobs"), 1);
}

#[tokio::test]
async fn a_dead_job_whose_key_is_taken_says_by_whom() {
    let db = TestDatabase::migrated();
    dead(&db, 1);
    let copy = admin::clone(1).run(&mut db.sync()).unwrap().unwrap();
    db.execute(&format!(
        "UPDATE pgqueue_jobs SET unique_key = 'key 1' WHERE id = {copy}"
    ));
    let mut conn = db.asynchronous().await;

    let reasons = admin::why_async(&mut conn, 1).await.unwrap();
    let shown = admin::job(&mut db.sync(), 1).unwrap().unwrap();
    let edited = admin::edit(1, shown.version)
        .requeue()
        .run_async(&mut conn)
        .await
        .unwrap();

    assert!(reasons.contains(&Reason::KeyTaken { by: copy }));
    assert_eq!(edited, Edited::KeyTaken { by: copy });
    assert_eq!(db.job(1).state, JobState::Dead);
    assert_eq!(admin::reveal(99).run_async(&mut conn).await.unwrap(), None);
    assert_eq!(admin::why(&mut db.sync(), 99).unwrap(), []);
}

#[tokio::test]
async fn what_came_in_front_of_a_place_is_counted_up_to_the_size() {
    let db = TestDatabase::migrated();
    dead(&db, 40);
    let list = || Filter::new().state(JobState::Dead);
    let page = admin::find(list()).run(&mut db.sync()).unwrap();
    let place = page.jobs[0].place(&list()).unwrap();
    let mut conn = db.asynchronous().await;
    let mut ahead = async |size: u16, filter: Filter| {
        let find = admin::find(filter).size(size).at(place.clone());
        let count = find.count_ahead_async(&mut conn).await.unwrap();
        (count.at_least, count.exact)
    };

    assert_eq!(ahead(9, list()).await, (0, true));
    db.execute("INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) SELECT 'new', '{}', 'dead', now() FROM generate_series(1, 7)");

    assert_eq!(ahead(9, list()).await, (7, true));
    assert_eq!(ahead(7, list()).await, (7, true));
    assert_eq!(ahead(5, list()).await, (5, false));
    assert_eq!(ahead(9, list().kind("new")).await, (7, true));
    assert_eq!(ahead(9, list().kind("job")).await, (0, true));
}

#[test]
fn from_its_place_a_list_goes_on_in_both_directions() {
    let db = TestDatabase::migrated();
    dead(&db, 9);
    db.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, priority) SELECT 'job', '{}', 9 - n FROM generate_series(1, 9) AS n",
    );

    for list in [
        Filter::new(),
        Filter::new().state(JobState::Dead),
        Filter::new().state(JobState::Pending),
    ] {
        let all = admin::find(list.clone()).run(&mut db.sync()).unwrap().jobs;
        let place = all[4].place(&list).unwrap();
        let one = |at| {
            let find = admin::find(list.clone()).size(1).at(at);
            find.run(&mut db.sync()).unwrap().jobs
        };

        assert_eq!(one(place.clone()), all[5..6]);
        assert_eq!(one(place.towards_the_front()), all[3..4]);
    }
    let pending = admin::find(10).run(&mut db.sync()).unwrap().jobs;
    assert_eq!(pending[0].place(&Filter::new().state(JobState::Dead)), None);
}

#[test]
fn a_search_that_may_look_at_few_jobs_looks_at_no_more() {
    let db = TestDatabase::migrated();
    dead(&db, 120);
    let rare = || {
        admin::find(Filter::new().kind("rare"))
            .size(1)
            .visit_at_most(70)
    };

    let page = rare().run(&mut db.sync()).unwrap();
    let rest = rare().at(page.older.clone().unwrap()).run(&mut db.sync());

    assert!(page.jobs.is_empty() && page.visited == 70 && page.stopped.is_some());
    assert_eq!(rest.unwrap().visited, 50);
}
