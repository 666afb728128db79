//! What is refused before it is sent: the message, the typed error, and a transaction that is still usable.

use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use diesel::prelude::*;
use diesel_async::AsyncConnection;
use pgqueue_core::{Error, ErrorKind, NewJob, enqueue_all, enqueue_all_async};
use pgqueue_suite::TestDatabase;
use serde_json::{Value, json};

use super::{assert_usable, job};

const MIB: usize = 1 << 20;

/// A job that is refused, and the field, size and limit that its error names.
type Case = (NewJob, &'static str, i64, i64);

fn cases() -> Vec<Case> {
    let long = |bytes| "x".repeat(bytes);
    let century = 100 * 366 * 86_400;
    let year_10000 = Utc.timestamp_opt(253_402_300_800, 0).unwrap();
    vec![
        (job(""), "kind", 0, 1),
        (job(&long(129)), "kind", 129, 128),
        (job(&"ü".repeat(65)), "kind", 130, 128),
        (job("email").queue(""), "queue", 0, 1),
        (job("email").queue(long(129)), "queue", 129, 128),
        (job("email").priority(-1), "priority", -1, 0),
        (job("email").priority(10), "priority", 10, 9),
        (job("email").max_retries(-1), "max_retries", -1, 0),
        (job("email").max_retries(1001), "max_retries", 1001, 1000),
        (job("email").unique_key(""), "unique_key", 0, 1),
        (job("email").unique_key(long(513)), "unique_key", 513, 512),
        (job("email").timeout(Duration::ZERO), "timeout", 0, 1),
        (
            job("email").timeout(Duration::from_secs(century + 1)),
            "timeout",
            3_162_240_001,
            3_162_240_000,
        ),
        (
            job("email").delay(Duration::from_secs(century + 1)),
            "delay",
            3_162_240_001,
            3_162_240_000,
        ),
        (
            job("email").delay(Duration::MAX),
            "delay",
            i64::MAX,
            3_162_240_000,
        ),
        (
            job("email").run_at(year_10000),
            "run_at",
            253_402_300_800,
            253_402_300_799,
        ),
        (
            job("email").run_at(DateTime::<Utc>::MIN_UTC),
            "run_at",
            DateTime::<Utc>::MIN_UTC.timestamp(),
            0,
        ),
        (text_of(MIB + 1), "payload", 1_048_577, 1_048_576),
        (
            job("email").metadata("note", long(MIB)),
            "metadata",
            1_048_588,
            1_048_576,
        ),
    ]
}

fn nul_cases() -> Vec<(NewJob, &'static str)> {
    vec![
        (job("e\0mail"), "kind"),
        (job("email").queue("\0"), "queue"),
        (job("email").unique_key("user:\0"), "unique_key"),
        (
            NewJob::new("email", json!({"deep": [{"text": "a\0b"}]})),
            "payload",
        ),
        (NewJob::new("email", json!({"na\0me": 1})), "payload"),
        (job("email").metadata("note", "\0"), "metadata"),
        (job("email").tag("\0"), "metadata"),
    ]
}

/// Makes a job whose payload is printed in so many bytes.
fn text_of(bytes: usize) -> NewJob {
    NewJob::new("email", Value::String("x".repeat(bytes - 2)))
}

#[test]
fn every_bound_is_reported_with_field_size_and_limit() {
    for (job, field, size, limit) in cases() {
        let error = job.validate().unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid);
        let invalid = error.invalid().unwrap();
        assert_eq!(
            (invalid.field, invalid.size, invalid.limit),
            (field, size, limit)
        );
        let message = error.to_string();
        let told = if size == 0 && limit == 1 && field != "timeout" {
            "empty".to_owned()
        } else {
            size.to_string()
        };
        for part in [field, told.as_str(), limit.to_string().as_str()] {
            assert!(message.contains(part), "{message:?} does not name {part}");
        }
    }
}

#[test]
fn a_nul_character_is_refused_wherever_it_stands() {
    for (job, field) in nul_cases() {
        let error = job.validate().unwrap_err();

        assert_eq!(error.invalid().unwrap().field, field);
        assert!(
            error
                .to_string()
                .contains(&format!("{field} of the job has a NUL character")),
            "{error}"
        );
    }
}

#[test]
fn a_refused_job_leaves_a_sync_transaction_usable() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    conn.transaction(|conn| {
        for (refused, field, ..) in cases() {
            let alone = refused.clone().enqueue(conn).unwrap_err();
            let bulk = enqueue_all(conn, [refused]).unwrap_err();
            for error in [alone, bulk] {
                assert_eq!(Error::of(&error).unwrap().invalid().unwrap().field, field);
            }
            assert_usable(conn);
        }
        job("email").enqueue(conn)
    })
    .unwrap();

    assert_eq!(db.jobs().len(), 1);
}

#[tokio::test]
async fn a_refused_job_leaves_an_async_transaction_usable() {
    let db = TestDatabase::migrated();
    let mut conn = db.asynchronous().await;

    conn.transaction(async |conn| {
        for (refused, field, ..) in cases() {
            let alone = refused.clone().enqueue_async(conn).await.unwrap_err();
            let bulk = enqueue_all_async(conn, [refused]).await.unwrap_err();
            for error in [alone, bulk] {
                assert_eq!(Error::of(&error).unwrap().invalid().unwrap().field, field);
            }
        }
        job("email").enqueue_async(conn).await
    })
    .await
    .unwrap();

    assert_eq!(db.jobs().len(), 1);
}

#[test]
fn the_typed_error_comes_back_by_question_mark_as_well() {
    fn place_order(conn: &mut PgConnection) -> Result<(), Error> {
        conn.transaction(|conn| {
            job("email").priority(10).enqueue(conn)?;
            Ok(())
        })
    }
    let db = TestDatabase::migrated();

    let error = place_order(&mut db.sync()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.invalid().unwrap().field, "priority");
    assert_eq!(db.jobs().len(), 0);
}

#[test]
fn a_payload_of_exactly_one_mebibyte_is_stored_and_one_byte_more_is_not() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();

    let stored = text_of(MIB).enqueue(&mut conn).unwrap();
    let refused = text_of(MIB + 1).enqueue(&mut conn).unwrap_err();

    assert_eq!(
        db.number("SELECT octet_length(payload::text) FROM pgqueue_jobs"),
        1 << 20
    );
    assert_eq!(db.jobs()[0].id, stored.id);
    assert_eq!(
        Error::of(&refused).unwrap().invalid().unwrap().field,
        "payload"
    );
}

#[test]
fn a_payload_is_measured_as_postgresql_prints_it() {
    let db = TestDatabase::migrated();
    let mut conn = db.sync();
    let payloads = [
        json!({"a": [1, -2.50, true, null, "\u{1}\n\"ü/\\"], "b": {}, "c": [], "d": {"e": {"f": [[], {}]}}}),
        json!([
            1e300,
            1e16,
            -1e21,
            1e-7,
            1.0,
            0.1,
            12345678.9,
            u64::MAX,
            i64::MIN
        ]),
        json!("\u{8}\u{c}\u{7f}\u{2028}😀"),
    ];

    for payload in payloads {
        let id = NewJob::new("email", payload.clone())
            .enqueue(&mut conn)
            .unwrap()
            .id;
        let printed = db.number(&format!(
            "SELECT octet_length(payload::text) FROM pgqueue_jobs WHERE id = {id}"
        ));
        let printed = usize::try_from(printed).unwrap();

        let job = NewJob::new("email", payload);
        assert!(
            job.clone().payload_limit(printed).validate().is_ok(),
            "{printed} bytes"
        );
        assert!(
            job.payload_limit(printed - 1).validate().is_err(),
            "{printed} bytes"
        );
    }
}

#[test]
fn a_payload_that_only_postgresql_prints_at_length_is_refused_before_the_table_does() {
    let db = TestDatabase::migrated();
    let short_in_rust = NewJob::new("email", json!(vec![1e20; 100_000]));

    let refused = short_in_rust.enqueue(&mut db.sync()).unwrap_err();

    assert_eq!(
        Error::of(&refused).unwrap().invalid().unwrap().size,
        2_300_000
    );
}

/// Checks that an error names the payload and both limits.
fn assert_over_the_databases_limit(error: &diesel::result::Error) {
    let error = Error::of(error).expect("an error of ours");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let message = error.to_string();
    for part in [
        "payload of the job",
        "pgqueue.payload_limit in the database",
        "a job's own payload_limit does not",
    ] {
        assert!(message.contains(part), "{message:?} does not name {part}");
    }
}

#[tokio::test]
async fn a_payload_over_the_databases_own_limit_is_a_typed_error_on_every_path() {
    let db = TestDatabase::migrated();
    let (mut sync, mut asynchronous) = (db.sync(), db.asynchronous().await);
    let large = || text_of(2 * MIB).payload_limit(4 * MIB);

    let refused = [
        large().enqueue(&mut sync).unwrap_err(),
        large().enqueue_async(&mut asynchronous).await.unwrap_err(),
        enqueue_all(&mut sync, [large()]).unwrap_err(),
        enqueue_all_async(&mut asynchronous, [large()])
            .await
            .unwrap_err(),
    ];

    refused.iter().for_each(assert_over_the_databases_limit);
    assert_eq!(db.jobs().len(), 0);
}

#[test]
fn a_payload_is_as_deep_as_can_be_read_back_and_no_deeper() {
    let db = TestDatabase::migrated();
    let nested = |levels| (1..levels).fold(json!([]), |inner, _| json!({ "in": inner }));

    let id = NewJob::new("email", nested(127))
        .enqueue(&mut db.sync())
        .unwrap()
        .id;
    db.execute("UPDATE pgqueue_jobs SET metadata = jsonb_build_object('one deeper', payload)");

    let row = db.job(id);
    assert_eq!(row.payload, nested(127));
    assert!(
        row.metadata.unwrap().is_string(),
        "128 levels cannot be read"
    );
    let deeper = [
        (NewJob::new("email", nested(128)), "payload", 128),
        (NewJob::new("email", nested(500)), "payload", 500),
        (job("email").metadata("deep", nested(127)), "metadata", 128),
    ];
    for (deeper, field, levels) in deeper {
        let alone = deeper.clone().enqueue(&mut db.sync()).unwrap_err();
        let bulk = enqueue_all(&mut db.sync(), [deeper]).unwrap_err();
        for error in [alone, bulk] {
            let invalid = Error::of(&error).unwrap().invalid().unwrap();
            assert_eq!(
                (invalid.field, invalid.size, invalid.limit),
                (field, levels, 127)
            );
        }
    }
}

#[test]
fn a_larger_payload_needs_the_limit_of_the_job_and_of_the_database() {
    let db = TestDatabase::migrated();
    let large = || text_of(2 * MIB).payload_limit(4 * MIB);

    let before = large().enqueue(&mut db.sync()).unwrap_err();
    db.set_default("pgqueue.payload_limit = 4194304");
    let after = large().enqueue(&mut db.sync());

    assert_over_the_databases_limit(&before);
    assert!(after.unwrap().inserted);
    let beyond = text_of(4 * MIB + 1)
        .payload_limit(4 * MIB)
        .enqueue(&mut db.sync())
        .unwrap_err();
    assert_eq!(
        Error::of(&beyond).unwrap().invalid().unwrap().limit,
        4 << 20
    );
}
