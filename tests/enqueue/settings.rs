//! What an enqueue stores: every setting, the defaults, and times by the database's clock.

use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{Job, JobRow, JobState, NewJob, Span, enqueue_all};
use pgqueue_suite::TestDatabase;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::job;

#[derive(Serialize, Deserialize)]
struct Receipt {
    order_id: i64,
}

impl Job for Receipt {
    const KIND: &'static str = "receipt";
    const QUEUE: &'static str = "mail";
    const PRIORITY: i16 = 2;
    const MAX_RETRIES: i32 = 7;
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(90));
}

/// Reads a time from the database's clock.
fn clock(conn: &mut PgConnection, sql: &str) -> DateTime<Utc> {
    diesel::select(diesel::dsl::sql::<Timestamptz>(sql))
        .get_result(conn)
        .unwrap()
}

fn with_all_settings() -> NewJob {
    NewJob::new(
        "email",
        json!({"to": "user@example.com", "parts": [1, 2.5, null, "ü"]}),
    )
    .queue("mail")
    .priority(0)
    .run_at(Utc.with_ymd_and_hms(2031, 2, 3, 4, 5, 6).unwrap())
    .max_retries(1000)
    .unique_key("user:123")
    .timeout(Duration::from_micros(1_500_001))
    .tag("vip")
    .tag("eu")
    .metadata("trace", "4bf92f35")
}

/// Leaves out what differs from one insert to the next.
fn comparable(mut row: JobRow) -> JobRow {
    row.id = 0;
    row.created_at = DateTime::UNIX_EPOCH;
    row.unique_key = None;
    row
}

#[test]
fn a_job_without_settings_gets_the_defaults() {
    let db = TestDatabase::migrated();

    let id = NewJob::new("email", json!({"a": 1}))
        .enqueue(&mut db.sync())
        .unwrap()
        .id;

    let row = db.job(id);
    let expected = JobRow {
        id,
        run_at: row.created_at,
        created_at: row.created_at,
        fencing_token: 0,
        claimed_by: None,
        claim_batch: None,
        started_at: None,
        finished_at: None,
        deadline_at: None,
        cancel_requested_at: None,
        attempt: 0,
        max_retries: 3,
        lost: 0,
        priority: 5,
        state: JobState::Pending,
        queue: "default".to_owned(),
        kind: "email".to_owned(),
        payload: json!({"a": 1}),
        unique_key: None,
        timeout: None,
        errors: vec![],
        metadata: None,
        progress: None,
        output: None,
        cause: None,
    };
    assert_eq!(row, expected);
}

#[test]
fn all_settings_are_stored() {
    let db = TestDatabase::migrated();

    let id = with_all_settings().enqueue(&mut db.sync()).unwrap().id;

    let row = db.job(id);
    assert_eq!((row.queue.as_str(), row.kind.as_str()), ("mail", "email"));
    assert_eq!((row.priority, row.max_retries), (0, 1000));
    assert_eq!(
        row.run_at,
        Utc.with_ymd_and_hms(2031, 2, 3, 4, 5, 6).unwrap()
    );
    assert_eq!(row.unique_key.as_deref(), Some("user:123"));
    assert_eq!(row.timeout, Some(Span(Duration::from_micros(1_500_001))));
    assert_eq!(
        row.metadata,
        Some(json!({"tags": ["vip", "eu"], "trace": "4bf92f35"}))
    );
    assert_eq!(
        row.payload,
        json!({"to": "user@example.com", "parts": [1, 2.5, null, "ü"]})
    );
}

/// Half of them are of everyday size, where most digits count; the others are of all sizes.
#[test]
fn a_number_in_a_payload_comes_back_to_its_last_bit() {
    let db = TestDatabase::migrated();
    let conn = &mut db.sync();
    let mut rng = fastrand::Rng::with_seed(1);
    let of_any_size = |rng: &mut fastrand::Rng| {
        std::iter::repeat_with(|| f64::from_bits(rng.u64(..)))
            .find(|number| number.is_finite() && *number != 0.0)
            .unwrap()
    };
    let numbers: Vec<f64> = (0..1000)
        .map(|index| match index % 2 {
            0 => rng.f64() * 100.0,
            _ => of_any_size(&mut rng),
        })
        .collect();

    NewJob::new("report", json!(numbers)).enqueue(conn).unwrap();

    let stored: Value = pgqueue_jobs::table
        .select(pgqueue_jobs::payload)
        .first(conn)
        .unwrap();
    let stored: Vec<f64> = serde_json::from_value(stored).unwrap();
    assert_eq!(stored, numbers);
}

#[test]
fn every_way_of_enqueueing_stores_the_same_row() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let jobs = |table| diesel::insert_into(pgqueue_jobs::table).values(table);

    with_all_settings()
        .unique_key("1")
        .enqueue(&mut conn)
        .unwrap();
    enqueue_all(&mut conn, [with_all_settings().unique_key("2")]).unwrap();
    jobs(vec![with_all_settings().unique_key("3")])
        .execute(&mut conn)
        .unwrap();

    let rows: Vec<JobRow> = db.jobs().into_iter().map(comparable).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0], rows[2]);
}

#[test]
fn a_typed_job_brings_the_settings_of_its_type() {
    let db = TestDatabase::migrated();

    let id = Receipt { order_id: 42 }.enqueue(&mut db.sync()).unwrap().id;

    let row = db.job(id);
    assert_eq!((row.queue.as_str(), row.kind.as_str()), ("mail", "receipt"));
    assert_eq!((row.priority, row.max_retries), (2, 7));
    assert_eq!(row.timeout, Some(Span(Duration::from_secs(90))));
    assert_eq!(row.payload, json!({"order_id": 42}));
}

#[tokio::test]
async fn the_builder_outranks_the_type_in_an_async_enqueue_too() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    let receipt = pgqueue_core::new(Receipt { order_id: 42 })
        .queue("slow")
        .priority(9)
        .max_retries(0);
    let id = receipt.enqueue_async(&mut conn).await.unwrap().id;

    let row = db.job(id);
    assert_eq!(
        (row.queue.as_str(), row.priority, row.max_retries),
        ("slow", 9, 0)
    );
}

#[test]
fn run_at_is_the_start_of_the_transaction_by_default() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    let (now, id) = conn
        .transaction(|conn| {
            let now = clock(conn, "now()");
            clock(conn, "clock_timestamp() FROM pg_sleep(0.01)");
            Ok::<_, diesel::result::Error>((now, job("email").enqueue(conn)?.id))
        })
        .unwrap();

    assert_eq!(db.job(id).run_at, now);
}

#[test]
fn a_delay_counts_from_the_enqueue_by_the_clock_of_the_database() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let delay = Duration::from_secs(3600);
    let ways: [fn(NewJob, &mut PgConnection) -> QueryResult<i64>; 3] = [
        |job, conn| Ok(job.enqueue(conn)?.id),
        |job, conn| Ok(enqueue_all(conn, [job])?[0].id),
        |job, conn| {
            diesel::insert_into(pgqueue_jobs::table)
                .values(job)
                .returning(pgqueue_jobs::id)
                .get_result(conn)
        },
    ];

    for enqueue in ways {
        let (before, id, after) = conn
            .transaction(|conn| {
                let before = clock(conn, "clock_timestamp() FROM pg_sleep(0.01)"); // well after the start of the transaction
                let id = enqueue(job("email").delay(delay), conn)?;
                Ok::<_, diesel::result::Error>((before, id, clock(conn, "clock_timestamp()")))
            })
            .unwrap();

        let run_at = db.job(id).run_at;
        assert!(
            before + delay <= run_at,
            "{run_at} is less than {delay:?} after {before}"
        );
        assert!(
            run_at <= after + delay,
            "{run_at} is more than {delay:?} after {after}"
        );
    }
}

#[test]
fn the_last_of_delay_and_run_at_counts() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let year_2031 = Utc.with_ymd_and_hms(2031, 1, 1, 0, 0, 0).unwrap();
    let hour = Duration::from_secs(3600);

    let at = job("email")
        .delay(hour)
        .run_at(year_2031)
        .enqueue(&mut conn)
        .unwrap();
    let delayed = job("email")
        .run_at(year_2031)
        .delay(hour)
        .enqueue(&mut conn)
        .unwrap();

    assert_eq!(db.job(at.id).run_at, year_2031);
    assert!(db.job(delayed.id).run_at < year_2031);
}

#[test]
fn run_at_is_stored_to_the_microsecond() {
    let db = TestDatabase::migrated();
    let at = Utc.timestamp_opt(1_924_992_000, 123_456_000).unwrap();

    let id = job("email").run_at(at).enqueue(&mut db.sync()).unwrap().id;

    assert_eq!(db.job(id).run_at, at);
}

#[test]
fn a_producer_needs_to_insert_and_read_jobs_and_nothing_else() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let keyed = || job("email").unique_key("k");
    let role = format!("producer_{}", std::process::id());
    conn.batch_execute(&format!(
        "CREATE ROLE {role}; GRANT INSERT, SELECT ON pgqueue_jobs TO {role}; SET ROLE {role}"
    ))
    .unwrap();

    let alone = keyed().enqueue(&mut conn);
    let duplicate = keyed().enqueue(&mut conn);
    let bulk = enqueue_all(&mut conn, [job("email"), keyed()]);

    conn.batch_execute(&format!(
        "RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}"
    ))
    .unwrap();
    assert!(alone.unwrap().inserted);
    assert!(!duplicate.unwrap().inserted);
    assert_eq!(bulk.unwrap().len(), 2);
}
