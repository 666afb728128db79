//! Operators and producers: the public API on a sync connection, and what the model expects it to answer.

use diesel::PgConnection;
use pgqueue_core::admin::{self, Done, SkipReason};
use pgqueue_core::{Enqueued, NewJob};
use serde_json::json;

use super::super::protocol::World;
use super::super::protocol::event::Event;
use super::super::protocol::job::{Job, State};
use super::reference::RULES_HERE;
use super::rows;

/// What became of the one job that was asked for.
#[derive(Debug, PartialEq)]
enum Answer {
    Changed,
    Requested,
    Skipped(SkipReason),
}

/// Acts; the complaint tells what else was expected of the answer.
pub(super) fn act(
    conn: &mut PgConnection,
    world: &World,
    event: Event,
    id: i64,
) -> Result<(), String> {
    let (action, job) = match event {
        Event::Cancel(job) => (admin::cancel(id), job),
        Event::Requeue(job) => (admin::requeue(id), job),
        Event::RunNow(job) => (admin::run_now(id), job),
        Event::Purge(job) => (admin::purge(id), job),
        _ => return Err("no operator does this".to_owned()),
    };
    let done = action.run(conn).map_err(|error| format!("{error:?}"))?;
    let expected = expected(world, event, &world.jobs[job]);
    let answered = answer(&done);
    match answered == expected {
        true => Ok(()),
        false => Err(format!("it answers {answered:?}, not {expected:?}")),
    }
}

fn answer(done: &Done) -> Answer {
    match (done.changed, done.requested, done.skipped.first()) {
        (1, 0, None) => Answer::Changed,
        (0, 1, None) => Answer::Requested,
        (0, 0, Some(skipped)) => Answer::Skipped(skipped.reason),
        _ => panic!("one job has one answer: {done:?}"),
    }
}

fn expected(world: &World, event: Event, job: &Job) -> Answer {
    let has_ended = !job.state.is_active();
    match event {
        Event::Cancel(_) if job.locked_by.is_some() => Answer::Skipped(SkipReason::Busy),
        Event::Cancel(_) if job.state == State::Pending => Answer::Changed,
        Event::Cancel(_) if job.state == State::Running => Answer::Requested,
        Event::Requeue(_) if world.may_requeue(job, &RULES_HERE) => Answer::Changed,
        Event::Requeue(_) if has_ended => Answer::Skipped(SkipReason::Conflict),
        Event::RunNow(_) if job.state == State::Pending && job.due.is_none() => Answer::Changed,
        Event::Purge(_) if has_ended => Answer::Changed,
        _ => Answer::Skipped(SkipReason::State),
    }
}

pub(super) fn enqueue(
    conn: &mut PgConnection,
    key: Option<u8>,
    priority: u8,
    max_retries: i8,
) -> Result<Enqueued, String> {
    let job = NewJob::new("kind", json!({}))
        .priority(priority.into())
        .max_retries(max_retries.into());
    let job = match key {
        Some(key) => job.unique_key(rows::key(key)),
        None => job,
    };
    job.enqueue(conn).map_err(|error| format!("{error:?}"))
}
