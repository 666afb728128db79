//! What the demo, the tests and the benchmarks of this workspace rely on.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests, which clippy does not count as tests"
)]

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use local_postgres::{LocalPostgres, Shutdown};
use postgres::{Client, NoTls};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[test]
fn a_started_server_answers_a_query() {
    let server = LocalPostgres::start().unwrap();

    let version = query_text(&server.url("postgres"), "SHOW server_version");

    assert_eq!(version, server.version());
    assert!(version.starts_with(&server.major_version().to_string()));
    assert!(server.is_private());
}

#[test]
fn a_test_server_does_not_sync_and_a_durable_one_does() {
    let fleeting = LocalPostgres::start().unwrap();
    let durable = LocalPostgres::builder()
        .durable()
        .setting("shared_buffers", "64MB")
        .start()
        .unwrap();

    let of = |server: &LocalPostgres, name: &str| {
        query_text(&server.url("postgres"), &format!("SHOW {name}"))
    };

    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        assert_eq!(
            (of(&fleeting, name).as_str(), of(&durable, name).as_str()),
            ("off", "on"),
            "{name}"
        );
    }
    assert_eq!(of(&durable, "shared_buffers"), "64MB");
    assert_eq!(of(&fleeting, "max_connections"), "300");
}

#[test]
fn a_setting_that_postgres_refuses_is_reported_with_its_log() {
    let error = LocalPostgres::builder()
        .setting("shared_buffers", "a lot")
        .start()
        .unwrap_err();

    assert!(
        error
            .to_string()
            .contains("invalid value for parameter \"shared_buffers\""),
        "{error}"
    );
}

#[test]
fn two_servers_run_at_once() {
    let one = LocalPostgres::start().unwrap();
    let two = LocalPostgres::start().unwrap();

    one.create_database("only_here").unwrap();

    assert_ne!(one.port(), two.port());
    assert!(Client::connect(&one.url("only_here"), NoTls).is_ok());
    assert!(Client::connect(&two.url("only_here"), NoTls).is_err());
}

#[test]
fn a_dropped_server_is_gone_with_its_directory() {
    let server = LocalPostgres::start().unwrap();
    let (port, directory) = (server.port(), directory_of(&server.url("postgres")));
    assert!(directory.is_dir());

    drop(server);

    assert!(!answers(port));
    assert!(!directory.exists());
}

#[test]
fn a_server_whose_owner_is_killed_leaves_neither_process_nor_directory() {
    let (mut owner, url) = spawn_owner();
    let directory = directory_of(&url);
    assert!(directory.is_dir());

    owner.kill().unwrap(); // SIGKILL: nothing of the owner runs any more
    owner.wait().unwrap();

    eventually("the port is closed", || !answers(port_of(&url)));
    // The guard removes it after it has waited for the server's end, so this means both.
    eventually("the directory is removed", || !directory.exists());
}

#[test]
fn an_owner_whose_input_ends_stops_its_server() {
    let (mut owner, url) = spawn_owner();
    let directory = directory_of(&url);

    drop(owner.stdin.take());

    assert!(owner.wait().unwrap().success());
    assert!(!answers(port_of(&url)));
    assert!(!directory.exists());
}

#[test]
fn a_restart_keeps_port_and_data() {
    let server = LocalPostgres::start().unwrap();
    let url = server.url("postgres");
    execute(
        &url,
        "CREATE TABLE kept AS SELECT 'still here'::text AS word",
    )
    .unwrap();

    for shutdown in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Crash] {
        // Unlogged work of the rounds that crash is lost with the crash, committed and flushed work is not.
        execute(&url, "CHECKPOINT").unwrap();

        server.restart(shutdown).unwrap();

        assert_eq!(
            query_text(&url, "SELECT word FROM kept"),
            "still here",
            "{shutdown:?}"
        );
    }
}

#[test]
fn a_stopped_server_answers_again_only_after_it_is_started() {
    let server = LocalPostgres::start().unwrap();

    server.stop(Shutdown::Fast).unwrap();
    server.stop(Shutdown::Fast).unwrap();
    assert!(!answers(server.port()));

    server.start_again().unwrap();
    server.start_again().unwrap();
    assert_eq!(query_text(&server.url("postgres"), "SELECT 'yes'"), "yes");
}

#[test]
fn a_killed_server_starts_again() {
    let server = LocalPostgres::start().unwrap();
    let kill = format!(
        "kill -s KILL {}",
        postmaster_of(&directory_of(&server.url("postgres")))
    );

    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );

    eventually("the port is closed", || !answers(server.port()));
    eventually("it is started", || {
        server.start_again().is_ok() && answers(server.port())
    });
    assert_eq!(query_text(&server.url("postgres"), "SELECT 'yes'"), "yes");
}

#[test]
fn a_server_that_crashes_amid_a_statement_starts_again_when_its_sessions_have_ended() {
    let server = LocalPostgres::start().unwrap();
    let url = server.url("postgres");
    let busy = "SELECT count(*) FROM generate_series(1, 3000000) AS n WHERE sqrt(n) < 0";
    let mut sessions: Vec<_> = (0..3)
        .map(|_| Client::connect(&url, NoTls).unwrap())
        .collect();

    thread::scope(|scope| {
        for session in &mut sessions {
            scope.spawn(|| session.batch_execute(busy));
        }
        eventually("all are busy", || {
            query_text(
                &url,
                "SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active'",
            ) == "4"
        });
        server.restart(Shutdown::Crash).unwrap();
    });

    assert_eq!(query_text(&url, "SELECT 'yes'"), "yes");
}

#[test]
fn a_standby_has_what_its_primary_wrote_and_writes_itself_once_it_is_promoted() {
    let primary = LocalPostgres::start().unwrap();
    execute(&primary.url("postgres"), "CREATE TABLE words (word text)").unwrap();
    let standby = primary.standby(LocalPostgres::builder()).unwrap();
    let url = standby.url("postgres");
    let insert = "INSERT INTO words VALUES ('one')";

    execute(&primary.url("postgres"), insert).unwrap();
    eventually("it follows", || {
        query_text(&url, "SELECT count(*)::text FROM words") == "1"
    });
    assert!(execute(&url, insert).is_err(), "it only reads");
    primary.stop(Shutdown::Crash).unwrap();
    query_text(&url, "SELECT pg_promote()::text");
    execute(&url, insert).unwrap();

    assert_eq!(query_text(&url, "SELECT count(*)::text FROM words"), "2");
}

#[test]
fn a_database_from_a_template_has_its_table_and_is_nobody_elses() {
    let server = LocalPostgres::start().unwrap();
    let template = server.template("orders", with_orders).unwrap();

    let one = server.database_from(&template).unwrap();
    let two = server.database_from(&template).unwrap();
    execute(one.url(), "INSERT INTO orders VALUES (1)").unwrap();

    assert_eq!(
        query_text(one.url(), "SELECT count(*)::text FROM orders"),
        "1"
    );
    assert_eq!(
        query_text(two.url(), "SELECT count(*)::text FROM orders"),
        "0"
    );
}

#[test]
fn a_template_is_prepared_once_for_many_threads() {
    let server = LocalPostgres::start().unwrap();
    let prepared = AtomicUsize::new(0);

    let take = || {
        let template = server.template("orders", |url| {
            prepared.fetch_add(1, Ordering::SeqCst);
            with_orders(url)
        });
        let database = server.database_from(&template.unwrap()).unwrap();
        query_text(database.url(), "SELECT count(*)::text FROM orders")
    };
    let counts: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(take)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });

    assert_eq!(prepared.load(Ordering::SeqCst), 1);
    assert_eq!(counts, vec!["0"; 16]);
}

#[test]
fn a_template_that_failed_is_prepared_again() {
    let server = LocalPostgres::start().unwrap();

    let error = server
        .template("orders", |_| Err("no migrations".into()))
        .unwrap_err();

    assert!(
        format!("{error:?}").contains("cannot prepare template \"orders\": no migrations"),
        "{error:?}"
    );
    let template = server.template("orders", with_orders).unwrap();
    assert!(server.database_from(&template).is_ok());
}

#[test]
fn a_dropped_database_is_gone_even_with_open_connections() {
    let server = LocalPostgres::start().unwrap();
    let database = server.database().unwrap();
    let url = database.url().to_owned();
    let mut client = Client::connect(&url, NoTls).unwrap();

    drop(database);

    assert!(client.batch_execute("SELECT 1").is_err());
    assert!(Client::connect(&url, NoTls).is_err());
}

#[test]
fn a_database_name_that_would_need_quoting_is_refused() {
    let server = LocalPostgres::start().unwrap();

    for name in ["", "Orders", "a\"b", "a/b", &"a".repeat(64)] {
        let error = server.create_database(name).unwrap_err();
        assert!(
            error.to_string().contains("use 1 to 63 of a-z, 0-9 and _"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn everything_can_be_called_from_an_async_test() {
    let server = LocalPostgres::start().unwrap();
    let template = server.template("orders", with_orders).unwrap();

    let database = server.database_from(&template).unwrap();
    server.restart(Shutdown::Fast).unwrap();

    drop(database);
    drop(server);
}

#[test]
fn a_server_that_was_there_already_is_used_and_left_running() {
    let private = LocalPostgres::start().unwrap();

    let server = LocalPostgres::connect(&private.url("postgres")).unwrap();
    let template = server.template("orders", with_orders).unwrap();
    let database = server.database_from(&template).unwrap();
    assert_eq!(
        query_text(database.url(), "SELECT count(*)::text FROM orders"),
        "0"
    );
    let error = server.restart(Shutdown::Fast).unwrap_err();
    drop((database, template, server));

    assert!(
        error.to_string().contains("was not started here"),
        "{error}"
    );
    let left = "SELECT count(*)::text FROM pg_database WHERE datname LIKE 'local_postgres_%'";
    assert_eq!(query_text(&private.url("postgres"), left), "0");
}

#[test]
fn databases_of_crashed_processes_are_dropped_a_day_later() {
    let private = LocalPostgres::start().unwrap();
    let (old, new) = (
        "local_postgres_1000000000_0_orders",
        "local_postgres_9999999999_0_orders",
    );
    for name in [old, new, "local_postgres_of_mine", "orders"] {
        private.create_database(name).unwrap();
    }

    LocalPostgres::connect(&private.url("postgres")).unwrap();

    let left = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname ~ 'orders|mine'";
    assert_eq!(
        query_text(&private.url("postgres"), left),
        format!("{new} local_postgres_of_mine orders")
    );
}

#[test]
fn an_environment_variable_that_is_set_wins() {
    let error = LocalPostgres::from_env_or_start("PATH").unwrap_err();

    let message = format!("{error:?}");
    assert!(
        message.contains("the PostgreSQL that PATH names: not a PostgreSQL URL"),
        "{message}"
    );
}

#[test]
fn an_environment_variable_that_is_unset_starts_a_private_server() {
    let server = LocalPostgres::from_env_or_start("LOCAL_POSTGRES_TEST_UNSET").unwrap();

    assert!(server.is_private());
}

#[test]
fn missing_binaries_name_the_variable_to_set() {
    let output = owner()
        .env("PGQUEUE_PG_BIN", "/nonexistent")
        .output()
        .unwrap();

    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        message.contains("PGQUEUE_PG_BIN is /nonexistent"),
        "{message}"
    );
}

#[cfg(feature = "tls")]
#[test]
fn a_server_with_tls_takes_both_kinds_of_connections() {
    use std::io::{Read, Write};

    let server = LocalPostgres::builder().tls().start().unwrap();

    // The protocol's SSLRequest: its length, its code; the answer is one byte, S for yes.
    let mut connection = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    connection.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    connection.read_exact(&mut answer).unwrap();

    assert_eq!(answer, *b"S");
    assert!(
        server
            .certificate()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert_eq!(query_text(&server.url("postgres"), "SHOW ssl"), "on");
}

fn with_orders(url: &str) -> Outcome {
    Ok(execute(url, "CREATE TABLE orders (id bigint)")?)
}

fn execute(url: &str, statement: &str) -> Result<(), postgres::Error> {
    Client::connect(url, NoTls)?.batch_execute(statement)
}

fn query_text(url: &str, query: &str) -> String {
    Client::connect(url, NoTls)
        .unwrap()
        .query_one(query, &[])
        .unwrap()
        .get(0)
}

fn directory_of(url: &str) -> PathBuf {
    PathBuf::from(query_text(url, "SHOW data_directory"))
        .parent()
        .unwrap()
        .to_owned()
}

fn postmaster_of(directory: &Path) -> String {
    let status = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
    status.lines().next().unwrap().to_owned()
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':')
        .next()
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn owner() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-postgres"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn spawn_owner() -> (Child, String) {
    let mut owner = owner().spawn().unwrap();
    let mut url = String::new();
    BufReader::new(owner.stdout.as_mut().unwrap())
        .read_line(&mut url)
        .unwrap();
    (owner, url.trim().to_owned())
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
