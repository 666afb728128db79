//! `NewJob` as an `Insertable`, where the table's named constraints guard; reading rows; joining a host's own table.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{TimeZone, Utc};
use diesel::prelude::*;
use diesel::result::DatabaseErrorKind::CheckViolation;
use diesel::result::Error as DieselError;
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{Error, ErrorKind, Job, JobRow, JobState, NewJob};
use pgqueue_suite::TestDatabase;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{assert_usable, job};

diesel::table! {
    orders (id) {
        id -> BigInt,
        receipt_job -> BigInt,
    }
}

pgqueue_core::allow_pgqueue_jobs_to_appear_in_same_query!(orders);

/// Its keys are lists, which JSON does not have.
#[derive(Serialize, Deserialize)]
struct NotJson(BTreeMap<Vec<u8>, u8>);

impl Job for NotJson {
    const KIND: &'static str = "not_json";
}

fn not_json() -> NotJson {
    NotJson(BTreeMap::from([(vec![1], 1)]))
}

/// Inserts and gives the name of the constraint that refused.
fn refused_by(conn: &mut PgConnection, job: NewJob) -> String {
    let refused = diesel::insert_into(pgqueue_jobs::table)
        .values(job)
        .execute(conn);
    constraint(refused.unwrap_err())
}

fn constraint(error: DieselError) -> String {
    match error {
        DieselError::DatabaseError(CheckViolation, info) => {
            info.constraint_name().unwrap().to_owned()
        }
        other => panic!("not refused by a CHECK: {other}"),
    }
}

#[test]
fn one_job_is_inserted_by_dsl_and_returned_as_a_row() {
    let db = TestDatabase::migrated();

    let row: JobRow = diesel::insert_into(pgqueue_jobs::table)
        .values(NewJob::new("email", json!({"to": "a"})).priority(1))
        .returning(JobRow::as_returning())
        .get_result(&mut db.sync())
        .unwrap();

    assert_eq!(
        (row.kind.as_str(), row.priority, row.state),
        ("email", 1, JobState::Pending)
    );
    assert_eq!(db.jobs(), [row]);
}

#[test]
fn a_vec_of_jobs_is_inserted_in_one_statement() {
    let db = TestDatabase::migrated();
    let jobs: Vec<NewJob> = (0..100).map(|n| NewJob::new("email", json!(n))).collect();

    let inserted = diesel::insert_into(pgqueue_jobs::table)
        .values(jobs)
        .execute(&mut db.sync());

    assert_eq!(inserted, Ok(100));
    let payloads: Vec<_> = db.jobs().into_iter().map(|row| row.payload).collect();
    assert_eq!(payloads, (0..100).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn jobs_are_inserted_by_dsl_on_an_async_connection_too() {
    use diesel_async::RunQueryDsl;
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    let query = diesel::insert_into(pgqueue_jobs::table).values(vec![job("first"), job("second")]);
    let inserted = RunQueryDsl::execute(query, &mut conn).await;

    assert_eq!(inserted, Ok(2));
    assert_eq!(db.jobs().len(), 2);
}

#[test]
fn the_table_refuses_what_is_out_of_bounds_by_named_checks() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let long = |bytes| "x".repeat(bytes);

    let cases = [
        (job("email").priority(10), "pgqueue_jobs_priority_range"),
        (job("email").priority(-1), "pgqueue_jobs_priority_range"),
        (
            job("email").max_retries(1001),
            "pgqueue_jobs_max_retries_range",
        ),
        (
            job("email").max_retries(-1),
            "pgqueue_jobs_max_retries_range",
        ),
        (job(""), "pgqueue_jobs_kind_length"),
        (job(&long(129)), "pgqueue_jobs_kind_length"),
        (job("email").queue(""), "pgqueue_jobs_queue_length"),
        (job("email").queue(long(129)), "pgqueue_jobs_queue_length"),
        (
            job("email").unique_key(""),
            "pgqueue_jobs_unique_key_length",
        ),
        (
            job("email").unique_key(long(513)),
            "pgqueue_jobs_unique_key_length",
        ),
        (
            job("email").timeout(Duration::ZERO),
            "pgqueue_jobs_timeout_range",
        ),
        (
            NewJob::new("email", json!(long(1 << 20))),
            "pgqueue_jobs_payload_size",
        ),
    ];

    for (job, name) in cases {
        assert_eq!(refused_by(&mut conn, job), name);
    }
    assert_eq!(db.jobs().len(), 0);
}

#[test]
fn plain_sql_is_held_to_the_same_checks() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    let cases = [
        ("run_at", "'infinity'", "pgqueue_jobs_run_at_finite"),
        ("run_at", "'-infinity'", "pgqueue_jobs_run_at_finite"),
        ("state", "'done'", "pgqueue_jobs_state"),
        ("state", "'running'", "pgqueue_jobs_claimed_while_running"),
        ("claimed_by", "1", "pgqueue_jobs_claimed_while_running"),
        (
            "state",
            "'completed'",
            "pgqueue_jobs_finished_when_terminal",
        ),
        (
            "finished_at",
            "now()",
            "pgqueue_jobs_finished_when_terminal",
        ),
        ("attempt", "-1", "pgqueue_jobs_attempt_range"),
        ("lost", "-1", "pgqueue_jobs_lost_range"),
        ("errors", "'{}'", "pgqueue_jobs_errors_array"),
        ("metadata", "'[]'", "pgqueue_jobs_metadata_object"),
    ];

    for (column, value, name) in cases {
        let insert = format!(
            "INSERT INTO pgqueue_jobs (kind, payload, {column}) VALUES ('email', '1', {value})"
        );
        let refused = diesel::sql_query(insert).execute(&mut conn);
        assert_eq!(constraint(refused.unwrap_err()), name, "{column} = {value}");
    }
}

#[test]
fn names_and_keys_at_their_limits_are_stored() {
    let db = TestDatabase::migrated();
    let name = "ü".repeat(64); // 128 bytes
    let key = "ü".repeat(256); // 512 bytes

    let job = job(&name)
        .queue(name.as_str())
        .unique_key(key.as_str())
        .priority(9)
        .max_retries(1000);
    let id = job.enqueue(&mut db.sync()).unwrap().id;

    let row = db.job(id);
    assert_eq!(
        (row.kind, row.queue, row.unique_key),
        (name.clone(), name, Some(key))
    );
}

#[test]
fn a_payload_that_is_not_json_fails_before_anything_is_sent() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    conn.transaction(|conn| {
        let enqueued = not_json().enqueue(conn).unwrap_err();
        let inserted = diesel::insert_into(pgqueue_jobs::table)
            .values(not_json().to_new())
            .execute(conn)
            .unwrap_err();

        for error in [enqueued, inserted] {
            let error = Error::of(&error).expect("an error of ours");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(
                error
                    .to_string()
                    .contains(r#"payload of job kind "not_json" cannot be written as JSON"#),
                "{error}"
            );
        }
        assert_usable(conn);
        QueryResult::Ok(())
    })
    .unwrap();

    assert_eq!(db.jobs().len(), 0);
}

#[test]
fn rows_are_read_as_selectable_and_as_queryable() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    job("email").enqueue(&mut conn).unwrap();

    let selected: Vec<JobRow> = pgqueue_jobs::table
        .select(JobRow::as_select())
        .load(&mut conn)
        .unwrap();
    let queried: Vec<JobRow> = pgqueue_jobs::table.load(&mut conn).unwrap();
    let none: i64 = pgqueue_jobs::table
        .filter(pgqueue_jobs::state.eq(JobState::Dead))
        .count()
        .get_result(&mut conn)
        .unwrap();

    assert_eq!(selected, queried);
    assert_eq!((selected.len(), none), (1, 0));
}

#[test]
fn errors_written_by_hand_leave_a_row_readable() {
    let db = TestDatabase::migrated();
    job("email").enqueue(&mut db.sync()).unwrap();
    db.execute(
        r#"UPDATE pgqueue_jobs SET errors = '[{"at": "2026-11-22T10:00:00+00:00", "attempt": 2, "kind": "panic", "message": "no"}, {"by": "me"}, "text", [1]]'"#,
    );

    let errors = &db.jobs()[0].errors;

    let (kept, at) = (&errors[0], Utc.with_ymd_and_hms(2026, 11, 22, 10, 0, 0));
    assert_eq!(kept.at, at.single());
    assert_eq!(
        (kept.attempt, kept.kind.as_str(), kept.message.as_str()),
        (2, "panic", "no")
    );
    let rest: Vec<_> = errors[1..].iter().map(|error| &error.message).collect();
    assert_eq!(rest, [r#"{"by":"me"}"#, "text", "[1]"]);
    let deep = "UPDATE pgqueue_jobs SET errors = (repeat('[', 5000) || repeat(']', 5000))::jsonb";
    db.execute(deep);
    assert_eq!(db.jobs()[0].errors.len(), 1);
}

#[test]
fn a_row_is_written_as_json_by_the_names_of_its_columns() {
    let db = TestDatabase::migrated();
    let timed = job("email").timeout(Duration::from_millis(1500));
    let id = timed.enqueue(&mut db.sync()).unwrap().id;
    db.execute(r#"UPDATE pgqueue_jobs SET created_at = '2026-11-22 10:00:00Z', errors = '[{"kind": "lost"}]'"#);

    let mut json = serde_json::to_value(db.job(id)).unwrap();

    json.as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    json.as_object_mut().unwrap().remove("run_at");
    assert_eq!(
        json,
        json!({
            "id": id, "created_at": "2026-11-22T10:00:00Z", "fencing_token": 0, "attempt": 0, "max_retries": 3, "lost": 0,
            "priority": 5, "state": "pending", "queue": "default", "kind": "email", "payload": {}, "timeout_ms": 1500,
            "errors": [{"at": null, "attempt": 0, "kind": "lost", "message": "{\"kind\":\"lost\"}"}],
        })
    );
}

#[test]
fn every_column_of_the_table_is_in_the_schema_in_the_same_order() {
    use diesel::query_source::Table;
    let db = TestDatabase::migrated();
    db.execute("CREATE TABLE columns AS SELECT attname::text AS name, attnum FROM pg_attribute WHERE attrelid = 'pgqueue_jobs'::regclass AND attnum > 0");
    let query = diesel::dsl::sql::<diesel::sql_types::Text>(
        "SELECT string_agg(format('\"pgqueue_jobs\".\"%s\"', name), ', ' ORDER BY attnum) FROM columns",
    );

    let in_database: String = query.get_result(&mut db.sync()).unwrap();

    let select = diesel::debug_query::<diesel::pg::Pg, _>(
        &pgqueue_jobs::table.select(pgqueue_jobs::table::all_columns()),
    )
    .to_string();
    assert!(
        select.contains(&format!("SELECT {in_database} FROM")),
        "{select}"
    );
}

#[tokio::test]
async fn jobs_are_joined_with_a_table_of_the_host() {
    let db = TestDatabase::migrated();
    db.execute("CREATE TABLE orders (id bigint PRIMARY KEY, receipt_job bigint NOT NULL)");
    let mut conn = db.sync();
    let job = job("receipt").enqueue(&mut conn).unwrap().id;
    diesel::insert_into(orders::table)
        .values((orders::id.eq(42), orders::receipt_job.eq(job)))
        .execute(&mut conn)
        .unwrap();
    let joined = || {
        orders::table
            .inner_join(pgqueue_jobs::table.on(pgqueue_jobs::id.eq(orders::receipt_job)))
            .select((orders::id, JobRow::as_select()))
    };

    let sync: Vec<(i64, JobRow)> = joined().load(&mut conn).unwrap();
    let asynchronous: Vec<(i64, JobRow)> =
        diesel_async::RunQueryDsl::load(joined(), &mut db.asynchronous().await)
            .await
            .unwrap();

    assert_eq!(sync, asynchronous);
    assert_eq!(sync.len(), 1);
    assert_eq!((sync[0].0, sync[0].1.id), (42, job));
}
