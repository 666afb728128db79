//! What applications and handlers give to the core: places in lists, jobs, messages of errors.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use pgqueue_core::admin::{self, Cursor, Filter};
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{Error, ErrorKind, JobState, NewJob, RawJob, Worker, testing};
use pgqueue_suite::TestDatabase;
use serde_json::{Value, json};

use super::{fuzz, large_json};

#[test]
fn a_place_in_a_list_is_refused_or_comes_back_from_its_text_and_leads_to_a_page() {
    let db = TestDatabase::migrated();
    db.execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('job', '{}')");
    let conn = RefCell::new(db.sync());

    fuzz!("cursors", |text: &str| {
        let Ok(cursor) = text.parse::<Cursor>() else {
            return;
        };

        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for filter in [
            Filter::new(),
            Filter::new().state(JobState::Pending),
            Filter::new().state(JobState::Dead),
        ] {
            let page = admin::find(filter)
                .at(cursor.clone())
                .run(&mut *conn.borrow_mut());
            if let Err(error) = page {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            }
        }
    });
}

/// Runs something in a transaction that is undone.
fn undone<T>(
    conn: &mut PgConnection,
    run: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    let mut kept = None;
    let ended = conn.transaction::<(), diesel::result::Error, _>(|conn| {
        kept = Some(run(conn));
        Err(diesel::result::Error::RollbackTransaction)
    });
    assert_eq!(ended, Err(diesel::result::Error::RollbackTransaction));
    kept.unwrap()
}

fn jobs_of(text: &str) -> Vec<NewJob> {
    let named = NewJob::new("job", json!({}));
    let mut jobs = vec![
        NewJob::new(text, json!({})),
        named.clone().queue(text),
        named.clone().unique_key(text),
        named.clone().metadata(text, text),
        NewJob::new("job", json!({ text: [text] })),
    ];
    if let Ok(payload) = serde_json::from_str::<Value>(text) {
        jobs.push(NewJob::new("job", payload));
    }
    jobs
}

#[test]
fn a_job_that_is_not_refused_before_it_is_sent_is_stored_and_can_be_read_back_and_sent_again() {
    let db = TestDatabase::migrated();
    let conn = RefCell::new(db.sync());

    fuzz!("jobs", large_json(), |text: &str| {
        for job in jobs_of(text) {
            let stored = undone(&mut conn.borrow_mut(), |conn| {
                let id = job.clone().enqueue(conn)?.id;
                let payload: Value = pgqueue_jobs::table
                    .find(id)
                    .select(pgqueue_jobs::payload)
                    .first(conn)?;
                let again = NewJob::new("job", payload.clone()).enqueue(conn)?.id;
                let same: Value = pgqueue_jobs::table
                    .find(again)
                    .select(pgqueue_jobs::payload)
                    .first(conn)?;
                assert_eq!(payload, same);
                Ok(())
            });
            if let Err(error) = stored {
                let kind = Error::of(&error).map(Error::kind);
                assert_eq!(kind, Some(ErrorKind::Invalid), "{error}");
            }
        }
    });
}

#[test]
fn a_payload_of_ten_thousand_levels_is_refused() {
    let db = TestDatabase::migrated();
    let deep = (0..10_000).fold(json!(1), |inner, _| Value::Array(vec![inner]));

    let refused = NewJob::new("job", deep)
        .enqueue(&mut db.sync())
        .unwrap_err();

    let invalid = Error::of(&refused).unwrap().invalid().unwrap();
    assert_eq!((invalid.size, invalid.limit), (10_000, 127));
}

#[test]
fn a_message_of_an_error_is_kept_within_eight_kibibytes_and_the_job_ends_as_it_should() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    conn.begin_test_transaction().unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let says = Arc::clone(&said);
    let worker = Worker::builder(db.url())
        .handle_kind("job", move |_: RawJob, _| {
            let message = says.lock().unwrap().clone();
            async move { Err::<(), String>(message) }
        })
        .build()
        .unwrap();
    let conn = RefCell::new(conn);

    fuzz!("messages", |text: &str| {
        // As it is, and so long that it is cut somewhere within it.
        for message in [text.to_owned(), text.repeat(9000 / text.len().max(1))] {
            said.lock().unwrap().clone_from(&message);
            let conn = &mut *conn.borrow_mut();
            let job = NewJob::new("job", json!({})).max_retries(0);
            let id = job.enqueue(conn).unwrap().id;

            testing::drain(&worker, conn).unwrap();

            let row: pgqueue_core::JobRow = pgqueue_jobs::table
                .find(id)
                .select(pgqueue_core::JobRow::as_select())
                .first(conn)
                .unwrap();
            assert_eq!(row.state, JobState::Dead);
            let kept = &row.errors.last().unwrap().message;
            let shown = message.replace('\0', "\u{fffd}");
            assert!(kept.len() <= 8 * 1024, "{} bytes", kept.len());
            let is_whole = *kept == shown;
            let start = kept.trim_end_matches('…');
            assert!(is_whole || shown.len() > 8 * 1024 && shown.starts_with(start));
            conn.batch_execute("DELETE FROM pgqueue_jobs").unwrap();
        }
    });
}
