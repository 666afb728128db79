//! What a claim costs beside jobs that the worker cannot take: due ones of a kind that it does not know, in the same queue,
//! and as many due ones of a paused queue. How soon an enqueued job begins, beside the same on an empty table; what the
//! server says of the statements that claim; and how often an idle worker asks.
//!
//! `cargo bench --bench claims` has 100,000 of each and 100 wake-ups, twice, `-- --full` 1,000,000 and five times; `--jobs N`,
//! `--rounds N`, `--only idle`, `--json`. `DATABASE_URL` names a server to use instead of a private one.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{Double, Nullable};
use local_postgres::Database;
use pgqueue_core::Worker;
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, note};
use pgqueue_suite::bench::{counting_server, load, wake_ups, watch};

/// Wake-ups a round.
const WAKE_UPS: usize = 100;
/// The longest that a claim may take, and with it the notification's way, in milliseconds.
const CLAIM: f64 = 2.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(100_000, 2), Sizes::new(1_000_000, 5))?;
    let server = counting_server()?;
    let crowded = load::empty(&server)?;
    load::fill(&crowded, &useless(options.jobs))?;
    note("the tables are filled");
    let empty = load::empty(&server)?;
    let mut rows = Vec::new();
    if options.wants("enqueue to start") {
        rows.extend(starts(&crowded, &empty, options.rounds).await?);
    }
    if options.wants("idle") {
        rows.push(idle(&crowded, &empty, options.rounds).await?);
    }
    let title = format!(
        "PostgreSQL {}, {} due jobs of an unknown kind and as many of a paused queue, {} rounds; yardstick: an empty table",
        server.version(),
        options.jobs,
        options.rounds
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

/// Gives the statements that enqueue what the worker cannot take.
fn useless(jobs: i32) -> String {
    let of = |queue: &str, kind: &str| {
        format!(
            "INSERT INTO pgqueue_jobs (queue, kind, payload) SELECT '{queue}', '{kind}', '{{\"note\": \"a small payload\"}}' \
             FROM generate_series(1, {jobs})"
        )
    };
    format!(
        "{}; {}; INSERT INTO pgqueue_queues (name, paused_at) VALUES ('paused', now()) \
         ON CONFLICT (name) DO UPDATE SET paused_at = now()",
        of("default", "unknown"),
        of("paused", "noop")
    )
}

async fn starts(crowded: &Database, empty: &Database, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let mut rows = ["p50", "p99"].map(|percentile| {
        let mut row = Row::new(format!("enqueue to start, {percentile}"), "ms");
        row.less_is_better = true;
        row
    });
    let mut claim = Row::new("notified and claimed after the commit, p50", "ms");
    (claim.limit, claim.less_is_better) = (Some(CLAIM), true);
    let mut statement = Row::new("statements that claim, sweeps included, mean", "ms");
    statement.less_is_better = true;
    for round in 1..=rounds {
        forget_statements(crowded);
        let ours = wake_ups::measure(crowded.url(), WAKE_UPS).await?;
        statement.ours.extend(claim_time(crowded));
        forget_statements(empty);
        let yardstick = wake_ups::measure(empty.url(), WAKE_UPS).await?;
        statement.yardstick.extend(claim_time(empty));
        claim.ours.push(ours.median_after_return());
        claim.yardstick.push(yardstick.median_after_return());
        for (row, percent) in rows.iter_mut().zip([50, 99]) {
            row.ours.push(ours.percentile(percent));
            row.yardstick.push(yardstick.percentile(percent));
        }
        note(&format!(
            "round {round}: p50 {:.2} ms, on an empty table {:.2} ms",
            ours.percentile(50),
            yardstick.percentile(50)
        ));
    }
    let told = Some(statement).filter(|row| !row.ours.is_empty());
    Ok(rows.into_iter().chain([claim]).chain(told).collect())
}

/// Sets what the server counted to nothing, where it counts.
fn forget_statements(database: &Database) {
    if let Ok(mut conn) = PgConnection::establish(database.url()) {
        let reset =
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT pg_stat_statements_reset()";
        conn.batch_execute(reset).ok(); // without the extension nothing is told of statements
    }
}

/// Gives the mean milliseconds of the statements that claim, planning and the rare looks at everything included; nothing
/// where the server does not count.
fn claim_time(database: &Database) -> Option<f64> {
    #[derive(QueryableByName)]
    struct Mean {
        #[diesel(sql_type = Nullable<Double>)]
        ms: Option<f64>,
    }
    let mut conn = PgConnection::establish(database.url()).ok()?;
    let query = "SELECT sum(total_exec_time + total_plan_time) / sum(calls) AS ms FROM pg_stat_statements \
        WHERE query LIKE '%FOR UPDATE SKIP LOCKED%UPDATE pgqueue_jobs%started_at%' AND query NOT LIKE '%lost > %'";
    diesel::sql_query(query)
        .get_result::<Mean>(&mut conn)
        .ok()?
        .ms
}

async fn idle(crowded: &Database, elsewhere: &Database, rounds: usize) -> anyhow::Result<Row> {
    let mut row = Row::new("an idle worker beside them", "transactions/s");
    (row.limit, row.less_is_better) = (Some(1.0), true);
    row.group = Some("idle");
    let url = crowded.url();
    for _ in 0..rounds {
        let worker = Worker::builder(url)
            .handle_kind("noop", async |_job, _ctx| Ok::<_, String>(()))
            .build()?;
        let handle = worker.handle();
        let working = tokio::spawn(worker.run(std::future::pending::<()>()));
        let seen = watch::watch(crowded, elsewhere).await?;
        row.ours.push(seen.transactions);
        handle.stop();
        working.await??;
    }
    Ok(row)
}
