//! What is wrong, in one sentence that leads to it.

use std::time::Duration;

use pgqueue_core::stats::{KindStats, QueueStats};

use crate::{link, show};

/// A queue whose oldest due job waits longer is late.
pub(crate) const LATE: Duration = Duration::from_secs(60);
/// And so late that somebody should look at once.
const VERY_LATE: Duration = Duration::from_secs(900);
/// Most queues that the sentence names.
const NAMED: usize = 3;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Good,
    Warn,
    Bad,
}

/// A piece of the sentence, with what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) text: String,
    /// A path below the base.
    pub(crate) link: Option<String>,
}

/// The sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) level: Level,
    pub(crate) parts: Vec<Part>,
}

/// Tells how it stands: with the queues as they are now, and with what ran in the last hour.
///
/// `causes` tells of how many causes jobs died in that hour, if it is known.
pub(crate) fn health(queues: &[QueueStats], hour: &[KindStats], causes: Option<usize>) -> Health {
    let mut health = Health {
        level: Level::Good,
        parts: Vec::new(),
    };
    health.tell_unserved(queues);
    health.tell_late(queues);
    health.tell_dead(hour, causes);
    health.tell_paused(queues);
    if health.parts.is_empty() {
        let nothing = queues.is_empty() && hour.is_empty();
        health.say(if nothing {
            "Nothing was ever enqueued here, and no worker is registered"
        } else {
            "Everything runs: nothing is late, and nothing died in the last hour"
        });
    }
    health.say(".");
    health
}

/// Is true for a queue that should have started its oldest job by now.
pub(crate) fn is_late(queue: &QueueStats) -> bool {
    queue.paused_at.is_none() && queue.oldest_due.is_some_and(|wait| wait > LATE)
}

/// Counts the jobs that died.
pub(crate) fn died(hour: &[KindStats]) -> i64 {
    hour.iter().map(|kind| kind.dead).sum()
}

/// Is true for a queue with due jobs and nobody to run them.
pub(crate) fn is_unserved(queue: &QueueStats) -> bool {
    queue.workers == 0 && queue.due.at_least > 0 && queue.paused_at.is_none()
}

/// Is true for a queue that is paused while jobs wait in it.
pub(crate) fn is_held(queue: &QueueStats) -> bool {
    queue.paused_at.is_some() && queue.due.at_least > 0
}

impl Health {
    /// Gives the sentence without its links.
    pub(crate) fn text(&self) -> String {
        self.parts.iter().map(|part| part.text.as_str()).collect()
    }

    /// Gives the class of the element: a colour; [`word`](Self::word) says the same.
    pub(crate) fn class(&self) -> &'static str {
        match self.level {
            Level::Good => "good",
            Level::Warn => "warn",
            Level::Bad => "bad",
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self.level {
            Level::Good => "Healthy",
            Level::Warn => "Look at this",
            Level::Bad => "Act now",
        }
    }

    pub(crate) fn icon(&self) -> &'static str {
        match self.level {
            Level::Good => "completed",
            Level::Warn => "warning",
            Level::Bad => "dead",
        }
    }

    fn tell_unserved(&mut self, queues: &[QueueStats]) {
        let unserved: Vec<&QueueStats> = queues.iter().filter(|queue| is_unserved(queue)).collect();
        if unserved.is_empty() {
            return;
        }
        self.begin(Level::Bad);
        self.say("no live worker serves ");
        self.name(&unserved);
    }

    fn tell_late(&mut self, queues: &[QueueStats]) {
        let late: Vec<&QueueStats> = queues
            .iter()
            .filter(|queue| is_late(queue) && queue.workers > 0)
            .collect();
        let Some(longest) = late.iter().filter_map(|queue| queue.oldest_due).max() else {
            return;
        };
        self.begin(if longest > VERY_LATE {
            Level::Bad
        } else {
            Level::Warn
        });
        let verb = if late.len() == 1 { "is" } else { "are" };
        let count = format!(
            "{} of {} {verb} late",
            late.len(),
            many(queues.len(), "queue")
        );
        self.link(count, "/queues".to_owned());
        self.say(", ");
        let slowest = late.iter().find(|queue| queue.oldest_due == Some(longest));
        if let Some(queue) = slowest {
            self.link(quoted(&queue.queue), link::queue(&queue.queue));
            self.say(&format!(" by {}", show::span(longest)));
        }
    }

    fn tell_dead(&mut self, hour: &[KindStats], causes: Option<usize>) {
        let dead = died(hour);
        if dead == 0 {
            return;
        }
        self.begin(Level::Warn);
        // Not so many jobs: one that is requeued may die again.
        let times = match dead {
            1 => "a job died once".to_owned(),
            dead => format!("jobs died {} times", show::count(dead)),
        };
        self.link(format!("{times} in the last hour"), "/dead".to_owned());
        let kinds: Vec<&KindStats> = hour.iter().filter(|kind| kind.dead > 0).collect();
        if let [only] = kinds[..] {
            self.say(", of kind ");
            self.link(quoted(&only.kind), link::kind(&only.kind));
        } else {
            self.say(&format!(", of {}", many(kinds.len(), "kind")));
        }
        if let Some(causes) = causes.filter(|causes| *causes > 0) {
            self.say(&format!(" and {}", many(causes, "cause")));
        }
    }

    fn tell_paused(&mut self, queues: &[QueueStats]) {
        let paused: Vec<&QueueStats> = queues.iter().filter(|queue| is_held(queue)).collect();
        if paused.is_empty() {
            return;
        }
        self.begin(Level::Warn);
        self.name(&paused);
        self.say(match paused.len() {
            1 => " is paused while jobs wait in it",
            _ => " are paused while jobs wait in them",
        });
    }

    /// Begins a clause.
    fn begin(&mut self, level: Level) {
        self.level = self.level.max(level);
        if !self.parts.is_empty() {
            self.say("; ");
        }
    }

    /// Names queues, a few of them.
    fn name(&mut self, queues: &[&QueueStats]) {
        self.say(if queues.len() == 1 {
            "queue "
        } else {
            "queues "
        });
        for (place, queue) in queues.iter().take(NAMED).enumerate() {
            if place > 0 {
                self.say(", ");
            }
            self.link(quoted(&queue.queue), link::queue(&queue.queue));
        }
        if queues.len() > NAMED {
            self.say(" and ");
            self.link(
                format!("{} more", queues.len() - NAMED),
                "/queues".to_owned(),
            );
        }
    }

    fn say(&mut self, text: &str) {
        self.push(text.to_owned(), None);
    }

    fn link(&mut self, text: String, path: String) {
        self.push(text, Some(path));
    }

    /// Adds a part; the first begins with a capital.
    fn push(&mut self, mut text: String, link: Option<String>) {
        if self.parts.is_empty()
            && let Some(first) = text.get(..1)
        {
            text = first.to_uppercase() + &text[1..];
        }
        self.parts.push(Part { text, link });
    }
}

fn quoted(name: &str) -> String {
    format!("“{name}”")
}

fn many(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
