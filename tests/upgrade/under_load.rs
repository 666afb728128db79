//! A migration while jobs come and run: workers and producers go on with what they had prepared, and lose and double nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;

use diesel::sql_types::BigInt;
use diesel_async::AsyncConnection;
use pgqueue_core::{BoxError, Context, Error, JobState, Worker, WorkerHandle};
use pgqueue_suite::{TestDatabase, wait_until};

use crate::{NEXT, job};

/// 200 jobs a second.
const PACE: Duration = Duration::from_millis(5);
/// So many jobs before the migration and after it: about a second of each.
const JOBS: usize = 200;

/// Enqueues a job each [`PACE`] on one connection until it is stopped.
struct Producer {
    on: Arc<AtomicBool>,
    enqueued: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Producer {
    fn start(db: &TestDatabase) -> Self {
        let (on, enqueued) = (
            Arc::new(AtomicBool::new(true)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (going_on, count, mut conn) = (Arc::clone(&on), Arc::clone(&enqueued), db.sync());
        let thread = thread::spawn(move || {
            let started = Instant::now();
            for number in 1.. {
                if !going_on.load(Ordering::SeqCst) {
                    return;
                }
                job().enqueue(&mut conn).unwrap();
                count.store(number, Ordering::SeqCst);
                let next = PACE * u32::try_from(number).unwrap();
                thread::sleep(next.saturating_sub(started.elapsed()));
            }
        });
        Self {
            on,
            enqueued,
            thread,
        }
    }

    fn count(&self) -> usize {
        self.enqueued.load(Ordering::SeqCst)
    }

    async fn wait_for(&self, count: usize) {
        let what = format!("{count} jobs are enqueued");
        wait_until(&what, async || self.count() >= count).await;
    }

    /// Stops, and gives how many jobs it enqueued.
    fn stop(self) -> usize {
        self.on.store(false, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.enqueued.load(Ordering::SeqCst)
    }
}

/// Starts a worker that writes down each run in a transaction of its own, and the effect of each job with its completion.
fn start_worker(db: &TestDatabase) -> (WorkerHandle, tokio::task::JoinHandle<Result<(), Error>>) {
    let handler = async |_, ctx: Context| {
        let note = |table| {
            diesel::sql_query(format!("INSERT INTO {table} VALUES ($1)"))
                .bind::<BigInt, _>(ctx.id())
        };
        let mut conn = ctx.connection().await?;
        diesel_async::RunQueryDsl::execute(note("runs"), &mut *conn).await?;
        let both = conn.transaction(async |conn| {
            diesel_async::RunQueryDsl::execute(note("effects"), conn).await?;
            ctx.complete_in_async(conn).await
        });
        both.await?;
        Ok::<_, BoxError>(())
    };
    let builder = Worker::builder(db.url()).handle_kind("job", handler);
    let worker = builder.concurrency(10).build().unwrap();
    let handle = worker.handle();
    (
        handle,
        tokio::spawn(worker.run(std::future::pending::<()>())),
    )
}

/// Migrates as an operator does: it waits for a lock no longer than its `lock_timeout`, and tries again. Tells how often.
fn migrate(db: &TestDatabase, refused: impl Fn()) -> usize {
    let mut conn = db.sync();
    let mut tries = 1;
    while let Err(error) = conn.batch_execute(NEXT) {
        assert!(error.to_string().contains("lock timeout"), "{error}");
        conn.batch_execute("ROLLBACK").unwrap();
        refused();
        tries += 1;
    }
    tries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_among_200_jobs_a_second_loses_and_doubles_nothing() {
    let db = TestDatabase::migrated();
    db.execute(
        "CREATE TABLE runs (job_id bigint NOT NULL); CREATE TABLE effects (job_id bigint NOT NULL)",
    );
    let workers = [start_worker(&db), start_worker(&db)];
    let producer = Producer::start(&db);
    producer.wait_for(JOBS).await;

    // A transaction of the host that has enqueued and stays open: the migration cannot have the table, and gives way.
    let mut open = db.sync();
    open.batch_execute("BEGIN").unwrap();
    job().enqueue(&mut open).unwrap();
    let open = std::sync::Mutex::new(Some(open));
    let tries = tokio::task::block_in_place(|| {
        migrate(&db, || {
            if let Some(mut conn) = open.lock().unwrap().take() {
                conn.batch_execute("COMMIT").unwrap();
            }
        })
    });
    producer.wait_for(producer.count() + JOBS).await;
    let jobs = i64::try_from(producer.stop() + 1).unwrap();

    db.wait_for_count(JobState::Completed, jobs).await;
    for (handle, task) in workers {
        handle.stop();
        task.await.unwrap().unwrap();
    }
    assert!(tries > 1, "it was refused while the transaction was open");
    let once = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        let distinct = format!("SELECT count(DISTINCT job_id) FROM {table}");
        (db.number(&count), db.number(&distinct))
    };
    assert_eq!(once("effects"), (jobs, jobs));
    assert_eq!(once("runs"), (jobs, jobs));
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_jobs"), jobs);
}
