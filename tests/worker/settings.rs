//! Databases whose defaults are not PostgreSQL's: the engine's own sessions set what they need.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::sql_query;
use diesel_async::AsyncConnection;
use pgqueue_core::admin::{self, Filter};
use pgqueue_core::{BoxError, Context, Job, JobState, NewJob, Outcome, RawJob, Worker};
use pgqueue_suite::TestDatabase;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

use crate::{Running, enqueue, errors, job, run_one, worker};

#[derive(Serialize, Deserialize)]
struct Blocking;

impl Job for Blocking {
    const KIND: &'static str = "blocking";
    const QUEUE: &'static str = "slow";
}

async fn mixed(job: RawJob, ctx: Context) -> Result<Outcome, BoxError> {
    match job.payload["do"].as_str() {
        Some("complete in") => {
            let mut conn = ctx.connection().await?;
            conn.transaction(async |conn| {
                let effect = sql_query("INSERT INTO effects VALUES ($1)");
                let effect = effect.bind::<diesel::sql_types::BigInt, _>(ctx.id());
                diesel_async::RunQueryDsl::execute(effect, conn).await?;
                ctx.complete_in_async(conn).await
            })
            .await?;
        }
        Some("progress") => ctx.progress(json!({"percent": 50})).await?,
        Some("fail once") if ctx.attempt() == 1 => return Err("once".into()),
        Some("snooze once") if ctx.fencing_token() == 1 => {
            return Ok(Outcome::snooze(Duration::from_millis(20)));
        }
        Some("enqueue") => {
            let mut conn = ctx.connection().await?;
            NewJob::new("job", json!({"do": "child"}))
                .enqueue_async(&mut *conn)
                .await?;
        }
        Some("hang") => std::future::pending().await,
        Some("die") => return Ok(Outcome::dead("told to")),
        _ => {}
    }
    Ok(Outcome::done())
}

/// Retries at a steady pace: serialization failures of its own transactions would otherwise back off exponentially.
async fn mixed_steadily(job: RawJob, ctx: Context) -> Result<Outcome, BoxError> {
    let done = mixed(job, ctx).await;
    done.or_else(|error| Ok(Outcome::retry_after(Duration::from_millis(20), error)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_where_transactions_are_serializable_by_default() {
    let db = TestDatabase::migrated();
    db.set_default("default_transaction_isolation = serializable");
    db.execute("CREATE TABLE effects (job_id bigint NOT NULL)");
    let start = || {
        let builder = Worker::builder(db.deadpool(20))
            .handle_kind("job", mixed_steadily)
            .handle_blocking(|_: Blocking, _| Ok::<_, String>(()))
            .retry_base_wait(Duration::from_millis(5))
            .stop_wait(Duration::ZERO);
        Running::start(builder)
    };
    let workers = [start(), start()];
    let what = [
        "complete in",
        "progress",
        "fail once",
        "snooze once",
        "enqueue",
        "nothing",
    ];
    let jobs = |turn| {
        let new = move |what| NewJob::new("job", json!({"do": what})).max_retries(1000);
        let keyed = move |(n, what)| new(what).unique_key(format!("{turn}:{n}"));
        what.into_iter().enumerate().map(keyed).collect::<Vec<_>>()
    };
    let mut conn = db.asynchronous().await;

    for turn in 0..10 {
        pgqueue_core::enqueue_all_async(&mut conn, jobs(turn))
            .await
            .unwrap();
        for job in jobs(turn + 100) {
            enqueue(&db, job);
        }
        enqueue(&db, Blocking.to_new());
    }
    let dying = enqueue(&db, NewJob::new("job", json!({"do": "die"})));
    let hanging = enqueue(&db, NewJob::new("job", json!({"do": "hang"})));
    let late = NewJob::new("job", json!({"do": "hang"})).timeout(Duration::from_millis(20));
    let late = enqueue(&db, late.max_retries(0));
    db.wait_for_state(hanging, JobState::Running).await;
    admin::cancel(hanging).run(&mut db.sync()).unwrap();
    db.wait_for_state(hanging, JobState::Cancelled).await;
    db.wait_for_state(dying, JobState::Dead).await;
    db.wait_for_state(late, JobState::Dead).await;
    // 120 mixed ones, a child of each twentieth of "enqueue", ten blocking ones.
    db.wait_for_count(JobState::Completed, 120 + 20 + 10).await;

    let requeued = admin::requeue(Filter::new()).run(&mut db.sync()).unwrap();
    assert_eq!((requeued.changed, requeued.skipped.len()), (2, 0));
    db.wait_for_state(dying, JobState::Dead).await;
    assert_eq!(db.number("SELECT count(DISTINCT job_id) FROM effects"), 20);
    assert_eq!(db.number("SELECT count(*) FROM effects"), 20, "each once");
    for running in workers {
        running.stop().await;
    }
    assert_eq!(
        db.number("SELECT count(*) FROM pgqueue_jobs WHERE state = 'running'"),
        0
    );
    assert_eq!(db.number("SELECT sum(lost) FROM pgqueue_jobs"), 0);
}

#[tokio::test]
async fn a_worker_works_where_transactions_are_read_only_by_default() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job());
    db.set_default("default_transaction_read_only = on");

    let worker = worker(&db, async |_, _| Ok::<_, String>(json!({"an": "output"})));
    worker.build().unwrap().run_until_empty().await.unwrap();

    let row = db.job(id);
    assert_eq!(
        (row.state, row.output),
        (JobState::Completed, Some(json!({"an": "output"})))
    );
}

#[tokio::test]
async fn a_statement_timeout_of_the_database_does_not_end_the_engines_statements() {
    let db = TestDatabase::migrated();
    db.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.15); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON pgqueue_jobs FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    db.set_default("statement_timeout = 50");
    let handler = async |job: RawJob, _| match job.payload["fails"] == true {
        true => Err("no"),
        false => Ok(()),
    };
    let failing = NewJob::new("job", json!({"fails": true})).max_retries(0);
    let failing = enqueue(&db, failing);

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!(
        (row.state, row.attempt, row.fencing_token),
        (JobState::Completed, 1, 1)
    );
    let row = db.job(failing);
    assert_eq!(
        (row.state, row.attempt, errors(&row).len()),
        (JobState::Dead, 1, 1)
    );
}

#[tokio::test]
async fn an_end_whose_row_is_locked_is_stored_later_and_holds_no_other_up() {
    let db = TestDatabase::migrated();
    db.set_default("lock_timeout = 1");
    let (start, mut started) = unbounded_channel();
    let (release, released) = watch::channel(false);
    let handler = move |_, ctx: Context| {
        let (start, mut released) = (start.clone(), released.clone());
        async move {
            start.send(ctx.id()).unwrap();
            released.wait_for(|released| *released).await.unwrap();
            Ok::<_, String>(())
        }
    };
    let running = Running::start(worker(&db, handler));
    let (locked, other) = (enqueue(&db, job()), enqueue(&db, job()));
    let _both = (started.recv().await, started.recv().await);
    let mut holder = db.sync();
    let lock = format!("BEGIN; SELECT FROM pgqueue_jobs WHERE id = {locked} FOR UPDATE");
    holder.batch_execute(&lock).unwrap();

    release.send(true).unwrap();
    db.wait_for_state(other, JobState::Completed).await;
    assert_eq!(db.job(locked).state, JobState::Running);
    holder.batch_execute("COMMIT").unwrap();

    let row = db.wait_for_state(locked, JobState::Completed).await;
    assert_eq!((row.attempt, row.fencing_token), (1, 1));
    running.stop().await;
}
