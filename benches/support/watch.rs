//! A worker with little to do is watched: its transactions and processor time a second.

use std::time::Duration;

use local_postgres::Database;

use super::{processor, work};

/// How long a worker is watched.
pub const WATCHED: Duration = Duration::from_secs(20);
/// The server tells of a transaction ten seconds late at most, and a worker looks ever more rarely in its first ten.
const SETTLED: Duration = Duration::from_secs(21);

/// What was seen of a worker.
#[derive(Debug)]
pub struct Seen {
    /// Transactions a second.
    pub transactions: f64,
    /// Processor time of this process in per cent of one core.
    pub client: Option<f64>,
    /// That of the server.
    pub server: Option<f64>,
}

/// Lets the only worker of a database settle, and watches it. Looks from another database, so that it does not see itself.
///
/// # Errors
/// What the server refuses.
pub async fn watch(database: &Database, elsewhere: &Database) -> anyhow::Result<Seen> {
    tokio::time::sleep(SETTLED).await;
    let before = Look::at(elsewhere, database)?;
    tokio::time::sleep(WATCHED).await;
    let after = Look::at(elsewhere, database)?;
    let transactions = i32::try_from(after.transactions - before.transactions)?;
    Ok(Seen {
        transactions: f64::from(transactions) / WATCHED.as_secs_f64(),
        client: per_cent(before.client, after.client),
        server: per_cent(before.server, after.server),
    })
}

/// What the meters show at one moment.
struct Look {
    transactions: i64,
    client: Option<Duration>,
    server: Option<Duration>,
}

impl Look {
    fn at(elsewhere: &Database, database: &Database) -> anyhow::Result<Self> {
        Ok(Self {
            transactions: work::transactions(elsewhere.url(), database.name())?,
            client: processor::of_this_process(),
            server: processor::of_server(elsewhere.url()),
        })
    }
}

fn per_cent(before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
    let spent = after?.checked_sub(before?)?;
    Some(100.0 * spent.as_secs_f64() / WATCHED.as_secs_f64())
}
