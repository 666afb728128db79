//! A worker of the soak.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AsyncConnection, RunQueryDsl};
use pgqueue_core::{BoxError, Context, Outcome};

use super::evidence::{Event, Evidence, How};
use super::{Act, BATCH, LEASE, MAX_LOST, QUEUES, Soak, Worker};

/// Runs jobs until the process is told to stop.
///
/// # Errors
/// Those of the worker's start.
pub async fn run(told: Worker) -> Result<(), BoxError> {
    let evidence = Arc::new(Evidence::open(&told.evidence));
    let second = Duration::from_secs(1);
    let mut builder = pgqueue_core::Worker::builder(told.url)
        .state(evidence)
        .name(told.name)
        .lease(LEASE)
        .max_lost(MAX_LOST)
        .lost_base_wait(Duration::from_millis(100))
        .retry_base_wait(Duration::from_millis(100))
        .poll_interval(told.poll_interval)
        .shutdown_grace(second)
        .stop_wait(second / 2)
        .completed_retention(30 * second)
        .cancelled_retention(30 * second)
        .concurrency(QUEUES.iter().map(|(_, slots)| slots).sum());
    for (queue, slots) in QUEUES {
        builder = builder.queue(queue, slots);
    }
    builder = match told.prefetches {
        true => builder.batch(BATCH),
        false => builder.prefetch(Duration::ZERO),
    };
    let worker = builder.only_queues(QUEUES.iter().map(|(queue, _)| *queue));
    let worker = worker.handle_kind("soak", soak).build()?;
    Ok(worker.run_until_signal().await?)
}

async fn soak(job: pgqueue_core::RawJob, ctx: Context<Arc<Evidence>>) -> Result<Outcome, BoxError> {
    let Soak { intent, act } = serde_json::from_value(job.payload)?;
    let (job, token) = (ctx.id(), ctx.fencing_token());
    let evidence = ctx.state();
    evidence.note(&Event::Began { job, token, intent });
    let _leaving = Leaving(&ctx);
    let ends = |how| evidence.note(&Event::Ends { job, token, how });
    match act {
        Act::Return => {}
        Act::Sleep(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Act::Effect(ms) => {
            effect(&ctx, Duration::from_millis(ms), || ends(How::Done)).await?;
            return Ok(Outcome::done());
        }
        Act::Fail(runs) if ctx.attempt() <= runs => {
            ends(How::Failed);
            return Err("as it was told to".into());
        }
        Act::Panic if token == 1 => {
            ends(How::Failed);
            std::panic::panic_any("as it was told to");
        }
        Act::Snooze if token == 1 => {
            ends(How::Snoozed);
            return Ok(Outcome::snooze(Duration::from_millis(200)));
        }
        Act::GiveUp => {
            ends(How::Dead);
            return Ok(Outcome::dead("as it was told to"));
        }
        Act::Crash => std::process::abort(),
        Act::Fail(_) | Act::Panic | Act::Snooze => {}
    }
    ends(How::Done);
    Ok(Outcome::done())
}

/// Notes that the handler is no more, however it ended.
struct Leaving<'a>(&'a Context<Arc<Evidence>>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let (job, token) = (self.0.id(), self.0.fencing_token());
        self.0.state().note(&Event::Left { job, token });
    }
}

/// Writes the effect, works on for a time, and completes the job, in one transaction. A process may be stopped meanwhile.
async fn effect(
    ctx: &Context<Arc<Evidence>>,
    time: Duration,
    ends: impl Fn() + Send + Sync,
) -> Result<(), BoxError> {
    let mut conn = ctx.connection().await?;
    conn.transaction(async |conn| {
        let effect = diesel::sql_query("INSERT INTO effects (job, token) VALUES ($1, $2)")
            .bind::<diesel::sql_types::BigInt, _>(ctx.id())
            .bind::<diesel::sql_types::BigInt, _>(ctx.fencing_token());
        effect.execute(conn).await?;
        tokio::time::sleep(time).await;
        ends();
        ctx.complete_in_async(conn).await
    })
    .await
    .map_err(BoxError::from)
}
