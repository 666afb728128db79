//! Texts to and from a session: what is asked, what comes back, and whether it is what the model says.

use std::fmt::Debug;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::super::protocol::World;
use super::super::protocol::job::{Delay, Ending, Job};
use super::super::protocol::process::Run;

/// The rows, each as one line.
pub(super) async fn query(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let answer = client.simple_query(sql).await;
    let messages = answer.map_err(|error| format!("{sql}: {error:?}"))?;
    let line = |message| match message {
        SimpleQueryMessage::Row(row) => {
            let columns = (0..row.len()).map(|column| row.get(column).unwrap_or("-"));
            Some(columns.collect::<Vec<_>>().join(" "))
        }
        _ => None,
    };
    Ok(messages.into_iter().filter_map(line).collect())
}

pub(super) fn agree<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "{what}: the database says {found:?}, the model {expected:?}"
        )),
    }
}

pub(super) fn array<T: ToString>(of: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = of.into_iter().map(|item| item.to_string()).collect();
    format!("{{{}}}", items.join(","))
}

/// Puts the numbers of an answer's array in order, where the statement leaves that to the planner.
pub(super) fn in_order(answer: &str) -> String {
    let split = answer.split_once('{');
    let split = split.and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (items, after))) = split else {
        return answer.to_owned();
    };
    let mut items: Vec<&str> = items.split(',').collect();
    items.sort_unstable_by_key(|item| (item.len(), *item));
    format!("{before}{}{after}", array(items))
}

/// How many jobs nobody has any more.
pub(super) fn disowned(before: &World, after: &World) -> usize {
    let jobs = before.jobs.iter().zip(&after.jobs);
    jobs.filter(|(was, job)| was.claimed_by.is_some() && job.claimed_by.is_none())
        .count()
}

/// `finish.sql` with what `next_move.rs` decides.
pub(super) fn finish(id: i64, run: &Run, job: &Job, ending: Ending) -> String {
    let next = ending.next_move(run.attempt, job.max_retries);
    let delay = match next.delay {
        Delay::Keep => "NULL",
        Delay::None => "0 s",
        Delay::Hour => "1 h",
    };
    let error = next.error.map_or("NULL".to_owned(), |kind| {
        let (attempt, kind) = (run.attempt, kind.name());
        format!(r#"'{{"attempt": {attempt}, "kind": "{kind}", "message": "it failed"}}'"#)
    });
    format!(
        "EXECUTE finish ('{{{id}}}', '{{{}}}', '{{{}}}', '{{{delay}}}', '{{{}}}', ARRAY[{error}]::jsonb[], '{{NULL}}')",
        run.token,
        next.state.name(),
        next.refund
    )
}
