//! The binary, as an operator runs it: a process of its own, its output, its signals.

#![cfg(all(unix, feature = "cli"))]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::{Output, Stdio};
use std::time::Duration;

use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use local_postgres::{Database, LocalPostgres};
use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgqueue-dashboard"));
    command
        .args(args)
        .env("RUST_LOG", "warn")
        .kill_on_drop(true);
    for (name, _) in std::env::vars() {
        if name.starts_with("PGQUEUE_DASHBOARD") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command
}

async fn run(args: &[&str], input: &str) -> Output {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// A served dashboard.
struct Served {
    child: Child,
    address: String,
    _output: BufReader<ChildStdout>,
}

impl Served {
    /// Starts it at a free port and reads the address that it prints.
    async fn start(args: &[&str]) -> Self {
        let mut child = command(&["serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut address = String::new();
        output.read_line(&mut address).await.unwrap();
        Self {
            child,
            address: address.trim().to_owned(),
            _output: output,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

/// A database, and the server that it is on.
fn database() -> (LocalPostgres, Database) {
    let server = LocalPostgres::from_env_or_start("TEST_DATABASE_URL").unwrap();
    let database = server.database().unwrap();
    (server, database)
}

#[tokio::test]
async fn tables_are_made_once_and_the_site_is_served_until_a_signal_even_while_a_page_is_open() {
    let (_server, database) = database();
    let url = database.url();

    for _ in 0..2 {
        let migrated = run(&["migrate", "--database-url", url], "").await;
        assert!(migrated.status.success(), "{}", said(&migrated));
    }
    let mut served = Served::start(&["--database-url", url, "--base-path", "/admin/jobs"]).await;
    let client = Client::new();
    let page = client.get(&served.address).send().await.unwrap();
    let stream = client.get(format!("{}events", served.address));
    let stream = stream.send().await.unwrap();

    assert!(served.address.ends_with("/admin/jobs/"));
    assert_eq!(page.status(), StatusCode::OK);
    assert!(
        page.text()
            .await
            .unwrap()
            .contains("Enqueue your first job")
    );
    served.signal(Signal::TERM);
    let whole = stream.text().await.expect("the stream is ended, not cut");
    assert!(whole.starts_with("retry: 3000"), "{whole}");
    assert!(served.child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_hash_that_it_made_lets_its_user_in_and_nobody_else() {
    let (_server, database) = database();
    let url = database.url();
    run(&["migrate", "--database-url", url], "").await;

    let hashed = run(&["hash-password"], "correct horse battery\n").await;
    let user = format!("alice:{}", String::from_utf8(hashed.stdout).unwrap().trim());
    let served = Served::start(&["--database-url", url, "--users", &user]).await;
    let get = async |password| {
        let request = Client::new().get(&served.address);
        let answer = request.basic_auth("alice", password).send().await.unwrap();
        answer.status()
    };

    assert_eq!(get(None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some("wrong")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(get(Some("correct horse battery")).await, StatusCode::OK);
}

#[tokio::test]
async fn a_user_who_may_only_look_pauses_no_queue_and_probes_need_no_password() {
    let (_server, database) = database();
    let url = database.url();
    run(&["migrate", "--database-url", url], "").await;
    let hashed = run(&["hash-password"], "correct horse battery\n").await;
    let user = format!("bob:{}", String::from_utf8(hashed.stdout).unwrap().trim());
    let args = ["--database-url", url, "--read-only-users", &user];
    let served = Served::start(&[&args[..], &["--open-health-checks"]].concat()).await;
    let bob =
        |request: reqwest::RequestBuilder| request.basic_auth("bob", Some("correct horse battery"));

    let page = bob(Client::new().get(&served.address)).send().await;
    let pause = Client::new().post(format!("{}api/v1/queues/mail/pause", served.address));
    let pause = bob(pause)
        .header("content-type", "application/json")
        .body("{}");
    let probe = Client::new()
        .get(format!("{}readyz", served.address))
        .send();

    assert_eq!(page.unwrap().status(), StatusCode::OK);
    let refused = pause.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().contains("PAUSE"));
    assert_eq!(probe.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_operation_whose_dashboard_is_killed_is_done_by_the_next_one_with_nothing_lost_or_done_twice()
 {
    let (_server, database) = database();
    let url = database.url();
    run(&["migrate", "--database-url", url], "").await;
    let mut conn = AsyncPgConnection::establish(url).await.unwrap();
    let dead = "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at) \
        SELECT 'job', '{}', 'dead', 4, now() - n * interval '1 ms' FROM generate_series(1, 3000) AS n";
    conn.batch_execute(dead).await.unwrap();

    let mut first = Served::start(&["--database-url", url]).await;
    let origin = first.address.trim_end_matches('/').to_owned();
    let order = Client::new().post(format!("{origin}/api/v1/operations/requeue"));
    let order = order
        .header("origin", &origin)
        .header("content-type", "application/json")
        .body(r#"{"filter": "state:dead", "rate": 400}"#);
    assert_eq!(order.send().await.unwrap().status(), StatusCode::OK);
    let done = "SELECT done FROM pgqueue_bulk_operations";
    wait_until(&mut conn, &format!("SELECT (({done}) > 0)::int")).await;
    first.child.kill().await.unwrap();
    let midway = number(&mut conn, done).await;
    let _second = Served::start(&["--database-url", url]).await;
    let faster = "UPDATE pgqueue_bulk_operations SET rate = NULL";
    conn.batch_execute(faster).await.unwrap();
    let finished = "SELECT count(*) FROM pgqueue_bulk_operations WHERE state = 'finished'";
    wait_until(&mut conn, finished).await;

    assert!(
        (1..3000).contains(&midway),
        "{midway} were done at the kill"
    );
    assert_eq!(number(&mut conn, done).await, 3000);
    for (what, count) in [
        (
            "FROM pgqueue_jobs WHERE state = 'pending' AND attempt = 0",
            3000,
        ),
        ("FROM pgqueue_jobs WHERE state <> 'pending'", 0),
        ("FROM pgqueue_trash", 3000),
    ] {
        assert_eq!(
            number(&mut conn, &format!("SELECT count(*) {what}")).await,
            count,
            "{what}"
        );
    }
    let audited = "SELECT sum(jobs) FROM pgqueue_audit WHERE action = 'requeue'";
    assert_eq!(number(&mut conn, audited).await, 3000);
}

/// Waits until a query answers one.
async fn wait_until(conn: &mut AsyncPgConnection, query: &str) {
    let holds = async {
        while number(conn, query).await != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let patience = tokio::time::timeout(Duration::from_secs(60), holds);
    patience.await.expect(query);
}

async fn number(conn: &mut AsyncPgConnection, query: &str) -> i64 {
    let query = diesel::select(diesel::dsl::sql::<BigInt>(&format!("({query})::bigint")));
    diesel_async::RunQueryDsl::get_result(query, conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_outage_of_the_database_is_told_to_the_log_once() {
    let mut child = command(&["serve", "--listen", "127.0.0.1:0"])
        .args([
            "--database-url",
            "postgres://postgres:geheim@127.0.0.1:1/shop",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut address = String::new();
    output.read_line(&mut address).await.unwrap();

    for _ in 0..3 {
        let page = Client::new().get(address.trim()).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    child.start_kill().unwrap();
    let log = child.wait_with_output().await.unwrap().stderr;

    let log = String::from_utf8_lossy(&log);
    assert_eq!(log.matches("cannot reach its database").count(), 1, "{log}");
    assert!(
        log.contains("127.0.0.1:1") && !log.contains("geheim"),
        "{log}"
    );
}

#[tokio::test]
async fn what_it_cannot_do_it_says_with_the_next_step() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let nowhere = "postgres://postgres:geheim@127.0.0.1:1/shop";

    for (args, input, words) in [
        (&["serve"][..], "", &["--database-url"][..]),
        (
            &["serve", "--database-url", nowhere, "--listen", &port],
            "",
            &["cannot listen", "--listen"],
        ),
        (
            &["serve", "--database-url", nowhere, "--users", "alice"],
            "",
            &["name:hash", "hash-password"],
        ),
        (
            &["serve", "--database-url", nowhere, "--users", "alice:plain"],
            "",
            &["alice", "PHC"],
        ),
        (
            &["serve", "--database-url", nowhere, "--base-path", "jobs"],
            "",
            &["\"jobs\"", "/admin/jobs"],
        ),
        (
            &["migrate", "--database-url", nowhere],
            "",
            &["127.0.0.1:1", "check that"],
        ),
        (&["hash-password"], "short\n", &["shorter than 8"]),
    ] {
        let refused = run(args, input).await;
        let text = said(&refused);
        assert!(!refused.status.success(), "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?} without {word:?}: {text}");
        }
        assert!(!text.contains("geheim"), "{args:?}: {text}");
    }
}

#[tokio::test]
async fn its_help_shows_how_to_begin() {
    let help = run(&["--help"], "").await;

    assert!(help.status.success());
    for word in [
        "serve",
        "migrate",
        "hash-password",
        "Examples:",
        "http://127.0.0.1:8081/",
    ] {
        assert!(said(&help).contains(word), "{word}");
    }
}
