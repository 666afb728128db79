//! What all visitors see of the queues: a [`Snapshot`] of what changes by the second, and in it a [`Tally`] of what takes
//! longer to count and is read every few seconds. Each says when it was read, and pages tell both.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use pgqueue_core::Error;
use pgqueue_core::stats::{
    self, ActiveStats, Activity, Count, EndedStats, Estimate, KindStats, OldestWaiting, QueueStats,
};
use pgqueue_core::workers::{self, WorkerStats};

/// Where the counts of a snapshot stop: beyond, nobody sees the last digits change by the second.
const SNAPSHOT_LIMIT: i64 = 1000;
/// Where those of a tally stop.
const TALLY_LIMIT: i64 = 10_000;
/// Most jobs of the list of those that wait for the longest.
const WAITING: i64 = 8;
const HOUR: Duration = Duration::from_secs(3600);
const SPARK_STEP: Duration = Duration::from_secs(120);

/// What all visitors see of the queues.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: DateTime<Utc>,
    /// When the tally was read: jobs that have ended, counts above 1,000, estimates, and what ran in the last hour.
    pub(crate) counted_at: DateTime<Utc>,
    pub(crate) queues: Vec<QueueStats>,
    pub(crate) workers: Vec<WorkerStats>,
    pub(crate) waiting: Vec<OldestWaiting>,
    pub(crate) estimates: Arc<Vec<Estimate>>,
    /// What ran in the last hour, by queue and kind.
    pub(crate) hour: Arc<Vec<KindStats>>,
    /// And when, by queue.
    pub(crate) activity: Arc<Activity>,
}

/// What takes longer to count.
#[derive(Debug)]
pub(crate) struct Tally {
    at: DateTime<Utc>,
    active: HashMap<String, ActiveStats>,
    ended: EndedStats,
    estimates: Arc<Vec<Estimate>>,
    hour: Arc<Vec<KindStats>>,
    activity: Arc<Activity>,
}

impl Snapshot {
    /// Reads what changes by the second, and adds the newest tally.
    pub(crate) async fn read(conn: &mut AsyncPgConnection, tally: &Tally) -> Result<Self, Error> {
        let at = Utc::now();
        let mut active = stats::active_async(conn, SNAPSHOT_LIMIT).await?;
        for queue in &mut active {
            tally.refine(queue);
        }
        Ok(Self {
            at,
            counted_at: tally.at,
            queues: QueueStats::join(active, &tally.ended),
            workers: workers::list_async(conn).await?,
            waiting: stats::oldest_waiting_async(conn, WAITING).await?,
            estimates: Arc::clone(&tally.estimates),
            hour: Arc::clone(&tally.hour),
            activity: Arc::clone(&tally.activity),
        })
    }

    /// Adds up a count of all queues.
    pub(crate) fn total(&self, of: fn(&QueueStats) -> Count) -> Count {
        let none = Count {
            at_least: 0,
            exact: true,
        };
        self.queues
            .iter()
            .map(of)
            .fold(none, |sum, count| sum + count)
    }
}

impl Tally {
    /// Reads what takes longer to count. What ran is here, too: workers store it every five seconds.
    pub(crate) async fn read(conn: &mut AsyncPgConnection) -> Result<Self, Error> {
        let at = Utc::now();
        let active = stats::active_async(conn, TALLY_LIMIT).await?;
        Ok(Self {
            at,
            active: active
                .into_iter()
                .map(|queue| (queue.queue.clone(), queue))
                .collect(),
            ended: stats::ended_async(conn).await?,
            estimates: Arc::new(stats::estimates_async(conn).await?),
            hour: Arc::new(stats::kinds_async(conn, at - HOUR, at).await?),
            activity: Arc::new(stats::activity_async(conn, at - HOUR, at, SPARK_STEP).await?),
        })
    }

    /// Gives a queue the counts of before where the ones of now stopped short of them.
    fn refine(&self, queue: &mut ActiveStats) {
        let Some(before) = self.active.get(&queue.queue) else {
            return;
        };
        queue.due = further(queue.due, before.due);
        queue.scheduled = further(queue.scheduled, before.scheduled);
        queue.running = further(queue.running, before.running);
    }
}

fn further(now: Count, before: Count) -> Count {
    if now.exact || before.at_least < now.at_least {
        now
    } else {
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(at_least: i64, exact: bool) -> Count {
        Count { at_least, exact }
    }

    #[test]
    fn a_count_of_now_that_is_exact_is_shown_whatever_it_was_before() {
        let now = count(400, true);
        assert_eq!(further(now, count(7000, true)), now);
        assert_eq!(further(now, count(10_000, false)), now);
    }

    #[test]
    fn a_count_that_stopped_is_that_of_the_tally_unless_it_has_grown_beyond() {
        let stopped = count(1000, false);
        assert_eq!(further(stopped, count(7000, true)), count(7000, true));
        assert_eq!(further(stopped, count(10_000, false)), count(10_000, false));
        assert_eq!(further(stopped, count(400, true)), stopped);
    }
}
