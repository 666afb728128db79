//! A filter as the calls of `pgqueue_core::admin` that make it, for somebody who writes a program.

use chrono::{DateTime, SecondsFormat, Utc};
use pgqueue_core::JobState;

use super::{Term, Terms, When};

impl Terms {
    /// Writes code that runs a function of `admin`, such as `requeue`, on these jobs. Lengths of time stay relative.
    pub(crate) fn rust(&self, function: &str, actor: &str, now: DateTime<Utc>) -> String {
        let calls: String = self
            .0
            .iter()
            .map(|term| format!("\n    .{}", term.rust(now)))
            .collect();
        let chrono = if calls.contains("Utc::now()") {
            "use chrono::{TimeDelta, Utc};\n"
        } else {
            ""
        };
        let state = self.state().map_or("", |_| "use pgqueue_core::JobState;\n");
        format!(
            "{chrono}{state}use pgqueue_core::admin::{{self, Filter}};\n\n\
             let filter = Filter::new(){calls};\n\
             let done = admin::{function}(filter)\n    .by({actor:?})\n    .run_async(&mut conn)\n    .await?;"
        )
    }
}

impl Term {
    fn rust(&self, now: DateTime<Utc>) -> String {
        match self {
            Self::State(state) => format!("state(JobState::{})", variant(*state)),
            Self::Queue(queue) => format!("queue({queue:?})"),
            Self::Kind(kind) => format!("kind({kind:?})"),
            Self::Ids(ids) => format!("ids({ids:?})"),
            Self::Key(key) => format!("unique_key({key:?})"),
            Self::Tag(tag) => format!("tag({tag:?})"),
            Self::Worker(worker) => format!("worker({worker})"),
            Self::Cause(cause) => format!("cause({cause})"),
            Self::Error(text) => format!("error_contains({text:?})"),
            Self::Args(path, value) => format!("payload({path:?}, {value:?})"),
            Self::Created(side, when) => {
                let side = side_of(when.is_lower_bound(*side));
                format!("created_{side}({})", when.rust(now))
            }
            Self::Finished(side, when) => {
                let side = side_of(when.is_lower_bound(*side));
                format!("finished_{side}({})", when.rust(now))
            }
            Self::Attempts(attempts) => format!("attempts_at_least({attempts})"),
        }
    }
}

fn side_of(is_lower_bound: bool) -> &'static str {
    if is_lower_bound { "after" } else { "before" }
}

fn variant(state: JobState) -> &'static str {
    match state {
        JobState::Pending => "Pending",
        JobState::Running => "Running",
        JobState::Completed => "Completed",
        JobState::Cancelled => "Cancelled",
        JobState::Dead => "Dead",
    }
}

impl When {
    fn rust(self, now: DateTime<Utc>) -> String {
        match (self, self.before(now)) {
            (Self::Ago(count, unit), before) if before > DateTime::UNIX_EPOCH => {
                let unit = match unit {
                    's' => "seconds",
                    'm' => "minutes",
                    'h' => "hours",
                    'd' => "days",
                    _ => "weeks",
                };
                format!("Utc::now() - TimeDelta::{unit}({count})")
            }
            (_, time) => {
                let time = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                format!("\"{time}\".parse()?")
            }
        }
    }
}
