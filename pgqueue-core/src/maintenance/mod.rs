//! What any worker does for all: [`rescue`] of jobs whose worker died, [`prune`] of what retention has let go,
//! [`fold`] of old statistics, [`trash`] that is a day old. One duty a file, all of one shape: settings, `run_once` that answers what it did, and its
//! own interval. There is no leader: each duty is safe when several workers do it at once.

mod fold;
mod prune;
mod rescue;
mod trash;

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::source::{Connections, Link, Purpose};
use crate::worker::WorkerHandle;

use fold::Fold;
use prune::Prune;
use rescue::Rescue;
pub(crate) use rescue::Taken;
use trash::Trash;

/// Settings of all duties.
pub(crate) struct Duties {
    pub(crate) connections: Connections,
    pub(crate) shutdown: WorkerHandle,
    pub(crate) lease: Duration,
    pub(crate) interval: Duration,
    pub(crate) max_lost: i32,
    pub(crate) lost_base_wait: Duration,
    pub(crate) completed_retention: Duration,
    pub(crate) cancelled_retention: Duration,
    pub(crate) stats_retention: Duration,
}

/// Does the duties until the worker stops claiming. `judge`: this worker, once its own beats allow it to rescue;
/// `count` is told of rescued jobs.
pub(crate) async fn maintain(
    duties: Duties,
    judge: impl Fn() -> Option<i64> + Send,
    count: impl Fn(&[Taken]) + Send,
) {
    let mut link = Link::new(duties.connections.clone(), Purpose::Other);
    let rescue = Rescue {
        lease: duties.lease,
        max_lost: duties.max_lost,
        base_wait: duties.lost_base_wait,
    };
    let prune = Prune {
        completed: duties.completed_retention,
        cancelled: duties.cancelled_retention,
    };
    let fold = Fold {
        retention: duties.stats_retention,
    };
    // At once: a process that never gets old enough for its first turn does its part, too.
    let (mut prune_at, mut fold_at, mut trash_at) =
        (Instant::now(), Instant::now(), Instant::now());
    while duties.shutdown.is_running() {
        if let Some(judge) = judge()
            && let Some(rescued) = report("rescue", rescue.run_once(&mut link, judge).await)
        {
            count(&rescued.jobs);
        }
        if prune_at <= Instant::now() {
            let pruned = report(
                "prune",
                prune
                    .run_once(&mut link, &duties.shutdown, duties.interval)
                    .await,
            );
            if pruned.is_some_and(|pruned| pruned.more) {
                continue;
            }
            prune_at = Instant::now() + prune::INTERVAL;
        }
        if fold_at <= Instant::now() {
            report("fold", fold.run_once(&mut link).await);
            fold_at = Instant::now() + fold::INTERVAL;
        }
        if trash_at <= Instant::now() {
            let emptied = Trash.run_once(&mut link, &duties.shutdown, duties.interval);
            report("trash", emptied.await);
            trash_at = Instant::now() + trash::INTERVAL;
        }
        // Apart by chance: workers that started together do not look together.
        let wait = duties.interval.mul_f64(0.8 + fastrand::f64() / 5.0);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = duties.shutdown.draining() => return,
        }
    }
}

fn report<T>(duty: &str, done: Result<T, Error>) -> Option<T> {
    done.inspect_err(|error| tracing::warn!(duty, %error, "maintenance failed; it is done again at its next turn")).ok()
}
