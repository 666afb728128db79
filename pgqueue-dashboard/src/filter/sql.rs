//! A filter as SQL, for somebody who goes on in `psql`: it finds the jobs that the list finds, in the order of the list.

use chrono::{DateTime, SecondsFormat, Utc};
use pgqueue_core::JobState;

use super::{Term, Terms, When, seconds};

impl Terms {
    /// Writes a statement that finds these jobs. Lengths of time stay relative: they count back from when it runs.
    pub(crate) fn sql(&self, now: DateTime<Utc>) -> String {
        let mut conditions: Vec<String> = self.0.iter().map(|term| term.sql(now)).collect();
        let names_worker = self.0.iter().any(|term| matches!(term, Term::Worker(_)));
        let mut state = self.state().filter(|_| !self.names_ids());
        if self.state().is_none() && names_worker && !self.names_ids() {
            // Only running jobs have a worker, and the list looks at no other.
            state = Some(JobState::Running);
            conditions.insert(0, "state = 'running'".to_owned());
        }
        let conditions = match conditions[..] {
            [] => String::new(),
            _ => format!("\nWHERE {}", conditions.join("\n    AND ")),
        };
        format!(
            "SELECT *\nFROM pgqueue_jobs{conditions}\nORDER BY {};",
            order(state)
        )
    }
}

fn order(state: Option<JobState>) -> &'static str {
    match state {
        None => "id DESC",
        Some(JobState::Pending) => "queue, priority, run_at, id",
        Some(JobState::Running) => "coalesce(started_at, run_at), id",
        Some(JobState::Completed | JobState::Cancelled | JobState::Dead) => {
            "finished_at DESC, id DESC"
        }
    }
}

impl Term {
    fn sql(&self, now: DateTime<Utc>) -> String {
        match self {
            Self::State(state) => format!("state = '{state}'"),
            Self::Queue(queue) => format!("queue = {}", literal(queue)),
            Self::Kind(kind) => format!("kind = {}", literal(kind)),
            Self::Ids(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                format!("id IN ({})", ids.join(", "))
            }
            Self::Key(key) => format!("unique_key = {}", literal(key)),
            Self::Tag(tag) => {
                let tags = serde_json::json!({ "tags": [tag] });
                format!("metadata @> {}", literal(&tags.to_string()))
            }
            Self::Worker(worker) => format!("claimed_by = {worker}"),
            Self::Cause(cause) => format!("cause = {cause}"),
            Self::Error(text) => {
                format!("strpos(lower(errors::text), lower({})) > 0", literal(text))
            }
            Self::Args(path, value) => {
                let path: Vec<String> = path.iter().map(|part| literal(part)).collect();
                let path = path.join(", ");
                format!("payload #>> ARRAY[{path}] = {}", literal(value))
            }
            Self::Created(side, when) => {
                let sign = sign(when.is_lower_bound(*side));
                format!("created_at {sign} {}", when.sql(now))
            }
            Self::Finished(side, when) => {
                let sign = sign(when.is_lower_bound(*side));
                format!("finished_at {sign} {}", when.sql(now))
            }
            Self::Attempts(attempts) => format!("attempt >= {attempts}"),
        }
    }
}

fn sign(is_lower_bound: bool) -> char {
    if is_lower_bound { '>' } else { '<' }
}

impl When {
    fn sql(self, now: DateTime<Utc>) -> String {
        match (self, self.before(now)) {
            // Not as days: one of them may have 23 hours in the session's time zone.
            (Self::Ago(count, unit), before) if before > DateTime::UNIX_EPOCH => {
                let length = i64::from(count) * seconds(unit);
                match length % 3600 {
                    0 => format!("now() - interval '{} hours'", length / 3600),
                    _ => format!("now() - interval '{length} seconds'"),
                }
            }
            (_, time) => {
                let time = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                format!("timestamptz '{time}'")
            }
        }
    }
}

/// Quotes a text, whatever `standard_conforming_strings` is in the session that it goes to.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}
