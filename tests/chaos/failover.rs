//! The database moves to a standby that has not heard of the last commits: what is left of the queue is as it was before
//! them, and goes on. Apart from the soak, whose standbys are synchronous: there nothing that was committed may be lost.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use local_postgres::{LocalPostgres, Shutdown};
use pgqueue_core::{NewJob, Worker};
use pgqueue_suite::chaos::LEASE;
use pgqueue_suite::proxy::{End, Proxy};
use pgqueue_suite::running::run;
use pgqueue_suite::{TestDatabase, wait_until};
use tokio::sync::watch;

/// The database, at one of its servers or wherever the proxy leads.
struct At<'a>(&'a str);

impl At<'_> {
    fn connect(&self) -> PgConnection {
        PgConnection::establish(self.0).unwrap()
    }

    fn text(&self, expression: &str) -> String {
        let question = diesel::select(sql::<Text>(expression));
        question.get_result(&mut self.connect()).unwrap()
    }

    /// Gives a job's state and how many runs it has begun, such as `completed 1`; nothing if there is no such job.
    fn job(&self, id: i64) -> String {
        self.text(&format!(
            "coalesce((SELECT concat_ws(' ', state, fencing_token) FROM pgqueue_jobs WHERE id = {id}), '')"
        ))
    }

    async fn wait_for_receivers(&self, count: &str) {
        let receivers = "(SELECT count(*)::text FROM pg_stat_wal_receiver)";
        wait_until("the standby's receiver", async || {
            self.text(receivers) == count
        })
        .await;
    }

    /// Has a standby hear nothing more of its primary.
    async fn cut_off(&self) {
        self.wait_for_receivers("1").await;
        for statement in [
            "ALTER SYSTEM SET primary_conninfo = ''",
            "SELECT pg_reload_conf()",
        ] {
            self.connect().batch_execute(statement).unwrap();
        }
        self.wait_for_receivers("0").await;
    }
}

/// Enqueues a job of a kind, wherever the database is.
fn enqueue_at(at: &At<'_>, kind: &str) -> i64 {
    let job = NewJob::new(kind, serde_json::Value::Null);
    job.enqueue(&mut at.connect()).unwrap().id
}

/// A worker of one kind of job, whose handler waits for the gate.
fn worker(url: &str, kind: &str, gate: &watch::Sender<bool>) -> Worker {
    let gate = gate.clone();
    let handler = move |_, _| {
        let mut gate = gate.subscribe();
        async move { gate.wait_for(|open| *open).await.map(drop) }
    };
    let builder = Worker::builder(url).lease(LEASE);
    let builder = builder.lost_base_wait(Duration::ZERO);
    builder.handle_kind(kind, handler).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_commits_loses_their_jobs_and_runs_again_what_they_ended() {
    let primary = LocalPostgres::builder().start().unwrap();
    let db = TestDatabase::migrated_on(&primary);
    let standby = primary.standby(LocalPostgres::builder()).unwrap();
    let (_, database) = db.url().rsplit_once('/').unwrap();
    let (url, proxy) = (standby.url(database), Proxy::start(db.url()).await);
    let (standby, now) = (At(&url), At(proxy.url()));
    let gate = watch::Sender::new(false);
    let start = |kind| run(worker(proxy.url(), kind, &gate));

    // The standby hears of the claim of one and the enqueue of another; of their ends and of a third job it does not.
    let early = start("early");
    let held = enqueue_at(&now, "early");
    let kept = enqueue_at(&now, "late");
    wait_until("its claim has arrived", async || {
        standby.job(held) == "running 1" && standby.job(kept) == "pending 0"
    })
    .await;
    standby.cut_off().await;
    let late = start("late");
    let lost = enqueue_at(&now, "late");
    gate.send_replace(true);
    wait_until("all have completed", async || {
        [held, kept, lost]
            .iter()
            .all(|job| now.job(*job) == "completed 1")
    })
    .await;

    tokio::task::block_in_place(|| primary.stop(Shutdown::Crash)).unwrap();
    assert_eq!(standby.text("pg_promote(true, 120)::text"), "true");
    let left = [held, kept, lost].map(|job| standby.job(job));
    proxy.lead_to(&url);
    proxy.end_connections(End::Reset);

    assert_eq!(left, ["running 1", "pending 0", ""]);
    for job in [held, kept] {
        wait_until("it ran again", async || {
            now.job(job).starts_with("completed")
        })
        .await;
    }
    assert_ne!(now.job(held), "completed 1");
    let next = enqueue_at(&now, "late");
    wait_until("the next one runs", async || {
        now.job(next).starts_with("completed")
    })
    .await;
    for worker in [early, late] {
        worker.stop().await;
    }
}
