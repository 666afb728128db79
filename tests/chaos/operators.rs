//! What operators do meanwhile: requeue, cancel and purge jobs, hurry them, pause and resume queues, each at random.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use fastrand::Rng;
use pgqueue_core::JobState;
use pgqueue_core::admin::{self, Filter};
use pgqueue_suite::chaos::QUEUES;

use crate::cluster::Cluster;

/// How long an operator rests between two actions.
const REST: Duration = Duration::from_millis(100);
/// How long a queue stays paused.
const PAUSE: Duration = Duration::from_millis(400);

/// Acts until the task is aborted. A database that is away is no reason to end.
pub(crate) async fn act(cluster: Cluster, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    loop {
        if let Ok(mut conn) = AsyncPgConnection::establish(&cluster.url()).await {
            while act_once(&mut conn, &mut rng).await.is_ok() {
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
            admin::requeue(in_state(JobState::Dead))
                .run_async(conn)
                .await?;
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
            let some = admin::find(in_state(state)).size(3).run_async(conn).await?;
            let ids = some.jobs.iter().map(|job| job.id);
            admin::cancel(Filter::new().ids(ids))
                .run_async(conn)
                .await?;
        }
        6 => {
            // A new life: its effect happens once more.
            let some = admin::find(in_state(JobState::Completed)).size(2);
            let some = some.run_async(conn).await?;
            let ids = some.jobs.iter().map(|job| job.id);
            admin::requeue(Filter::new().ids(ids))
                .run_async(conn)
                .await?;
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
