//! Rules of what producers were promised.

use std::collections::HashMap;

use super::{Findings, Moment, Rule};
use crate::history::{Fate, History, Intent};

pub(super) fn check(history: &History, moment: Moment, findings: &mut Findings) {
    let inserted = inserted(history, findings);
    let began = began(history);
    for (intent, wish) in &history.intents {
        let job = inserted.get(intent).copied();
        match wish.fate {
            Fate::Committed { id, inserted: true } if job != Some(id) => {
                let what = format!("intent {intent} was answered job {id}; there is {job:?}");
                findings.add(Rule::CommittedRuns, what);
            }
            Fate::Committed {
                id,
                inserted: false,
            } if job.is_some() || !held_key(history, id, wish) => {
                let changes = history.jobs.get(&id);
                let what = format!(
                    "intent {intent} was answered that job {id} has its key: {wish:?}; its own job is {job:?}; that one's changes: {changes:?}"
                );
                findings.add(Rule::CommittedRuns, what);
            }
            Fate::RolledBack if job.is_some() || began.contains_key(intent) => {
                let what = format!("intent {intent} was rolled back; its job is {job:?}");
                findings.add(Rule::AtomicEnqueue, what);
            }
            _ => {}
        }
        if tells_of_another_transaction(wish, job) {
            let what = format!("intent {intent} has {job:?}, and beside it: {wish:?}");
            findings.add(Rule::AtomicEnqueue, what);
        }
    }
    if moment == Moment::Drained {
        check_begins_were_inserted(history, &inserted, findings);
    }
    check_keys(history, findings);
}

/// How much later than its change a transaction may commit: its process may be stopped, or its network deaf.
const COMMIT_LAG: i64 = 10_000_000;

/// Is true when the job held the key while the producer asked for it.
fn held_key(history: &History, id: i64, wish: &Intent) -> bool {
    let changes = history.jobs.get(&id).map_or(&[][..], Vec::as_slice);
    let has_key = changes
        .first()
        .is_some_and(|insert| insert.key.is_some() && insert.key == wish.key);
    let (from, to) = wish.wanted;
    has_key
        && changes.iter().enumerate().any(|(index, change)| {
            let until = changes
                .get(index + 1)
                .map_or(i64::MAX, |next| next.at.saturating_add(COMMIT_LAG));
            let holds = matches!(change.after.as_deref(), Some("pending" | "running"));
            holds && change.at <= to && until >= from
        })
}

/// Is true when the producer's own row and its job do not tell of the same transaction. Of a unique key that was taken there is
/// no job of its own.
fn tells_of_another_transaction(wish: &Intent, job: Option<i64>) -> bool {
    if !wish.with_order {
        return wish.has_order;
    }
    match wish.fate {
        Fate::Committed { .. } => !wish.has_order,
        Fate::RolledBack => wish.has_order,
        Fate::Unknown => wish.has_order != job.is_some() && !(wish.key.is_some() && wish.has_order),
    }
}

/// Gives each intent's job.
fn inserted(history: &History, findings: &mut Findings) -> HashMap<i64, i64> {
    let mut inserted = HashMap::new();
    for (id, changes) in &history.jobs {
        let Some(intent) = changes.first().and_then(|insert| insert.intent) else {
            findings.add(
                Rule::AtomicEnqueue,
                format!("job {id} was never inserted: {changes:?}"),
            );
            continue;
        };
        if let Some(other) = inserted.insert(intent, *id) {
            let what = format!("intent {intent} has the jobs {other} and {id}");
            findings.add(Rule::AtomicEnqueue, what);
        }
    }
    inserted
}

/// Gives the intents that a handler began.
fn began(history: &History) -> HashMap<i64, i64> {
    let all = history.began.iter();
    all.flat_map(|((job, _), began)| began.iter().map(|began| (began.intent, *job)))
        .collect()
}

fn check_begins_were_inserted(
    history: &History,
    inserted: &HashMap<i64, i64>,
    findings: &mut Findings,
) {
    for (intent, job) in began(history) {
        if inserted.get(&intent) != Some(&job) {
            let what = format!("a handler ran job {job} of intent {intent}, which has no job");
            findings.add(Rule::AtomicEnqueue, what);
        }
    }
}

/// Goes through all changes of jobs with unique keys in their order and counts who holds each key.
fn check_keys(history: &History, findings: &mut Findings) {
    let mut changes: Vec<_> = history
        .jobs
        .iter()
        .flat_map(|(job, changes)| changes.iter().map(move |change| (*job, change)))
        .filter(|(_, change)| change.key.is_some())
        .collect();
    changes.sort_unstable_by_key(|(_, change)| change.number);
    let mut holders: HashMap<(&str, &str), i64> = HashMap::new();
    for (job, change) in changes {
        let key = (
            change.queue.as_str(),
            change.key.as_deref().unwrap_or_default(),
        );
        let holds = matches!(change.after.as_deref(), Some("pending" | "running"));
        match holders.get(&key) {
            Some(other) if *other != job && holds => {
                let what = format!("jobs {other} and {job} both hold {key:?}");
                findings.add(Rule::UniqueKey, what);
            }
            Some(other) if *other == job && !holds => {
                holders.remove(&key);
            }
            None if holds => {
                holders.insert(key, job);
            }
            _ => {}
        }
    }
}
