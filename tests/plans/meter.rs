//! Sessions as the engine and a host have them, and what a statement costs in one.

use pgqueue_suite::{TestDatabase, engine_settings};
use serde_json::Value;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Where the statements are.
pub(super) const SQL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pgqueue-core/src/sql");

/// Whose session runs a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// The engine's for claims.
    Claim,
    /// The engine's for everything else.
    Engine,
    /// The host application's, with PostgreSQL's own defaults.
    Host,
}

pub(super) fn statement(file: &str) -> String {
    std::fs::read_to_string(format!("{SQL}/{file}.sql")).unwrap()
}

pub(super) async fn connect(db: &TestDatabase, session: Session) -> Client {
    let (client, connection) = tokio_postgres::connect(db.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    if session != Session::Host {
        client
            .batch_execute(engine_settings("SESSION"))
            .await
            .unwrap();
        client
            .batch_execute("SET statement_timeout = 0")
            .await
            .unwrap();
    }
    if session == Session::Claim {
        client
            .batch_execute(engine_settings("CLAIM_SESSION"))
            .await
            .unwrap();
    }
    client
}

/// Runs SQL and gives the rows as texts.
pub(super) async fn rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        })
        .collect()
}

pub(super) async fn text(client: &Client, sql: &str) -> String {
    rows(client, sql).await[0][0].clone().unwrap()
}

pub(super) async fn number(client: &Client, sql: &str) -> i64 {
    text(client, sql).await.parse().unwrap()
}

pub(super) async fn prepare(client: &Client, file: &str) {
    client
        .batch_execute(&format!("PREPARE \"{file}\" AS {}", statement(file)))
        .await
        .unwrap();
}

/// What a statement cost.
#[derive(Debug)]
pub(super) struct Bill {
    pub(super) rows: usize,
    pub(super) buffers: i64,
    pub(super) sequential_scans: i64,
    pub(super) fetched: i64,
    pub(super) plan: Value,
}

/// Counts sequential scans of the jobs and rows of them that were fetched by index, in this session, functions included.
async fn counts(client: &Client) -> (i64, i64) {
    let counts = "SELECT seq_scan, coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = 'pgqueue_jobs'::regclass";
    let counts = rows(client, counts).await;
    let count = |column: usize| counts[0][column].as_deref().unwrap().parse().unwrap();
    (count(0), count(1))
}

/// Runs a prepared statement twice, each time undone: for its answer and for its bill.
pub(super) async fn meter(client: &Client, execute: &str) -> Bill {
    client.batch_execute("BEGIN").await.unwrap();
    let answered = rows(client, execute).await.len();
    client.batch_execute("ROLLBACK; BEGIN").await.unwrap();
    let before = counts(client).await;
    let plan = text(
        client,
        &format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execute}"),
    )
    .await;
    let after = counts(client).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let plan = plan[0]["Plan"].clone();
    let blocks = |name: &str| plan[name].as_i64().unwrap();
    Bill {
        rows: answered,
        buffers: blocks("Shared Hit Blocks") + blocks("Shared Read Blocks"),
        sequential_scans: after.0 - before.0,
        fetched: after.1 - before.1,
        plan,
    }
}

/// Collects what a plan's nodes are.
pub(super) fn nodes(plan: &Value) -> Vec<&str> {
    let inner = plan["Plans"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(nodes);
    plan["Node Type"]
        .as_str()
        .into_iter()
        .chain(inner)
        .collect()
}
