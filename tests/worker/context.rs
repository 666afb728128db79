//! What a handler knows of its run, and what it may do with it.

use std::time::Duration;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::AsyncConnection;
use pgqueue_core::{
    BoxError, Context, Error, ErrorKind, Job, JobState, RawJob, Worker, WorkerBuilder,
};
use pgqueue_suite::TestDatabase;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{HOUR, enqueue, errors, job, run_one, worker};

/// Writes a row in the table `effects` and completes itself in the same transaction, which then ends as told.
#[derive(Serialize, Deserialize)]
struct Effect {
    then: Then,
}

impl Job for Effect {
    const KIND: &'static str = "effect";
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Then {
    Commit,
    RollBack,
    FailAfterCommit,
    LoseTheLeaseBefore,
}

/// What the handlers share: where to connect, and whom to tell what `complete_in` answered.
struct App {
    url: String,
    answers: UnboundedSender<Option<ErrorKind>>,
}

impl App {
    fn tell(&self, answer: &QueryResult<()>) {
        let error = answer.as_ref().err();
        let kind = error.and_then(|error| Error::of(error).map(Error::kind));
        self.answers.send(kind).unwrap();
    }

    fn sync(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }
}

const EFFECT: &str = "INSERT INTO effects (job_id) VALUES ($1)";
/// Somebody else has claimed the job meanwhile.
const TAKE_OVER: &str =
    "UPDATE pgqueue_jobs SET fencing_token = fencing_token + 1, claimed_by = -1 WHERE id = $1";

async fn asynchronous(job: Effect, ctx: Context<App>) -> Result<(), BoxError> {
    if job.then == Then::LoseTheLeaseBefore {
        RunQueryDsl::execute(
            sql_query(TAKE_OVER).bind::<BigInt, _>(ctx.id()),
            &mut ctx.state().sync(),
        )?;
    }
    let mut conn = ctx.connection().await?;
    let answer = conn
        .transaction(async |conn| {
            diesel_async::RunQueryDsl::execute(sql_query(EFFECT).bind::<BigInt, _>(ctx.id()), conn)
                .await?;
            ctx.complete_in_async(conn).await?;
            if job.then == Then::RollBack {
                return Err(DieselError::RollbackTransaction);
            }
            QueryResult::Ok(())
        })
        .await;
    ctx.state().tell(&answer);
    end(job.then, answer)
}

fn synchronous(job: Effect, ctx: Context<App>) -> Result<(), BoxError> {
    if job.then == Then::LoseTheLeaseBefore {
        RunQueryDsl::execute(
            sql_query(TAKE_OVER).bind::<BigInt, _>(ctx.id()),
            &mut ctx.state().sync(),
        )?;
    }
    let mut conn = ctx.state().sync();
    let answer = conn.transaction(|conn| {
        RunQueryDsl::execute(sql_query(EFFECT).bind::<BigInt, _>(ctx.id()), conn)?;
        ctx.complete_in(conn)?;
        if job.then == Then::RollBack {
            return Err(DieselError::RollbackTransaction);
        }
        Ok(())
    });
    ctx.state().tell(&answer);
    end(job.then, answer)
}

fn end(then: Then, answer: QueryResult<()>) -> Result<(), BoxError> {
    match then {
        Then::RollBack => Ok(()),
        Then::FailAfterCommit => Err("after the commit".into()),
        Then::Commit | Then::LoseTheLeaseBefore => Ok(answer?),
    }
}

/// Adds the handler in one of its two forms.
type Form = fn(WorkerBuilder<App>) -> WorkerBuilder<App>;

fn in_async(builder: WorkerBuilder<App>) -> WorkerBuilder<App> {
    builder.handle(asynchronous)
}

fn in_sync(builder: WorkerBuilder<App>) -> WorkerBuilder<App> {
    builder.handle_blocking(synchronous)
}

/// A database with the table of effects, a worker for [`Effect`], and what `complete_in` answered.
fn setup(
    form: Form,
) -> (
    TestDatabase,
    WorkerBuilder<App>,
    UnboundedReceiver<Option<ErrorKind>>,
) {
    let db = TestDatabase::migrated();
    db.execute("CREATE TABLE effects (job_id bigint NOT NULL)");
    let (answers, answered) = unbounded_channel();
    let url = db.url().to_owned();
    let builder = form(Worker::builder(db.url()).state(App { url, answers }));
    (db, builder, answered)
}

fn effects(db: &TestDatabase) -> i64 {
    db.number("SELECT count(*) FROM effects")
}

async fn commits(form: Form) {
    let (db, builder, _answered) = setup(form);

    let row = run_one(&db, builder, Effect { then: Then::Commit }.to_new()).await;

    assert_eq!((row.state, effects(&db)), (JobState::Completed, 1));
    assert_eq!((row.claimed_by, row.attempt), (None, 1));
}

#[tokio::test]
async fn complete_in_commits_the_effect_and_the_completion() {
    commits(in_sync).await;
}

#[tokio::test]
async fn complete_in_async_commits_the_effect_and_the_completion() {
    commits(in_async).await;
}

async fn rolls_back(form: Form) {
    let (db, builder, _answered) = setup(form);

    let row = run_one(
        &db,
        builder,
        Effect {
            then: Then::RollBack,
        }
        .to_new(),
    )
    .await;

    assert_eq!((row.state, effects(&db)), (JobState::Completed, 0));
}

#[tokio::test]
async fn ok_after_a_complete_in_that_rolled_back_completes_the_job() {
    rolls_back(in_sync).await;
}

#[tokio::test]
async fn ok_after_a_complete_in_async_that_rolled_back_completes_the_job() {
    rolls_back(in_async).await;
}

async fn stays_completed(form: Form) {
    let (db, builder, _answered) = setup(form);
    let job = Effect {
        then: Then::FailAfterCommit,
    };

    let row = run_one(&db, builder, job.to_new()).await;

    assert_eq!((row.state, effects(&db)), (JobState::Completed, 1));
    assert_eq!((row.attempt, errors(&row).len()), (1, 0));
}

#[tokio::test]
async fn a_failure_after_complete_in_has_committed_leaves_the_job_completed() {
    stays_completed(in_sync).await;
}

#[tokio::test]
async fn a_failure_after_complete_in_async_has_committed_leaves_the_job_completed() {
    stays_completed(in_async).await;
}

async fn loses_the_lease(form: Form) {
    let (db, builder, mut answered) = setup(form);
    let job = Effect {
        then: Then::LoseTheLeaseBefore,
    };

    let row = run_one(&db, builder, job.to_new()).await;

    assert_eq!(answered.recv().await, Some(Some(ErrorKind::LeaseLost)));
    assert_eq!(effects(&db), 0, "the transaction was rolled back");
    assert_eq!(
        (row.state, row.fencing_token, row.claimed_by),
        (JobState::Running, 2, Some(-1)),
        "the other run's job is untouched"
    );
}

#[tokio::test]
async fn complete_in_of_a_run_that_lost_its_lease_rolls_the_transaction_back() {
    loses_the_lease(in_sync).await;
}

#[tokio::test]
async fn complete_in_async_of_a_run_that_lost_its_lease_rolls_the_transaction_back() {
    loses_the_lease(in_async).await;
}

async fn is_deleted(form: Form, then: Then, effects_kept: i64) {
    let (db, builder, _answered) = setup(form);
    let builder = builder.completed_retention(Duration::ZERO);
    enqueue(&db, Effect { then }.to_new());

    builder.build().unwrap().run_until_empty().await.unwrap();

    assert_eq!((db.jobs().len(), effects(&db)), (0, effects_kept));
}

#[tokio::test]
async fn without_retention_complete_in_deletes_the_job() {
    is_deleted(in_sync, Then::Commit, 1).await;
    is_deleted(in_sync, Then::FailAfterCommit, 1).await;
    is_deleted(in_sync, Then::RollBack, 0).await;
}

#[tokio::test]
async fn without_retention_complete_in_async_deletes_the_job() {
    is_deleted(in_async, Then::Commit, 1).await;
    is_deleted(in_async, Then::FailAfterCommit, 1).await;
    is_deleted(in_async, Then::RollBack, 0).await;
}

#[tokio::test]
async fn without_retention_a_completed_job_is_deleted_and_a_failed_one_is_kept() {
    let db = TestDatabase::migrated();
    let handler = async |job: RawJob, _| match job.payload["fails"] == true {
        true => Err("no"),
        false => Ok(json!({"an": "output"})),
    };
    enqueue(&db, job());
    let failing = pgqueue_core::NewJob::new("job", json!({"fails": true}));
    let failing = enqueue(&db, failing.max_retries(0));

    let builder = worker(&db, handler).completed_retention(Duration::ZERO);
    builder.build().unwrap().run_until_empty().await.unwrap();

    let ids: Vec<i64> = db.jobs().iter().map(|row| row.id).collect();
    assert_eq!(ids, [failing]);
}

#[tokio::test]
async fn a_context_tells_everything_of_its_run() {
    let db = TestDatabase::migrated();
    let (told, mut tells) = unbounded_channel();
    let handler = move |job: RawJob, ctx: Context<&'static str>| {
        told.send((job, ctx)).unwrap();
        async { Ok::<_, String>(()) }
    };
    let builder = Worker::builder(db.url())
        .state("shared")
        .handle_kind("job", handler)
        .queue("mail", 1);
    let new = pgqueue_core::NewJob::new("job", json!({"to": "user@example.com"}))
        .queue("mail")
        .max_retries(7)
        .timeout(HOUR)
        .tag("blue")
        .tag("green")
        .metadata("trace", "4bf92f");

    let row = run_one(&db, builder, new).await;

    let (job, ctx) = tells.recv().await.unwrap();
    assert_eq!(
        (job.kind.as_str(), &job.payload),
        ("job", &json!({"to": "user@example.com"}))
    );
    assert_eq!((ctx.id(), ctx.attempt(), ctx.max_retries()), (row.id, 1, 7));
    assert_eq!((ctx.kind(), ctx.queue()), ("job", "mail"));
    assert_eq!(ctx.fencing_token(), 1);
    assert_eq!(ctx.enqueued_at(), row.created_at);
    assert_eq!(
        ctx.metadata(),
        Some(&json!({"tags": ["blue", "green"], "trace": "4bf92f"}))
    );
    assert!(ctx.deadline().unwrap() > std::time::Instant::now());
    assert_eq!(*ctx.state(), "shared");
    assert!(!ctx.is_cancelled() && !ctx.cancellation().is_cancelled());
    let shown = format!("{ctx:?}");
    assert!(
        shown.contains("\"mail\"") && !shown.contains("4bf92f"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_second_run_tells_the_next_attempt_and_the_next_token() {
    let db = TestDatabase::migrated();
    let (told, mut tells) = unbounded_channel();
    let handler = move |_, ctx: Context| {
        told.send((ctx.attempt(), ctx.fencing_token(), ctx.deadline()))
            .unwrap();
        async move {
            if ctx.attempt() == 1 {
                return Err("once");
            }
            Ok(())
        }
    };
    let builder = worker(&db, handler).retry_base_wait(Duration::ZERO);

    run_one(&db, builder, job()).await;

    assert_eq!(tells.recv().await, Some((1, 1, None)));
    assert_eq!(tells.recv().await, Some((2, 2, None)));
}

#[tokio::test]
async fn progress_is_stored_while_the_job_runs() {
    let db = TestDatabase::migrated();
    let url = db.url().to_owned();
    let handler = move |_, ctx: Context| {
        let mut conn = PgConnection::establish(&url).unwrap();
        async move {
            ctx.progress(json!({"percent": 40, "nul": "\0"})).await?;
            let running = "SELECT 1 FROM pgqueue_jobs WHERE state = 'running' AND progress -> 'percent' = '40'";
            let seen = RunQueryDsl::execute(sql_query(running), &mut conn).unwrap();
            ctx.progress_in(&mut conn, "nearly done")?;
            Ok::<_, Error>(seen)
        }
    };

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!(row.output, Some(json!(1)));
    assert_eq!(row.progress, Some(json!("nearly done")));
}

#[tokio::test]
async fn progress_after_complete_in_is_refused_without_touching_the_database() {
    let db = TestDatabase::migrated();
    let (told, mut tells) = unbounded_channel();
    let url = db.url().to_owned();
    let handler = move |_, ctx: Context| {
        let mut other = PgConnection::establish(&url).unwrap();
        RunQueryDsl::execute(sql_query("SET lock_timeout = '5s'"), &mut other).unwrap();
        let told = told.clone();
        async move {
            let mut conn = ctx.connection().await?;
            let completed = conn.transaction(async |conn| {
                ctx.complete_in_async(conn).await?;
                // This very transaction locks the row: a statement on another connection would wait for it.
                let kinds = [
                    ctx.progress(1).await.unwrap_err().kind(),
                    ctx.progress_in(&mut other, 1).unwrap_err().kind(),
                ];
                told.send(kinds).unwrap();
                QueryResult::Ok(())
            });
            Ok::<_, BoxError>(completed.await?)
        }
    };

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!(tells.recv().await, Some([ErrorKind::AlreadyCompleted; 2]));
    assert_eq!(row.state, JobState::Completed);
}

#[tokio::test]
async fn progress_of_a_run_that_lost_its_lease_is_refused() {
    let db = TestDatabase::migrated();
    let url = db.url().to_owned();
    let (told, mut tells) = unbounded_channel();
    let handler = move |_, ctx: Context| {
        let mut conn = PgConnection::establish(&url).unwrap();
        let told = told.clone();
        async move {
            let take_over = sql_query(TAKE_OVER).bind::<BigInt, _>(ctx.id());
            RunQueryDsl::execute(take_over, &mut conn).unwrap();
            let errors = [
                ctx.progress(1).await.unwrap_err().kind(),
                ctx.progress_in(&mut conn, 1).unwrap_err().kind(),
            ];
            told.send(errors).unwrap();
            Ok::<_, String>(())
        }
    };

    let row = run_one(&db, worker(&db, handler), job()).await;

    assert_eq!(tells.recv().await, Some([ErrorKind::LeaseLost; 2]));
    assert_eq!((row.progress, row.fencing_token), (None, 2));
}

/// Runs a job that asks the database its name over the context's connection.
async fn connects(db: &TestDatabase, source: impl Into<pgqueue_core::Source>) {
    let handler = async |_, ctx: Context| {
        let mut conn = ctx.connection().await?;
        let name = diesel::dsl::sql::<diesel::sql_types::Text>("SELECT current_database()::text");
        let name: String = diesel_async::RunQueryDsl::get_result(name, &mut *conn).await?;
        Ok::<_, BoxError>(name)
    };
    let builder = Worker::builder(source).handle_kind("job", handler);

    let row = run_one(db, builder, job()).await;

    let name = row.output.unwrap();
    assert!(db.url().ends_with(name.as_str().unwrap()));
}

#[tokio::test]
async fn a_connection_comes_from_the_hosts_deadpool() {
    let db = TestDatabase::migrated();
    connects(&db, db.deadpool(1)).await;
}

#[tokio::test]
async fn a_connection_comes_from_the_hosts_bb8() {
    let db = TestDatabase::migrated();
    connects(&db, db.bb8().await).await;
}

#[tokio::test]
async fn a_connection_comes_from_a_url() {
    let db = TestDatabase::migrated();
    connects(&db, db.url()).await;
}

#[tokio::test]
async fn handlers_that_hold_every_pooled_connection_keep_the_worker_at_work() {
    let db = TestDatabase::migrated();
    let pool = db.deadpool(1);
    let _held = pool.get().await.unwrap();
    let builder =
        Worker::builder(pool.clone()).handle_kind("job", async |_, _| Ok::<_, String>(()));

    let row = run_one(&db, builder, job()).await;

    assert_eq!(row.state, JobState::Completed);
}

#[tokio::test]
async fn progress_is_stored_where_sessions_are_read_only_and_serializable_by_default() {
    let db = TestDatabase::migrated();
    let id = enqueue(&db, job());
    db.set_default("default_transaction_isolation = serializable");
    db.set_default("default_transaction_read_only = on");

    let worker = worker(&db, async |_, ctx: Context| {
        ctx.progress(json!("half")).await
    });
    worker.build().unwrap().run_until_empty().await.unwrap();

    let row = db.job(id);
    assert_eq!(
        (row.state, row.progress),
        (JobState::Completed, Some(json!("half")))
    );
}
