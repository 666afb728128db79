//! The claim: future jobs, unknown kinds and paused queues cost it nothing, and it keeps its limit under any plan.

use pgqueue_suite::TestDatabase;
use tokio_postgres::Client;

use super::load::{empty_and_analysed, load};
use super::meter::{Session, connect, meter, number, prepare, rows, text};

const START: &str = "array_fill('-infinity'::timestamptz, '{10}')";
const TEN_ZEROS: &str = "array_fill(0::bigint, '{10}')";

/// Prepares the claim in a session of the engine, settled on an empty table.
async fn stale_claim(db: &TestDatabase) -> Client {
    let claim = connect(db, Session::Claim).await;
    claim
        .batch_execute("SET plan_cache_mode = force_generic_plan")
        .await
        .unwrap();
    prepare(&claim, "claim").await;
    rows(
        &claim,
        &claim_of("'{default}', '{10}'", START, TEN_ZEROS, 10),
    )
    .await;
    claim
}

fn claim_of(queues_and_slots: &str, after_run_at: &str, after_id: &str, total: u32) -> String {
    let (_, free) = queues_and_slots.split_once(", ").unwrap();
    format!(
        "EXECUTE claim ({queues_and_slots}, {after_run_at}, {after_id}, '{{email}}', {total}, 1, 1, NULL, {free}, 1000000)"
    )
}

#[tokio::test]
async fn a_million_future_jobs_cost_a_claim_nothing() {
    let (db, loader) = empty_and_analysed().await;
    let claim = stale_claim(&db).await;
    prepare(&claim, "look_ahead").await;
    loader
        .batch_execute(
            "INSERT INTO pgqueue_jobs (kind, payload, priority, run_at)
             SELECT 'email', '{}', i % 10, now() + interval '1 hour' + i * interval '1 ms' FROM generate_series(1, 1000000) AS i;
             INSERT INTO pgqueue_jobs (kind, payload) SELECT 'email', '{}' FROM generate_series(1, 10)",
        )
        .await
        .unwrap();

    let ten = meter(
        &claim,
        &claim_of("'{default}', '{10}'", START, TEN_ZEROS, 10),
    )
    .await;
    let all_due = meter(
        &claim,
        &claim_of("'{default}', '{100}'", START, TEN_ZEROS, 100),
    )
    .await;
    let ahead = meter(&claim, "EXECUTE look_ahead ('{default}', '{email}')").await;

    assert_eq!((ten.rows, all_due.rows, ahead.rows), (10, 10, 1));
    assert!(ten.buffers < 700, "{ten:#?}");
    assert!(all_due.buffers < 700, "{all_due:#?}");
    assert!(ahead.buffers < 100, "{ahead:#?}");
}

#[tokio::test]
async fn the_cursor_passes_a_backlog_of_a_kind_that_the_worker_does_not_know() {
    let (db, loader) = empty_and_analysed().await;
    let claim = stale_claim(&db).await;
    loader
        .batch_execute(
            "INSERT INTO pgqueue_jobs (kind, payload, run_at)
             SELECT 'unknown', '{}', now() - interval '1 hour' + i * interval '1 ms' FROM generate_series(1, 300000) AS i;
             INSERT INTO pgqueue_jobs (kind, payload, run_at)
             SELECT 'email', '{}', now() - interval '1 min' + i * interval '1 ms' FROM generate_series(1, 20) AS i",
        )
        .await
        .unwrap();
    let first_known = "(SELECT min(run_at) FROM pgqueue_jobs WHERE kind = 'email')";
    let run_at = text(&loader, &format!("SELECT {first_known}")).await;
    let id = number(
        &loader,
        &format!("SELECT id FROM pgqueue_jobs WHERE kind = 'email' AND run_at = {first_known}"),
    )
    .await;

    let sweep = meter(
        &claim,
        &claim_of("'{default}', '{10}'", START, TEN_ZEROS, 10),
    )
    .await;
    let cursor = (
        format!("array_fill('{run_at}'::timestamptz, '{{10}}')"),
        format!("array_fill({id}::bigint, '{{10}}')"),
    );
    let behind_cursor = meter(
        &claim,
        &claim_of("'{default}', '{10}'", &cursor.0, &cursor.1, 10),
    )
    .await;
    let exhausted = "array_fill('infinity'::timestamptz, '{10}')";
    let trailing = meter(
        &claim,
        &claim_of("'{default}', '{10}'", exhausted, TEN_ZEROS, 10),
    )
    .await;

    assert_eq!(sweep.rows, 10);
    assert!(
        sweep.buffers > 1000,
        "the meter shows what a sweep costs: {sweep:#?}"
    );
    assert_eq!(behind_cursor.rows, 10);
    assert!(behind_cursor.buffers < 700, "{behind_cursor:#?}");
    assert_eq!(
        trailing.rows, 0,
        "what is older than the cursor trails is left to sweeps"
    );
    assert!(trailing.buffers < 100, "{trailing:#?}");
}

#[tokio::test]
async fn a_paused_queue_costs_a_claim_nothing_and_the_others_go_on() {
    let (db, loader) = empty_and_analysed().await;
    let claim = stale_claim(&db).await;
    load(&loader).await;
    loader
        .batch_execute(
            "INSERT INTO pgqueue_queues VALUES ('default', now()), ('other', NULL);
             INSERT INTO pgqueue_jobs (kind, payload, queue) SELECT 'email', '{}', 'other' FROM generate_series(1, 5)",
        )
        .await
        .unwrap();
    let ten_each = |queues: &str, slots: &str| {
        let ten_a_queue = |value: &str| format!("array_fill({value}, '{{20}}')");
        claim_of(
            &format!("'{queues}', '{slots}'"),
            &ten_a_queue("'-infinity'::timestamptz"),
            &ten_a_queue("0::bigint"),
            20,
        )
    };

    let paused = meter(&claim, &ten_each("{default}", "{10}")).await;
    let both = meter(&claim, &ten_each("{default,other}", "{10,10}")).await;

    assert_eq!((paused.rows, both.rows), (0, 5));
    assert!(paused.buffers < 20, "{paused:#?}");
    assert!(both.buffers < 400, "{both:#?}");
}

#[tokio::test]
async fn a_worker_that_is_not_registered_claims_nothing() {
    let (db, loader) = empty_and_analysed().await;
    let claim = stale_claim(&db).await;
    load(&loader).await;
    loader
        .batch_execute("DELETE FROM pgqueue_workers")
        .await
        .unwrap();

    let bill = meter(
        &claim,
        &claim_of("'{default}', '{10}'", START, TEN_ZEROS, 10),
    )
    .await;

    assert_eq!(bill.rows, 0);
    assert!(bill.buffers < 20, "{bill:#?}");
}

#[tokio::test]
async fn no_planner_setting_lets_a_statement_take_more_than_its_limit() {
    let (db, loader) = empty_and_analysed().await;
    load(&loader).await;
    loader
        .batch_execute(
            "DELETE FROM pgqueue_jobs WHERE id BETWEEN 5000 AND 299000 OR id BETWEEN 405000 AND 899000; -- every plan ends soon
             INSERT INTO pgqueue_jobs (kind, payload, queue) SELECT 'email', '{}', 'other' FROM generate_series(1, 1000);
             ANALYZE pgqueue_jobs",
        )
        .await
        .unwrap();
    let limited = [
        (
            "claim",
            "'{default,other}', '{5,3}', array_fill('-infinity'::timestamptz, '{20}'), array_fill(0::bigint, '{20}'), '{email}', 100, 1, 1, NULL, '{5,3}', 1000000",
            8,
        ),
        (
            "claim",
            "'{default,other}', '{5,3}', array_fill('-infinity'::timestamptz, '{20}'), array_fill(0::bigint, '{20}'), '{email}', 6, 1, 1, NULL, '{5,3}', 1000000",
            6,
        ),
        (
            "claim_suspect",
            "'{default,other}', '{email}', 1, 1, NULL",
            1,
        ),
        ("rescue", "'{1,2,3,4,5,6,7,8}', 3, 10, 7", 7),
        ("rescue_overdue", "'30 s', 7", 7),
        ("prune_completed", "'1 h', 7", 7),
        ("prune_cancelled", "'1 h', 7", 7),
    ];
    let toggles = "SELECT name FROM pg_settings WHERE name LIKE 'enable\\_%' AND vartype = 'bool' ORDER BY name";
    let toggles = rows(&loader, toggles).await;
    assert!(toggles.len() >= 15, "{toggles:?}");

    for session in [Session::Host, Session::Engine, Session::Claim] {
        let client = connect(&db, session).await;
        for (file, arguments, limit) in limited {
            for toggle in toggles.iter().map(|row| row[0].as_deref().unwrap()) {
                let flip = format!(
                    "BEGIN; DEALLOCATE ALL; SELECT set_config('{toggle}', (NOT current_setting('{toggle}')::boolean)::text, true)"
                );
                client.batch_execute(&flip).await.unwrap();
                prepare(&client, file).await;
                let taken = rows(&client, &format!("EXECUTE \"{file}\" ({arguments})"))
                    .await
                    .len();
                client.batch_execute("ROLLBACK").await.unwrap();
                assert_eq!(
                    taken, limit,
                    "{file} in a session of the {session:?} with {toggle} flipped"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_claim_ahead_stops_at_the_first_job_without_a_retry_left_and_at_its_bytes() {
    let cases = [
        ((20, 5), 1_000_000, 11, 20),
        ((20, 12), 1_000_000, 12, 20),
        ((15, 15), 1_000_000, 15, 15),
        ((20, 0), 1_000_000, 11, 20),
        ((20, 5), 7 * 2000, 7, 20),
        ((20, 5), 1, 5, 20),
    ];
    for ((most, free), bytes, claimed, visited) in cases {
        let (db, loader) = empty_and_analysed().await;
        let claim = stale_claim(&db).await;
        loader
            .batch_execute(
                "ALTER TABLE pgqueue_jobs ALTER payload SET STORAGE EXTERNAL;
                 INSERT INTO pgqueue_jobs (kind, payload, max_retries, priority)
                 SELECT 'email', to_jsonb(repeat(md5(i::text), 62)), CASE i WHEN 12 THEN 0 ELSE 3 END, 4 + (i / 8)
                 FROM generate_series(1, 20) AS i",
            )
            .await
            .unwrap();

        let sql = format!(
            "EXECUTE claim ('{{default}}', '{{{most}}}', {START}, {TEN_ZEROS}, '{{email}}', 100, 1, 1, NULL, '{{{free}}}', {bytes})"
        );
        let rows = rows(&claim, &sql).await;

        assert_eq!(
            rows.len(),
            claimed,
            "most {most}, free {free}, {bytes} bytes"
        );
        let last = rows[0].last().unwrap().as_deref();
        assert_eq!(
            last,
            Some(visited.to_string().as_str()),
            "most {most}, free {free}, {bytes} bytes"
        );
        let ids = "SELECT max(id) FROM pgqueue_jobs WHERE state = 'running'";
        assert_eq!(number(&loader, ids).await, i64::try_from(claimed).unwrap());
    }
}
