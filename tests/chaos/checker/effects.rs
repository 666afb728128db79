//! Rules of what handlers write in the transaction that completes their job.

use super::{Findings, Rule};
use crate::history::{Change, History};

/// An effect is there exactly for each completion of a job that writes one, and carries the token of the run.
pub(super) fn check(history: &History, job: i64, changes: &[Change], findings: &mut Findings) {
    let act = changes.first().and_then(|insert| insert.act.as_deref());
    let completed = changes
        .iter()
        .filter(|change| change.is("running", "completed"));
    let mut tokens: Vec<_> = match act {
        Some(act) if act.contains("Effect") => completed.map(|change| change.token.0).collect(),
        _ => Vec::new(),
    };
    let mut effects = history.effects.get(&job).cloned().unwrap_or_default();
    tokens.sort_unstable();
    effects.sort_unstable();
    if effects != tokens {
        let what =
            format!("job {job} completed with tokens {tokens:?} and has effects of {effects:?}");
        findings.add(Rule::EffectOnce, what);
    }
}
