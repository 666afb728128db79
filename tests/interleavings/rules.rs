//! The rules that no order of no scenario may break.

use std::collections::BTreeSet;

use super::outcome::{Job, Move, Outcome};
use super::script::Run;

/// Tells which rule was broken.
pub(crate) fn check(outcome: &Outcome) -> Result<(), String> {
    for step in &outcome.moves {
        check_move(outcome, step)?;
    }
    claims_are_as_told(outcome)?;
    ends_are_as_told(outcome)?;
    keys_are_unique(outcome)?;
    cancels_are_kept(outcome)
}

fn must(holds: bool, rule: &str, step: &Move) -> Result<(), String> {
    if holds {
        return Ok(());
    }
    Err(format!("{rule}, but: {step:?}"))
}

fn check_move(outcome: &Outcome, step: &Move) -> Result<(), String> {
    match (&step.was, &step.became) {
        (Some(was), Some(became)) => check_update(step, was, became),
        (Some(was), None) => {
            let by_its_end = outcome.accepts(was.run());
            let rule = "only jobs that have ended are deleted, or are by the end of their run";
            must(
                !was.is_active() || was.is("running") && by_its_end,
                rule,
                step,
            )
        }
        (None, Some(job)) => must(job.is("pending"), "jobs begin pending", step),
        (None, None) => Ok(()),
    }
}

fn check_update(step: &Move, was: &Job, became: &Job) -> Result<(), String> {
    let rule = "a reaper takes no job of a registered worker";
    must(!step.owner_lives, rule, step)?;
    let counts = (
        became.fencing_token - was.fencing_token,
        became.attempt - was.attempt,
        became.lost - was.lost,
    );
    match (was.state.as_str(), became.state.as_str()) {
        ("pending", "running") => must(
            counts == (1, 1, 0),
            "a claim counts one token and attempt",
            step,
        ),
        ("running", "running") => {
            let rule = "a run keeps its token, attempt and worker";
            let same_worker = was.claimed_by == became.claimed_by;
            must(counts == (0, 0, 0) && same_worker, rule, step)
        }
        ("running", _) => {
            let is_release = counts == (0, -1, 0);
            let rule = "the end of a run keeps the token, and the attempt unless it is given back";
            must(is_release || matches!(counts, (0, 0, 0 | 1)), rule, step)
        }
        ("completed" | "cancelled" | "dead", "pending") => {
            let rule = "a requeue keeps the token, and begins to count anew";
            must(
                counts.0 == 0 && (became.attempt, became.lost) == (0, 0),
                rule,
                step,
            )
        }
        (before, after) => {
            let known = before == after || (before, after) == ("pending", "cancelled");
            must(known && counts == (0, 0, 0), "there is no such move", step)
        }
    }
}

/// Every claim was told to the session that made it, and to no other.
fn claims_are_as_told(outcome: &Outcome) -> Result<(), String> {
    let told = sorted(outcome.claimed());
    let begun = sorted(by_session(outcome, Move::begins));
    if told != begun {
        return Err(format!(
            "{told:?} were told to be claimed, and {begun:?} were"
        ));
    }
    if told.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(format!("one run was claimed twice: {told:?}"));
    }
    Ok(())
}

/// Whose end was accepted, has ended his own run, and no run ended twice; so a stale token changes nothing.
fn ends_are_as_told(outcome: &Outcome) -> Result<(), String> {
    let ended = sorted(by_session(outcome, Move::ends));
    if ended.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(format!("one run ended twice: {ended:?}"));
    }
    for end in outcome.accepted() {
        if !ended.contains(&end) {
            return Err(format!(
                "the end of run {end:?} was accepted, but these ended: {ended:?}"
            ));
        }
    }
    Ok(())
}

fn by_session(outcome: &Outcome, run: fn(&Move) -> Option<Run>) -> Vec<(Run, i64)> {
    let runs = outcome
        .moves
        .iter()
        .filter_map(|step| Some((run(step)?, step.session)));
    runs.collect()
}

fn sorted(mut runs: Vec<(Run, i64)>) -> Vec<(Run, i64)> {
    runs.sort_unstable();
    runs
}

fn keys_are_unique(outcome: &Outcome) -> Result<(), String> {
    let active = outcome.jobs.iter().filter(|job| job.is_active());
    let mut keys = BTreeSet::new();
    for job in active {
        let Some(key) = &job.unique_key else { continue };
        if !keys.insert((&job.queue, key)) {
            return Err(format!(
                "two active jobs have the key {key:?}: {:?}",
                outcome.jobs
            ));
        }
    }
    let made = outcome.moves.iter().filter(|step| step.was.is_none());
    let made: Vec<i64> = made
        .filter_map(|step| Some(step.became.as_ref()?.id))
        .collect();
    for (id, inserted) in outcome.enqueued() {
        if inserted && !made.contains(&id) {
            return Err(format!(
                "job {id} was answered as inserted, and these were: {made:?}"
            ));
        }
        if !inserted && !made.contains(&id) && outcome.job(id).is_none() {
            return Err(format!(
                "job {id} was answered to have the key, and there is none"
            ));
        }
    }
    Ok(())
}

/// Nothing brings a cancelled job back, except where a scenario requeues it.
fn cancels_are_kept(outcome: &Outcome) -> Result<(), String> {
    let state = outcome.state(1);
    let requested = outcome
        .job(1)
        .is_some_and(|job| job.cancel_requested_at.is_some());
    let holds = match outcome.action("cancel") {
        Some("cancel") => state == "cancelled",
        Some("requested") => {
            state == "running" && requested || matches!(state, "cancelled" | "completed")
        }
        _ => true,
    };
    if holds {
        return Ok(());
    }
    Err(format!("job 1 was to be cancelled, and is {state}"))
}
