//! The database moves to a standby that has not heard of the last commits.

use super::*;

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use local_postgres::{LocalPostgres, Shutdown};
use pgqueue_core::Context;
use pgqueue_suite::proxy::{End, Proxy};

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

    /// Has a standby hear nothing more of its primary.
    async fn cut_off(&self) {
        for statement in [
            "ALTER SYSTEM SET primary_conninfo = ''",
            "SELECT pg_reload_conf()",
        ] {
            self.connect().batch_execute(statement).unwrap();
        }
        let receivers = "(SELECT count(*)::text FROM pg_stat_wal_receiver)";
        wait_until("it is cut off", async || self.text(receivers) == "0").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_commits_loses_their_jobs_and_runs_again_what_they_ended() {
    let primary = LocalPostgres::builder().start().unwrap();
    let db = TestDatabase::migrated_on(&primary);
    let kept = enqueue(&db, Act::Return);
    let standby = primary.standby(LocalPostgres::builder()).unwrap();
    let (_, database) = db.url().rsplit_once('/').unwrap();
    let (url, proxy) = (standby.url(database), Proxy::start(db.url()).await);
    let (standby, now) = (At(&url), At(proxy.url()));
    standby.cut_off().await;
    let worker = Worker::builder(proxy.url()).lease(LEASE);
    let worker = worker.handle(async |_: Act, ctx: Context| Ok::<_, String>(ctx.id()));
    let worker = run(worker.build().unwrap());
    let lost = enqueue(&db, Act::Return);
    wait_until("both have completed", async || {
        now.job(kept) == "completed 1" && now.job(lost) == "completed 1"
    })
    .await;

    tokio::task::block_in_place(|| primary.stop(Shutdown::Crash)).unwrap();
    standby.text("pg_promote(true, 120)::text");
    assert_eq!(standby.job(kept), "pending 0");
    assert_eq!(standby.job(lost), "");
    proxy.lead_to(&url);
    proxy.end_connections(End::Reset);

    let again = async || now.job(kept) == "completed 1";
    wait_until("it ran again", again).await;
    let next = Act::Return.enqueue(&mut now.connect()).unwrap().id;
    let goes_on = async || now.job(next) == "completed 1";
    wait_until("the next one runs", goes_on).await;
    worker.stop().await;
}
