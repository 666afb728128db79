//! What operators do meanwhile: requeue, cancel and purge jobs, hurry them, pause and resume queues, each at random.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use fastrand::Rng;
use pgqueue_core::admin::{self, Filter};
use pgqueue_core::{ErrorKind, JobState};
use pgqueue_suite::chaos::QUEUES;

use crate::cluster::Cluster;
use crate::watch::Sightings;

/// How long an operator rests between two actions.
const REST: Duration = Duration::from_millis(100);
/// How long a queue stays paused.
const PAUSE: Duration = Duration::from_millis(400);

/// Acts until the task is aborted. A database that is away is no reason to end.
pub(crate) async fn act(cluster: Cluster, seed: u64, sightings: Arc<Sightings>) {
    let mut rng = Rng::with_seed(seed);
    loop {
        if let Ok(mut conn) = AsyncPgConnection::establish(&cluster.url()).await {
            loop {
                if let Err(error) = act_once(&mut conn, &mut rng).await {
                    if error.kind() != ErrorKind::Connection {
                        sightings.add_error("an operator", &error);
                    }
                    break;
                }
                sightings.count_deed();
                tokio::time::sleep(REST).await;
            }
        }
        tokio::time::sleep(REST).await;
    }
}

/// Ends every pause, which an operator who was aborted has left behind.
pub(crate) async fn resume_all(cluster: &Cluster) {
    let mut conn = AsyncPgConnection::establish(&cluster.url()).await.unwrap();
    for (queue, _) in QUEUES {
        admin::resume(queue).run_async(&mut conn).await.unwrap();
    }
}

async fn act_once(conn: &mut AsyncPgConnection, rng: &mut Rng) -> Result<(), pgqueue_core::Error> {
    let (queue, _) = QUEUES[rng.usize(..QUEUES.len())];
    let in_state = |state| Filter::new().queue(queue).state(state);
    match rng.u8(..11) {
        0..3 => {
            // Not all: most are dead because they say so, and would be again and again.
            let some = some(conn, in_state(JobState::Dead), 10).await?;
            admin::requeue(some).run_async(conn).await?;
        }
        3 => {
            admin::requeue(in_state(JobState::Cancelled))
                .run_async(conn)
                .await?;
        }
        4..6 => {
            let state = if rng.bool() {
                JobState::Pending
            } else {
                JobState::Running
            };
            let some = some(conn, in_state(state), 3).await?;
            admin::cancel(some).run_async(conn).await?;
        }
        6 => {
            // A new life: its effect happens once more.
            let some = some(conn, in_state(JobState::Completed), 2).await?;
            admin::requeue(some).run_async(conn).await?;
        }
        7 => {
            admin::purge(in_state(JobState::Cancelled))
                .run_async(conn)
                .await?;
        }
        8 => {
            admin::purge(in_state(JobState::Dead))
                .run_async(conn)
                .await?;
        }
        9 => {
            admin::run_now(in_state(JobState::Pending))
                .run_async(conn)
                .await?;
        }
        _ => {
            admin::pause(queue).run_async(conn).await?;
            tokio::time::sleep(PAUSE).await;
            admin::resume(queue).run_async(conn).await?;
        }
    }
    Ok(())
}

/// Finds some of the jobs, and means these from then on.
async fn some(
    conn: &mut AsyncPgConnection,
    filter: Filter,
    size: u16,
) -> Result<Filter, pgqueue_core::Error> {
    let found = admin::find(filter).size(size).run_async(conn).await?;
    Ok(Filter::new().ids(found.jobs.iter().map(|job| job.id)))
}
