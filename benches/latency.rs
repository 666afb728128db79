//! How soon a job begins: from the call that enqueues it to the start of its handler, on a worker that is idle but for 40
//! jobs a second; beside a bare listener that is notified by the insert, claims, and has the row.
//!
//! `cargo bench --bench latency` enqueues 200 jobs twice, `-- --full` 400 jobs five times; `--jobs N`, `--rounds N`, `--json`.
//! `DATABASE_URL` names a server to use instead of a private one. Both sides are this process, so one clock tells.

use futures_util::{StreamExt as _, stream};
use local_postgres::LocalPostgres;
use pgqueue_suite::bench::histogram::Histogram;
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::report::{self, Row, note};
use pgqueue_suite::bench::wake_ups::{self, PAUSE, Times, WARM_UP};
use pgqueue_suite::bench::{bare, load, server};
use tokio_postgres::{AsyncMessage, NoTls};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args(Sizes::new(200, 2), Sizes::new(400, 5))?;
    let server = server()?;
    let jobs = usize::try_from(options.jobs)?;
    let mut rows = [
        row("wake-up of an idle worker, p50", 1.6, Some(1.3)),
        row("wake-up of an idle worker, p99", 3.0, None),
    ];
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let database = load::empty(&server)?;
        let woken = wake_ups::measure(database.url(), jobs).await?;
        drop(database);
        let listener = listener(&server, jobs).await?;
        for (row, percent) in rows.iter_mut().zip([50, 99]) {
            row.ours.push(woken.percentile(percent));
            row.yardstick.push(listener.percentile(percent));
        }
        ours.extend(woken.all());
        bare.extend(listener.all());
        note(&format!(
            "round {round}: p50 {:.2} ms, bare {:.2} ms",
            woken.percentile(50),
            listener.percentile(50)
        ));
    }
    rows[1].histogram = Some(Histogram::of(&ours, &bare));
    let title = format!(
        "PostgreSQL {}, {} jobs a round, {} rounds, one job each {} ms; yardstick: a bare listener that claims",
        server.version(),
        options.jobs,
        options.rounds,
        PAUSE.as_millis()
    );
    report::print(&title, &rows, options.json);
    Ok(())
}

fn row(name: &str, limit: f64, target: Option<f64>) -> Row {
    let mut row = Row::new(name, "ms");
    row.limit = Some(limit);
    row.target = target;
    row.less_is_better = true;
    row
}

async fn listener(server: &LocalPostgres, jobs: usize) -> anyhow::Result<Times> {
    let database = load::empty(server)?;
    let times = Times::default();
    let (hears, mut connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    let mut messages =
        Box::pin(stream::poll_fn(move |context| connection.poll_message(context)).fuse());
    let claims = bare::connect(database.url()).await?;
    let claim = claims.prepare(bare::CLAIM).await?;
    let noted = times.clone();
    let listening = tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(_) = message {
                for row in claims.query(&claim, &[&10_i64]).await? {
                    noted.begun(&row.get(1));
                }
            }
        }
        anyhow::Ok(())
    });
    hears.batch_execute("LISTEN bare").await?;
    let enqueues = bare::connect(database.url()).await?;
    let insert = "WITH job AS (INSERT INTO pgqueue_jobs (kind, payload) VALUES ('noop', $1) RETURNING id) \
        SELECT pg_notify('bare', 'default') FROM job";
    let insert = enqueues.prepare(insert).await?;
    for _ in 0..WARM_UP + jobs {
        tokio::time::sleep(PAUSE).await;
        enqueues.execute(&insert, &[&times.enqueued()]).await?;
    }
    times.wait_for(jobs).await;
    listening.abort();
    Ok(times)
}
