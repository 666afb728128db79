//! A worker behind a pooler in transaction mode: it refuses to start, whatever session it is given, and leaves none changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool};
use pgqueue_core::{Error, ErrorKind, JobState, Source, Worker};
use pgqueue_suite::TestDatabase;

use crate::pooler::PgBouncer;
use crate::{job, worker};

const TRANSACTION: &str = "pool_mode = transaction";

/// Starts a worker that must refuse, and gives its error.
async fn refusal(url: &str) -> Error {
    let worker = worker(url).build().unwrap();
    let ended = tokio::time::timeout(crate::HOUR / 60, worker.run_until_empty()).await;
    ended.expect("the worker ends").unwrap_err()
}

fn assert_names_the_setting(error: &Error) {
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{message}");
    for word in [
        "127.0.0.1:",
        "pool_mode = transaction",
        "pool_mode = session",
    ] {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[tokio::test]
async fn a_worker_refuses_to_start_and_names_the_setting() {
    let db = TestDatabase::migrated();
    let pooler = PgBouncer::start(&db, &[TRANSACTION]);
    let id = job().enqueue(&mut db.sync()).unwrap().id;

    let error = refusal(pooler.url()).await;

    assert_names_the_setting(&error);
    assert_eq!(db.job(id).state, JobState::Pending);
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_workers"), 0);
}

#[tokio::test]
async fn a_worker_on_a_pool_refuses_as_well() {
    let db = TestDatabase::migrated();
    let pooler = PgBouncer::start(&db, &[TRANSACTION]);
    let manager = AsyncDieselConnectionManager::new(pooler.url());
    let pool = deadpool::Pool::builder(manager);
    let source = Source::from(pool.build().unwrap());
    let worker = Worker::builder(source);
    let worker = worker.handle_kind("job", async |_, _| Ok::<_, String>(()));

    let error = worker.build().unwrap().run_until_empty().await.unwrap_err();

    assert!(error.to_string().contains("pool_mode"), "{error}");
}

#[tokio::test]
async fn it_refuses_where_all_share_one_session() {
    let db = TestDatabase::migrated();
    let pooler = PgBouncer::start(&db, &[TRANSACTION, "default_pool_size = 1"]);

    assert_names_the_setting(&refusal(pooler.url()).await);
}

#[tokio::test]
async fn it_refuses_where_every_statement_goes_to_the_next_session() {
    let db = TestDatabase::migrated();
    let pooler = PgBouncer::start(&db, &[TRANSACTION, "server_round_robin = 1"]);
    pooler.open_sessions(3);

    assert_names_the_setting(&refusal(pooler.url()).await);
}

#[tokio::test]
async fn it_refuses_in_statement_mode() {
    let db = TestDatabase::migrated();
    let pooler = PgBouncer::start(&db, &["pool_mode = statement"]);

    let message = refusal(pooler.url()).await.to_string();

    assert!(message.contains("pool_mode"), "{message}");
}

/// Workers that start while others keep the pool busy get whichever session is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_while_others_are_busy() {
    let db = TestDatabase::migrated();
    let pooler = PgBouncer::start(&db, &[TRANSACTION, "default_pool_size = 4"]);
    let busy: Vec<_> = (0..3).map(|_| Busy::on(&pooler)).collect();

    for _ in 0..10 {
        let error = refusal(pooler.url()).await;
        assert!(error.to_string().contains("pool_mode"), "{error}");
    }

    drop(busy);
}

#[tokio::test]
async fn a_refusal_leaves_no_setting_behind_for_others() {
    let db = TestDatabase::migrated();
    let pooler = PgBouncer::start(&db, &[TRANSACTION]);
    let settings = "SELECT string_agg(name || setting, ',' ORDER BY name)
                    FROM pg_settings WHERE name ~ '^(enable_|plan_|jit$|default_tr|.*_timeout$)'";
    let before = text(&mut db.sync(), settings);

    refusal(pooler.url()).await;

    assert_eq!(text(&mut pooler.without_cache(), settings), before);
    assert_eq!(
        db.number("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'LISTEN' AND pid <> pg_backend_pid()"),
        0,
        "nobody was made to listen"
    );
}

fn text(conn: &mut PgConnection, query: &str) -> String {
    let query = format!("({query})");
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(&query))
        .get_result(conn)
        .unwrap()
}

/// A client that runs short transactions until it is dropped.
struct Busy {
    on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn on(pooler: &PgBouncer) -> Self {
        let on = Arc::new(AtomicBool::new(true));
        let (going_on, mut conn) = (Arc::clone(&on), pooler.without_cache());
        let thread = thread::spawn(move || {
            while going_on.load(Ordering::SeqCst) {
                conn.batch_execute("SELECT pg_sleep(0.0005)").unwrap();
            }
        });
        Self {
            on,
            thread: Some(thread),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.on.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
