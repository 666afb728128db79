//! How many connections a worker makes; and a database that is not there, or lets nobody in: the error names the server,
//! the cause and what to look at.

use std::time::Duration;

use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use pgqueue_core::{Context, ErrorKind, JobState, RawJob, Source, Worker};
use pgqueue_suite::{TestDatabase, server, wait_until};

use super::{Running, enqueue, job};

/// Nobody listens on port 1.
const NOWHERE: &str = "postgres://clerk:s3cret@127.0.0.1:1/orders";

async fn handler(_: RawJob, _: Context) -> Result<(), String> {
    Ok(())
}

#[tokio::test]
async fn a_worker_makes_six_connections_beside_those_of_its_handlers() {
    let db = TestDatabase::migrated();
    let url = format!("{}?application_name=engine", db.url());
    let builder = Worker::builder(url).handle_kind("job", handler);
    let running = Running::start(builder.lease(Duration::from_secs(2)));
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'engine'
                    AND datname = current_database()";

    run_to_its_end(&db).await;

    wait_until("all are made", async || db.number(sessions) >= 6).await;
    run_to_its_end(&db).await;
    assert_eq!(db.number(sessions), 6);
    running.stop().await;
}

async fn run_to_its_end(db: &TestDatabase) {
    let id = enqueue(db, job());
    db.wait_for_state(id, JobState::Completed).await;
}

/// Starts a worker that cannot connect, and gives the message of its error.
async fn refusal(source: impl Into<Source>) -> String {
    let builder = Worker::builder(source).handle_kind("job", handler);

    let error = builder
        .build()
        .unwrap()
        .run_until_empty()
        .await
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    error.to_string()
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[tokio::test]
async fn a_wrong_port_is_an_error_that_names_host_port_and_database() {
    let message = refusal(NOWHERE).await;

    let words = [
        "127.0.0.1:1",
        r#"database "orders""#,
        r#"user "clerk""#,
        "Connection refused",
        "check that it runs",
        "the database URL",
    ];
    assert_says(&message, &words);
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_an_error_that_names_it() {
    let message = refusal("postgres://clerk:s3cret@nowhere.invalid/orders").await;

    assert_says(&message, &["nowhere.invalid:5432", "check that it runs"]);
}

#[tokio::test]
async fn a_missing_database_is_an_error_that_names_it_and_the_server() {
    let message = refusal(server().url("nothing_here")).await;

    let port = format!(":{},", server().port());
    let words = [
        &port,
        "refuses the connection",
        r#"database "nothing_here" does not exist"#,
        "correct the database URL",
    ];
    assert_says(&message, &words);
}

#[tokio::test]
async fn a_wrong_password_is_an_error_that_names_the_user_and_keeps_the_password() {
    let server = local_postgres::LocalPostgres::start().unwrap();
    let db = TestDatabase::migrated_on(&server);
    db.execute("CREATE ROLE clerk LOGIN PASSWORD 'another'");
    let url = db.url().replace("postgres@", "clerk:s3cret@");
    require_passwords_of(&db, "clerk");
    wait_until("the server asks for passwords", async || {
        AsyncPgConnection::establish(&url).await.is_err()
    })
    .await;

    let message = refusal(url).await;

    let words = [
        &format!("127.0.0.1:{}", server.port()),
        r#"user "clerk""#,
        "password authentication failed",
        "correct the database URL",
    ];
    assert_says(&message, &words);
}

/// Writes the rule at the head of the server's `pg_hba.conf`; it counts a moment later.
fn require_passwords_of(db: &TestDatabase, role: &str) {
    let rule = format!("host all {role} all scram-sha-256");
    db.execute(&format!(
        r"CREATE TABLE rules (line text);
          DO $do$ BEGIN
              EXECUTE format('COPY rules FROM %L WITH (DELIMITER E''\x01'')', current_setting('hba_file'));
              EXECUTE format('COPY (SELECT %L UNION ALL SELECT line FROM rules) TO %L', '{rule}', current_setting('hba_file'));
          END $do$"
    ));
    db.execute("SELECT pg_reload_conf()");
}

#[tokio::test]
async fn a_pools_error_says_that_only_the_pool_knows_the_address() {
    let manager = || AsyncDieselConnectionManager::<AsyncPgConnection>::new(NOWHERE);
    let deadpool = deadpool::Pool::builder(manager()).build().unwrap();
    let bb8 = bb8::Pool::builder().build_unchecked(manager());

    let messages = [refusal(deadpool).await, refusal(bb8).await];

    for message in messages {
        let words = [
            "the connection pool",
            "keeps its address to itself",
            "cannot connect",
            "the URL that the pool was made with",
        ];
        assert_says(&message, &words);
    }
}

#[test]
fn a_password_with_an_at_sign_is_refused_before_its_rest_passes_for_the_host() {
    let builder = Worker::builder("postgres://clerk:a@s3cret@localhost/orders");

    let error = builder.handle_kind("job", handler).build().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_says(&error.to_string(), &["%40"]);
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
}
