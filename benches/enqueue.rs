//! What enqueuing costs: one job a call, each committed, on 1, 8 and 32 connections, async and sync; and all jobs of the
//! backlog in one transaction. Beside bare inserts into the same table, ids returned. No worker runs and the wake mark is
//! off, but for the scenario whose mark is set: that stands beside bare inserts with a trigger that always notifies.
//!
//! `cargo bench --bench enqueue` enqueues 20,000 jobs in bulk twice, `-- --full` 100,000 five times; `--jobs N`, `--rounds N`,
//! `--only bulk`, `--json`. `DATABASE_URL` names a server to use instead of a private one.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use futures_util::future::try_join_all;
use local_postgres::LocalPostgres;
use pgqueue_core::NewJob;
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, a_second, compare};
use pgqueue_suite::bench::wake::{self, Announce};
use pgqueue_suite::bench::{bare, load, server};
use serde_json::{Value, json};

/// Jobs of a bare statement of many, as many as ours takes.
const CHUNK: usize = 1000;
/// Of the jobs of the bulk, so many are enqueued one by one, a commit each.
const SINGLE_PART: i32 = 20;

/// A way to enqueue, and the least ratio to bare inserts that we want.
struct Scenario {
    name: &'static str,
    way: Way,
    target: f64,
}

#[derive(Clone, Copy)]
enum Way {
    /// One job a call on so many connections.
    Single(i32),
    /// The same while a worker wants to be woken.
    Marked(i32),
    /// One job a call on one sync connection.
    Sync,
    /// All in one transaction.
    Bulk,
    /// All in one transaction on a sync connection.
    BulkSync,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "single, 1 connection",
        way: Way::Single(1),
        target: 0.85,
    },
    Scenario {
        name: "single, 8 connections",
        way: Way::Single(8),
        target: 0.7,
    },
    Scenario {
        name: "single, 32 connections",
        way: Way::Single(32),
        target: 0.7,
    },
    Scenario {
        name: "single, 8 connections, mark set",
        way: Way::Marked(8),
        target: 1.0,
    },
    Scenario {
        name: "single, 1 sync connection",
        way: Way::Sync,
        target: 0.85,
    },
    Scenario {
        name: "bulk, one transaction",
        way: Way::Bulk,
        target: 0.85,
    },
    Scenario {
        name: "bulk, one sync transaction",
        way: Way::BulkSync,
        target: 0.85,
    },
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(20_000, 2), Sizes::new(100_000, 5))?;
    let server = server()?;
    let mut rows = Vec::new();
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| options.wants(scenario.name))
    {
        let mut row = Row::new(scenario.name, "jobs/s");
        row.target = Some(scenario.target);
        let jobs = match scenario.way {
            Way::Bulk | Way::BulkSync => options.jobs,
            Way::Single(of) | Way::Marked(of) => (options.jobs / SINGLE_PART).max(of) / of * of,
            Way::Sync => (options.jobs / SINGLE_PART).max(1),
        };
        let ours = async || ours(&server, scenario.way, jobs).await;
        let theirs = async || theirs(&server, scenario.way, jobs).await;
        rows.push(compare(row, options.rounds, ours, theirs).await?);
    }
    let title = format!(
        "PostgreSQL {}, {} jobs in bulk, a {SINGLE_PART}th of them one by one, {} rounds; yardstick: bare INSERT … RETURNING id",
        server.version(),
        options.jobs,
        options.rounds
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

fn payload(number: i32) -> Value {
    json!({ "order_id": number, "note": "a small payload" })
}

async fn ours(server: &LocalPostgres, way: Way, jobs: i32) -> anyhow::Result<f64> {
    let database = load::empty(server)?;
    let url = database.url();
    let _listener = match way {
        Way::Marked(_) => Some(wake::announce(url, Announce::Marked).await?),
        _ => None,
    };
    let took = match way {
        Way::Single(connections) | Way::Marked(connections) => {
            ours_single(url, connections, jobs).await?
        }
        Way::Sync => {
            let mut conn = PgConnection::establish(url)?;
            let started = Instant::now();
            for number in 0..jobs {
                NewJob::new("noop", payload(number)).enqueue(&mut conn)?;
            }
            started.elapsed()
        }
        Way::Bulk => {
            let mut conn = AsyncPgConnection::establish(url).await?;
            let batch = batch(jobs);
            let started = Instant::now();
            conn.transaction(async |conn| pgqueue_core::enqueue_all_async(conn, batch).await)
                .await?;
            started.elapsed()
        }
        Way::BulkSync => {
            let mut conn = PgConnection::establish(url)?;
            let batch = batch(jobs);
            let started = Instant::now();
            conn.transaction(|conn| pgqueue_core::enqueue_all(conn, batch))?;
            started.elapsed()
        }
    };
    is_there(url, jobs)?;
    Ok(a_second(jobs, took))
}

async fn ours_single(url: &str, connections: i32, jobs: i32) -> anyhow::Result<Duration> {
    let conns = (0..connections).map(|_| AsyncPgConnection::establish(url));
    let conns = try_join_all(conns).await?;
    let started = Instant::now();
    let enqueue = async |mut conn: AsyncPgConnection| {
        for number in 0..jobs / connections {
            NewJob::new("noop", payload(number))
                .enqueue_async(&mut conn)
                .await?;
        }
        anyhow::Ok(())
    };
    try_join_all(conns.into_iter().map(enqueue)).await?;
    Ok(started.elapsed())
}

fn batch(jobs: i32) -> Vec<NewJob> {
    (0..jobs)
        .map(|number| NewJob::new("noop", payload(number)))
        .collect()
}

async fn theirs(server: &LocalPostgres, way: Way, jobs: i32) -> anyhow::Result<f64> {
    let database = load::empty(server)?;
    let url = database.url();
    let _listener = match way {
        Way::Marked(_) => Some(wake::announce(url, Announce::Always).await?),
        _ => None,
    };
    let took = match way {
        Way::Single(connections) | Way::Marked(connections) => {
            theirs_single(url, connections, jobs).await?
        }
        Way::Sync => theirs_single(url, 1, jobs).await?,
        Way::Bulk | Way::BulkSync => theirs_bulk(url, jobs).await?,
    };
    is_there(url, jobs)?;
    Ok(a_second(jobs, took))
}

async fn theirs_single(url: &str, connections: i32, jobs: i32) -> anyhow::Result<Duration> {
    let clients = try_join_all((0..connections).map(|_| bare::connect(url))).await?;
    let started = Instant::now();
    let insert = |client| bare::insert(client, jobs / connections);
    try_join_all(clients.iter().map(insert)).await?;
    Ok(started.elapsed())
}

async fn theirs_bulk(url: &str, jobs: i32) -> anyhow::Result<Duration> {
    let mut client = bare::connect(url).await?;
    let payloads: Vec<Value> = (0..jobs).map(payload).collect();
    let started = Instant::now();
    let transaction = client.transaction().await?;
    let insert = transaction
        .prepare("INSERT INTO pgqueue_jobs (kind, payload) SELECT 'noop', p FROM unnest($1::jsonb[]) AS p RETURNING id")
        .await?;
    for chunk in payloads.chunks(CHUNK) {
        std::hint::black_box(transaction.query(&insert, &[&chunk]).await?);
    }
    transaction.commit().await?;
    Ok(started.elapsed())
}

/// What was not stored was quick.
fn is_there(url: &str, jobs: i32) -> anyhow::Result<()> {
    use pgqueue_core::schema::pgqueue_jobs::dsl;
    let stored: i64 = dsl::pgqueue_jobs
        .count()
        .get_result(&mut PgConnection::establish(url)?)?;
    anyhow::ensure!(
        stored == i64::from(jobs),
        "{stored} of {jobs} jobs are stored"
    );
    Ok(())
}
