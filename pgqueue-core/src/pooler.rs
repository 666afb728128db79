//! Finds a pooler that gives each transaction whichever session is free, as PgBouncer does with `pool_mode = transaction`.
//!
//! Called once, by a worker that starts, before it changes any session: behind such a pooler its settings would become those
//! of strangers, and LISTEN hear nothing. Such a session is told by a mark that one connection leaves in it: the mark is gone
//! the next time, or another connection finds it. A session of one's own does neither, so nobody is refused wrongly.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use crate::error::Error;
use crate::source::{Connections, answered};

/// How often both connections look. Where all is quiet the first look tells. Where sessions are given out at random, two
/// looks of one connection at the same session and one of the other at another let it pass one time in eight at worst.
const LOOKS: u32 = 5;

/// Refuses connections that do not keep their session.
pub(crate) async fn refuse_shared_sessions(connections: &Connections) -> Result<(), Error> {
    let mut ours = connections.bare().await?;
    let mut other = connections.bare().await?;
    let mark = format!("pgqueue {:016x}", fastrand::u64(..));
    let set = format!("SELECT set_config('pgqueue.session', '{mark}', false)");
    answered(ours.batch_execute(&set)).await?;
    for _ in 0..LOOKS {
        let lost = alarm(&mut ours, "IS DISTINCT FROM", &mark).await?;
        if lost || alarm(&mut other, "IS NOT DISTINCT FROM", &mark).await? {
            return Err(connections.server().shares_sessions());
        }
    }
    Ok(())
}

/// Tells whether the mark of the session compares so. It is asked in one message of text, since a prepared statement may be
/// lost on its way; that brings no rows to Diesel, so the answer is the error of reading the mark as a number.
async fn alarm(conn: &mut AsyncPgConnection, compares: &str, mark: &str) -> Result<bool, Error> {
    let look = format!(
        "SELECT CASE WHEN current_setting('pgqueue.session', true) {compares} '{mark}' THEN (pg_backend_pid() || ' {mark}')::integer END"
    );
    match answered(conn.batch_execute(&look)).await {
        Err(error) if error.to_string().contains(mark) => Ok(true),
        answer => answer.map(|()| false),
    }
}
