//! Why a job stands as it does, in sentences; the page of the job adds links.

use chrono::{DateTime, Utc};
use pgqueue_core::admin::{Reason, Record};

use crate::show;

/// Says a reason in a sentence.
pub(crate) fn sentence(job: &Record, reason: &Reason, now: DateTime<Utc>) -> String {
    let ago = |at: &DateTime<Utc>| show::relative(*at, now);
    match reason {
        Reason::Due { ahead } if ahead.at_least == 0 => {
            "It is due and the next of its queue: the next free slot takes it.".to_owned()
        }
        Reason::Due { ahead } => {
            format!("It is due; {ahead} jobs of its queue are ahead of it.")
        }
        Reason::Suspect { ahead } => {
            let line = if ahead.at_least == 0 {
                "it is the next of its queue".to_owned()
            } else {
                format!("{ahead} of its queue are ahead of it")
            };
            format!(
                "It is due, and was lost with a process: each worker runs one such job at a time, and {line}."
            )
        }
        Reason::Scheduled { run_at } => format!("It is scheduled: due {}.", ago(run_at)),
        Reason::Retrying { run_at, attempt } => {
            format!(
                "It waits after attempt {attempt}: due again {}.",
                ago(run_at)
            )
        }
        Reason::QueuePaused { since } => format!(
            "Its queue {} is paused, since {}: resume it.",
            job.queue,
            ago(since)
        ),
        Reason::NoWorker => {
            format!("No live worker serves the queue {}: start one.", job.queue)
        }
        Reason::UnknownKind { workers } => format!(
            "{workers} live {} its queue, and none handles the kind {}: deploy a worker that does.",
            if *workers == 1 {
                "worker serves"
            } else {
                "workers serve"
            },
            job.kind
        ),
        Reason::Running {
            worker,
            name,
            since,
        } => format!(
            "It runs on worker {}{}.",
            name.clone()
                .unwrap_or_else(|| format!("{worker}, which is not registered any more")),
            since
                .as_ref()
                .map(|since| format!(", started {}", ago(since)))
                .unwrap_or_default()
        ),
        Reason::Cancelling { requested_at } => {
            format!(
                "Somebody asked to stop it {}: it is cancelled when its handler has stopped.",
                ago(requested_at)
            )
        }
        Reason::Completed => "It is done.".to_owned(),
        Reason::Cancelled => "It was cancelled: requeue it to run it after all.".to_owned(),
        Reason::Dead { attempt, error } => format!(
            "It was given up after {attempt} {}{}",
            if *attempt == 1 { "attempt" } else { "attempts" },
            error
                .as_ref()
                .map_or_else(|| ".".to_owned(), |error| format!(": {error}"))
        ),
        Reason::KeyTaken { by } => {
            format!("It cannot be requeued: job {by} has its unique key and is pending or running.")
        }
        _ => String::new(),
    }
}
