//! How inserts announce themselves: as a worker that sleeps, or is busy, has them do it, always, or never.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use tokio_postgres::Client;

use super::bare;

/// A trigger that always notifies, one notification a transaction and queue.
const ALWAYS: &str = "\
    DROP TRIGGER pgqueue_jobs_wake_on_insert ON pgqueue_jobs;
    CREATE FUNCTION always_notify() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('always', NEW.queue); RETURN NULL; END $$;
    CREATE TRIGGER always_notify AFTER INSERT ON pgqueue_jobs FOR EACH ROW EXECUTE FUNCTION always_notify();";
/// What an idle worker of the queue `default` has set.
const MARKED: &str =
    "INSERT INTO pgqueue_wake (queue, wanted, horizon) VALUES ('default', true, '5 s')";

/// How inserts announce themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// As our trigger finds the mark, which workers set and clear.
    AsMarked,
    /// By our trigger, with the mark set.
    Marked,
    /// By a bare trigger that looks at nothing.
    Always,
    /// Not at all: the trigger is dropped.
    Never,
}

/// Makes inserts of a database announce themselves so. Keep the session that is given: it listens, as a worker's does.
///
/// # Errors
/// What the server refuses.
pub async fn announce(url: &str, how: Announce) -> anyhow::Result<Client> {
    let (statement, channel) = match how {
        Announce::AsMarked => ("SELECT 1", "pgqueue.public"),
        Announce::Marked => (MARKED, "pgqueue.public"),
        Announce::Always => (ALWAYS, "always"),
        Announce::Never => (
            "DROP TRIGGER pgqueue_jobs_wake_on_insert ON pgqueue_jobs",
            "pgqueue.public",
        ),
    };
    PgConnection::establish(url)?.batch_execute(statement)?;
    let listener = bare::connect(url).await?;
    listener
        .batch_execute(&format!(r#"LISTEN "{channel}""#))
        .await?;
    Ok(listener)
}

/// Tells whether the mark of the queue `default` is set.
///
/// # Errors
/// What the server refuses.
pub fn is_marked(conn: &mut PgConnection) -> anyhow::Result<bool> {
    let wanted = "EXISTS (SELECT FROM pgqueue_wake WHERE queue = 'default' AND wanted)";
    Ok(diesel::select(diesel::dsl::sql::<Bool>(wanted)).get_result(conn)?)
}
