//! The language of filters: `state:dead queue:mail error:"connection refused" args.order_id=42 finished<1h`.
//!
//! A filter is a list of terms, all of which must hold. Text becomes terms and terms become the same text again, so that
//! an address, a chip and a stored bulk operation mean the same jobs. A mistake names the term and what to write instead.

mod rust;
mod scan;
mod sql;

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use pgqueue_core::JobState;
use pgqueue_core::admin::Filter;

use scan::Scanner;

/// Longest filter in bytes: it travels in addresses.
const TEXT_LIMIT: usize = 4096;
/// Most terms.
const TERM_LIMIT: usize = 24;

/// A filter, parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms(Vec<Term>);

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    State(JobState),
    Queue(String),
    Kind(String),
    Ids(Vec<i64>),
    Key(String),
    Tag(String),
    Worker(i64),
    Cause(i64),
    Error(String),
    Args(Vec<String>, String),
    Created(Side, When),
    Finished(Side, When),
    Attempts(i32),
}

/// Which side of a time: as written, `>` is later than a date, and longer ago than a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Less,
    More,
}

/// A time, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    At(DateTime<Utc>),
    Ago(u32, char),
}

/// Why a text is no filter, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake(pub(crate) String);

fn mistake<T>(text: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake(text.into()))
}

impl From<Term> for Terms {
    fn from(term: Term) -> Self {
        Self(vec![term])
    }
}

impl Terms {
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        if text.len() > TEXT_LIMIT {
            return mistake(format!(
                "the filter has {} bytes: write at most {TEXT_LIMIT}",
                text.len()
            ));
        }
        let mut terms = Self::default();
        let mut scanner = Scanner::new(text);
        while let Some(term) = scanner.term()? {
            if terms.0.len() == TERM_LIMIT {
                return mistake(format!(
                    "the filter has more than {TERM_LIMIT} terms: remove some"
                ));
            }
            terms.add(term)?;
        }
        Ok(terms)
    }

    fn add(&mut self, term: Term) -> Result<(), Mistake> {
        if self.0.iter().any(|other| other.excludes(&term)) {
            return mistake(format!(
                "{:?} is there twice: keep one of them",
                term.name()
            ));
        }
        self.0.push(term);
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Term> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether it names jobs by their ids.
    pub(crate) fn names_ids(&self) -> bool {
        self.0.iter().any(|term| matches!(term, Term::Ids(_)))
    }

    pub(crate) fn state(&self) -> Option<JobState> {
        self.0.iter().find_map(|term| match term {
            Term::State(state) => Some(*state),
            _ => None,
        })
    }

    /// Gives the filter without one of its terms.
    pub(crate) fn without(&self, position: usize) -> Self {
        let mut terms = self.0.clone();
        if position < terms.len() {
            terms.remove(position);
        }
        Self(terms)
    }

    /// Gives the filter for another state, or for any.
    pub(crate) fn in_state(&self, state: Option<JobState>) -> Self {
        let rest = self.0.iter().filter(|term| !matches!(term, Term::State(_)));
        Self(
            state
                .map(Term::State)
                .into_iter()
                .chain(rest.cloned())
                .collect(),
        )
    }

    /// Tells whether it asks for something inside of payloads.
    pub(crate) fn reads_payloads(&self) -> bool {
        self.0.iter().any(|term| matches!(term, Term::Args(..)))
    }

    /// Gives what the database is asked, as of now.
    pub(crate) fn filter(&self, now: DateTime<Utc>) -> Filter {
        self.0
            .iter()
            .fold(Filter::new(), |filter, term| term.narrow(filter, now))
    }
}

impl Term {
    fn name(&self) -> &'static str {
        match self {
            Self::State(_) => "state",
            Self::Queue(_) => "queue",
            Self::Kind(_) => "kind",
            Self::Ids(_) => "id",
            Self::Key(_) => "key",
            Self::Tag(_) => "tag",
            Self::Worker(_) => "worker",
            Self::Cause(_) => "cause",
            Self::Error(_) => "error",
            Self::Args(..) => "args",
            Self::Created(..) => "created",
            Self::Finished(..) => "finished",
            Self::Attempts(_) => "attempts",
        }
    }

    /// Is true when a filter cannot have both: it knows one of each name, and of times one for each end.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Args(..), Self::Args(..)) => self == other,
            (Self::Created(a, when), Self::Created(b, other_when))
            | (Self::Finished(a, when), Self::Finished(b, other_when)) => {
                when.is_lower_bound(*a) == other_when.is_lower_bound(*b)
            }
            _ => self.name() == other.name(),
        }
    }

    fn narrow(&self, filter: Filter, now: DateTime<Utc>) -> Filter {
        match self {
            Self::State(state) => filter.state(*state),
            Self::Queue(queue) => filter.queue(queue),
            Self::Kind(kind) => filter.kind(kind),
            Self::Ids(ids) => filter.ids(ids.iter().copied()),
            Self::Key(key) => filter.unique_key(key),
            Self::Tag(tag) => filter.tag(tag),
            Self::Worker(worker) => filter.worker(*worker),
            Self::Cause(cause) => filter.cause(*cause),
            Self::Error(text) => filter.error_contains(text),
            Self::Args(path, value) => filter.payload(path.iter().cloned(), value),
            Self::Attempts(attempts) => filter.attempts_at_least(*attempts),
            Self::Created(side, when) if when.is_lower_bound(*side) => {
                filter.created_after(when.before(now))
            }
            Self::Created(_, when) => filter.created_before(when.before(now)),
            Self::Finished(side, when) if when.is_lower_bound(*side) => {
                filter.finished_after(when.before(now))
            }
            Self::Finished(_, when) => filter.finished_before(when.before(now)),
        }
    }
}

impl When {
    /// `created>2026-11-01` and `created<1h` both mean later than something.
    fn is_lower_bound(self, side: Side) -> bool {
        matches!(
            (self, side),
            (Self::At(_), Side::More) | (Self::Ago(..), Side::Less)
        )
    }

    fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(time) => time,
            Self::Ago(count, unit) => {
                let length = TimeDelta::seconds(i64::from(count) * seconds(unit));
                now.checked_sub_signed(length)
                    .unwrap_or(DateTime::UNIX_EPOCH)
                    .max(DateTime::UNIX_EPOCH)
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(unit) = text.chars().last().filter(|last| "smhdw".contains(*last)) {
            let count = text[..text.len() - 1].parse().ok()?;
            return Some(Self::Ago(count, unit));
        }
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|day| day.and_hms_opt(0, 0, 0));
        let minute = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").ok();
        let second = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok();
        let plain = day.or_else(minute).or_else(second);
        let time = match plain {
            Some(time) => time.and_utc(),
            None => DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc),
        };
        // PostgreSQL keeps microseconds.
        let time = DateTime::from_timestamp_micros(time.timestamp_micros())?;
        (0..253_402_300_800)
            .contains(&time.timestamp())
            .then_some(Self::At(time))
    }
}

fn seconds(unit: char) -> i64 {
    match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => 7 * 86_400,
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, term) in self.0.iter().enumerate() {
            let gap = if position == 0 { "" } else { " " };
            write!(f, "{gap}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::State(state) => write!(f, "{name}:{state}"),
            Self::Queue(text)
            | Self::Kind(text)
            | Self::Key(text)
            | Self::Tag(text)
            | Self::Error(text) => write!(f, "{name}:{}", Quoted(text)),
            Self::Ids(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                write!(f, "{name}:{}", ids.join(","))
            }
            Self::Worker(worker) => write!(f, "{name}:{worker}"),
            Self::Cause(cause) => write!(f, "{name}:{cause}"),
            Self::Args(path, value) => {
                f.write_str(name)?;
                path.iter()
                    .try_for_each(|part| write!(f, ".{}", Quoted(part)))?;
                write!(f, "={}", Quoted(value))
            }
            Self::Created(side, when) | Self::Finished(side, when) => {
                write!(f, "{name}{side}{when}")
            }
            Self::Attempts(attempts) => write!(f, "{name}>={attempts}"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::More => ">",
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ago(count, unit) => write!(f, "{count}{unit}"),
            Self::At(time)
                if time.timestamp() % 86_400 == 0 && time.timestamp_subsec_micros() == 0 =>
            {
                write!(f, "{}", time.format("%Y-%m-%d"))
            }
            Self::At(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }
}

/// A text as a filter has it: in quotes if it would end too soon without.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"\"\\.=".contains(c);
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests;
