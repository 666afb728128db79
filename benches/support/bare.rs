//! The yardsticks: ideal statements on a table of ours, driven by bare tokio-postgres that does nothing else. They do not
//! fence, count attempts of failures, look at pauses, kinds or other queues, or keep statistics.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_postgres::{Client, NoTls};

/// Claims so many due jobs.
pub const CLAIM: &str = "\
    WITH picked AS MATERIALIZED (
        SELECT id FROM pgqueue_jobs
        WHERE queue = 'default' AND state = 'pending' AND priority = 5 AND run_at <= now()
        ORDER BY run_at, id
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    UPDATE pgqueue_jobs
    SET state = 'running', attempt = attempt + 1, fencing_token = fencing_token + 1, claimed_by = 1, claim_batch = 1, started_at = now()
    WHERE id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING id, payload";
const COMPLETE: &str = "\
    UPDATE pgqueue_jobs SET state = 'completed', finished_at = now(), claimed_by = NULL, claim_batch = NULL
    WHERE id = ANY ($1::bigint[]) AND claimed_by IS NOT NULL";
const DELETE: &str =
    "DELETE FROM pgqueue_jobs WHERE id = ANY ($1::bigint[]) AND claimed_by IS NOT NULL";
/// What an engine's session sets, too: a plan that was made for an empty table must not stay.
const SESSION: &str = "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; \
    SET enable_hashjoin = off; SET enable_mergejoin = off";

/// What becomes of jobs that are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// They stay as completed.
    Kept,
    /// They are deleted.
    Deleted,
}

/// Connects.
///
/// # Errors
/// When the server does not answer.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Drains the backlog by two connections: while one ends a batch, the other claims the next. Gives how long it took from
/// the first claim to the last end.
///
/// # Errors
/// What the server refuses.
pub async fn drain(url: &str, batch: i64, done: Done) -> anyhow::Result<Duration> {
    let (claims, ends) = (connect(url).await?, connect(url).await?);
    claims.batch_execute(SESSION).await?;
    ends.batch_execute(SESSION).await?;
    let claim = claims.prepare(CLAIM).await?;
    let end = ends
        .prepare(if done == Done::Kept { COMPLETE } else { DELETE })
        .await?;
    let started = Instant::now();
    let (sender, mut claimed) = mpsc::channel::<Vec<i64>>(1);
    let ending = tokio::spawn(async move {
        while let Some(mut ids) = claimed.recv().await {
            ids.sort_unstable();
            ends.execute(&end, &[&ids]).await?;
        }
        anyhow::Ok(())
    });
    loop {
        let rows = claims.query(&claim, &[&batch]).await?;
        if rows.is_empty() {
            break;
        }
        let payloads: Vec<serde_json::Value> = rows.iter().map(|row| row.get(1)).collect();
        std::hint::black_box(payloads);
        sender
            .send(rows.iter().map(|row| row.get(0)).collect())
            .await?;
    }
    drop(sender);
    ending.await??;
    Ok(started.elapsed())
}

/// Inserts so many jobs, one a statement, each committed and its id returned.
///
/// # Errors
/// What the server refuses.
pub async fn insert(client: &Client, jobs: i32) -> anyhow::Result<()> {
    let insert = client
        .prepare("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('noop', $1) RETURNING id")
        .await?;
    for number in 0..jobs {
        let payload = serde_json::json!({ "order_id": number, "note": "a small payload" });
        std::hint::black_box(client.query_one(&insert, &[&payload]).await?);
    }
    Ok(())
}
