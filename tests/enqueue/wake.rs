//! The wake-up of an insert: a NOTIFY a transaction and queue, by trigger, only while the queue's wake mark is set.

use std::pin::pin;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::StreamExt;
use pgqueue_core::enqueue_all;
use pgqueue_suite::TestDatabase;

use super::job;

/// A session that listens on the channel of a schema.
struct Listener<'d> {
    db: &'d TestDatabase,
    conn: AsyncPgConnection,
    channel: String,
}

impl<'d> Listener<'d> {
    async fn of(db: &'d TestDatabase) -> Self {
        let channel = diesel::dsl::sql::<Text>("SELECT pgqueue_channel()");
        let channel: String = channel.get_result(&mut db.sync()).unwrap();
        let mut conn = db.asynchronous().await;
        conn.batch_execute(&format!("LISTEN \"{channel}\""))
            .await
            .unwrap();
        Self { db, conn, channel }
    }

    /// Gives all that was heard up to now: a notification of our own comes after all of earlier commits.
    async fn heard(&mut self) -> Vec<String> {
        self.db.execute(&format!(
            "SELECT pg_notify('{}', 'end of the test')",
            self.channel
        ));
        let mut stream = pin!(self.conn.notifications_stream());
        let mut heard = Vec::new();
        loop {
            let notification = stream.next().await.unwrap().unwrap();
            if notification.payload == "end of the test" {
                return heard;
            }
            heard.push(notification.payload);
        }
    }
}

/// Makes a database where workers want to be woken for the given queues.
fn with_marks(queues: &[&str]) -> TestDatabase {
    let db = TestDatabase::migrated();
    for queue in queues {
        db.execute(&format!(
            "INSERT INTO pgqueue_wake VALUES ('{queue}', true, '5 s')"
        ));
    }
    db
}

const INSERT: &str = "INSERT INTO pgqueue_jobs (kind, payload) VALUES ('email', '{}');";

#[tokio::test]
async fn an_enqueue_notifies_while_the_mark_is_set() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    job("email").enqueue(&mut db.sync()).unwrap();

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn nothing_is_sent_without_a_mark_or_while_it_is_cleared() {
    let db = with_marks(&["other"]);
    db.execute("INSERT INTO pgqueue_wake VALUES ('mail', false, '5 s')");
    let mut listener = Listener::of(&db).await;

    job("email").enqueue(&mut db.sync()).unwrap();
    job("email").queue("mail").enqueue(&mut db.sync()).unwrap();
    enqueue_all(&mut db.sync(), [job("email"), job("email").queue("mail")]).unwrap();

    assert_eq!(listener.heard().await, [""; 0]);
}

#[tokio::test]
async fn a_transaction_notifies_once_a_queue() {
    let db = with_marks(&["default", "mail"]);
    let mut listener = Listener::of(&db).await;

    db.sync()
        .transaction(|conn| {
            for queue in ["default", "default", "mail", "default", "mail", "unmarked"] {
                job("email").queue(queue).enqueue(conn)?;
            }
            QueryResult::Ok(())
        })
        .unwrap();

    assert_eq!(listener.heard().await, ["default", "mail"]);
}

#[tokio::test]
async fn every_transaction_notifies_anew() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;
    let mut conn = db.sync();

    job("email").enqueue(&mut conn).unwrap();
    job("email").enqueue(&mut conn).unwrap();

    assert_eq!(listener.heard().await, ["default", "default"]);
}

#[tokio::test]
async fn a_bulk_enqueue_notifies_once_a_statement_at_most_and_once_in_a_transaction() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    db.sync()
        .transaction(|conn| enqueue_all(conn, (0..2500).map(|_| job("email"))))
        .unwrap();

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn rows_inserted_by_plain_sql_notify_too() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    db.execute("INSERT INTO pgqueue_jobs (kind, payload) SELECT 'email', '{}' FROM generate_series(1, 100)");

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn rows_copied_in_notify_too() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;
    let mut conn = db.sync();

    diesel::copy_from(pgqueue_core::schema::pgqueue_jobs::table)
        .from_raw_data(
            (
                pgqueue_core::schema::pgqueue_jobs::kind,
                pgqueue_core::schema::pgqueue_jobs::payload,
            ),
            |copy| {
                std::io::Write::write_all(copy, b"email\t{}\nemail\t{}\n")
                    .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))
            },
        )
        .execute(&mut conn)
        .unwrap();

    assert_eq!(db.jobs().len(), 2);
    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn a_rolled_back_transaction_notifies_nobody() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    db.execute(&format!("BEGIN; {INSERT} ROLLBACK;"));

    assert_eq!(listener.heard().await, [""; 0]);
}

#[tokio::test]
async fn a_duplicate_notifies_nobody() {
    let db = with_marks(&["default"]);
    job("email")
        .unique_key("k")
        .enqueue(&mut db.sync())
        .unwrap();
    let mut listener = Listener::of(&db).await;

    job("email")
        .unique_key("k")
        .enqueue(&mut db.sync())
        .unwrap();

    assert_eq!(listener.heard().await, [""; 0]);
}

#[tokio::test]
async fn a_job_beyond_the_horizon_notifies_nobody_and_one_within_does() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;
    let delayed = |seconds| job("email").delay(std::time::Duration::from_secs(seconds));

    delayed(6).enqueue(&mut db.sync()).unwrap();
    let beyond = listener.heard().await;
    delayed(4).enqueue(&mut db.sync()).unwrap();
    let within = listener.heard().await;

    assert_eq!(beyond, [""; 0]);
    assert_eq!(within, ["default"]);
}

#[tokio::test]
async fn a_job_beyond_the_horizon_does_not_hush_the_next_of_its_transaction() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    db.execute(&format!(
        "BEGIN; INSERT INTO pgqueue_jobs (kind, payload, run_at) VALUES ('email', '{{}}', now() + '1 h'); {INSERT} COMMIT;"
    ));

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn a_rolled_back_savepoint_does_not_hush_the_rest_of_its_transaction() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    db.execute(&format!(
        "BEGIN; SAVEPOINT s; {INSERT} ROLLBACK TO s; {INSERT} COMMIT;"
    ));

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn a_rolled_back_transaction_does_not_hush_the_next_of_its_session() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    db.execute(&format!("BEGIN; {INSERT} ROLLBACK; {INSERT}"));

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn every_update_that_makes_a_job_due_notifies() {
    let updates = [
        (
            "state = 'running', claimed_by = 1",
            "state = 'pending', claimed_by = NULL",
        ),
        (
            "state = 'dead', finished_at = now()",
            "state = 'pending', finished_at = NULL",
        ),
        ("run_at = now() + '1 h'", "run_at = now()"),
        ("queue = 'other'", "queue = 'default'"),
    ];
    for (before, after) in updates {
        let db = TestDatabase::migrated();
        db.execute(&format!("{INSERT} UPDATE pgqueue_jobs SET {before}; INSERT INTO pgqueue_wake VALUES ('default', true, '5 s')"));
        let mut listener = Listener::of(&db).await;

        db.execute(&format!("UPDATE pgqueue_jobs SET {after}"));

        assert_eq!(listener.heard().await, ["default"], "{after}");
    }
}

#[tokio::test]
async fn updates_that_make_nothing_due_notify_nobody() {
    let db = with_marks(&["default"]);
    db.execute(INSERT);
    let mut listener = Listener::of(&db).await;

    for change in [
        "priority = 1",
        "run_at = run_at + '1 s'",
        "state = 'running', claimed_by = 1",
        "progress = '1'",
    ] {
        db.execute(&format!("UPDATE pgqueue_jobs SET {change}"));
    }

    assert_eq!(listener.heard().await, [""; 0]);
}

#[tokio::test]
async fn a_role_that_may_only_insert_notifies() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;
    let role = format!("producer_{}", std::process::id());

    db.execute(&format!(
        "CREATE ROLE {role}; GRANT INSERT ON pgqueue_jobs TO {role};
         SET ROLE {role}; {INSERT} RESET ROLE;
         DROP OWNED BY {role}; DROP ROLE {role};"
    ));

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn a_session_with_another_search_path_notifies_the_schema_of_the_table() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;

    db.execute("SET search_path = pg_catalog; INSERT INTO public.pgqueue_jobs (kind, payload) VALUES ('email', '{}')");

    assert_eq!(listener.heard().await, ["default"]);
}

#[tokio::test]
async fn each_schema_has_a_channel_of_its_own() {
    let db = with_marks(&["default"]);
    let mut listener = Listener::of(&db).await;
    let mut tenant = db.sync();
    diesel::connection::SimpleConnection::batch_execute(
        &mut tenant,
        "CREATE SCHEMA tenant; SET search_path = tenant",
    )
    .unwrap();
    pgqueue_core::migrate(&mut tenant).unwrap();
    diesel::sql_query("INSERT INTO pgqueue_wake VALUES ('default', true, '5 s')")
        .execute(&mut tenant)
        .unwrap();

    job("email").enqueue(&mut tenant).unwrap();

    assert_eq!(listener.heard().await, [""; 0]);
    assert_eq!(db.number("SELECT count(*) FROM tenant.pgqueue_jobs"), 1);
}
