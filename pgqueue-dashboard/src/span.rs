//! The spans of time that charts show.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// One of the spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    /// As it stands in addresses.
    pub(crate) name: &'static str,
    /// As it is written.
    pub(crate) label: &'static str,
    length: u64,
    step: u64,
    fresh: u64,
}

/// All of them, the shortest first.
pub(crate) const SPANS: [Span; 6] = [
    Span {
        name: "15m",
        label: "15 min",
        length: 15 * MINUTE,
        step: MINUTE,
        fresh: 3,
    },
    Span {
        name: "1h",
        label: "1 h",
        length: HOUR,
        step: MINUTE,
        fresh: 4,
    },
    Span {
        name: "6h",
        label: "6 h",
        length: 6 * HOUR,
        step: 5 * MINUTE,
        fresh: 10,
    },
    Span {
        name: "24h",
        label: "24 h",
        length: DAY,
        step: 15 * MINUTE,
        fresh: 30,
    },
    Span {
        name: "7d",
        label: "7 d",
        length: 7 * DAY,
        step: HOUR,
        fresh: 120,
    },
    Span {
        name: "30d",
        label: "30 d",
        length: 30 * DAY,
        step: 4 * HOUR,
        fresh: 300,
    },
];

impl Span {
    /// Reads one; an hour for what is none.
    pub(crate) fn parse(name: Option<&str>) -> Self {
        let found = SPANS.iter().find(|span| Some(span.name) == name);
        *found.unwrap_or(&SPANS[1])
    }

    pub(crate) fn length(self) -> Duration {
        Duration::from_secs(self.length)
    }

    pub(crate) fn step(self) -> Duration {
        Duration::from_secs(self.step)
    }

    /// How long an answer over this span is good for: a fraction of a step.
    pub(crate) fn fresh(self) -> Duration {
        Duration::from_secs(self.fresh)
    }
}
