//! The bounds of a job's fields, checked before anything is sent. The table's `CHECK` constraints hold the same bounds.

use std::io;

use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

use super::NewJob;
use crate::error::{Error, ErrorKind, Invalid};

/// Largest payload by default: a job names what to work on, it does not carry it.
pub(super) const PAYLOAD_LIMIT: usize = 1 << 20;
/// Longest name of a queue or kind in bytes: the two together must fit a page of an index with room to spare.
const NAME_LIMIT: usize = 128;
/// Longest unique key in bytes: an index row has at most 2,700.
const KEY_LIMIT: usize = 512;
/// Deepest JSON: `serde_json` reads no more levels, so a job that has them would be dead at its first claim.
const DEPTH_LIMIT: usize = 127;
/// Longest wait: 100 years. What is meant as "never" is a mistake, and PostgreSQL's clock ends.
const DELAY_LIMIT: u64 = 100 * 366 * 86_400;

/// Checks all fields and gives the payload.
pub(super) fn check(job: &NewJob) -> Result<&Value, Error> {
    check_name("kind", &job.kind)?;
    check_name("queue", &job.queue)?;
    check_range("priority", job.priority.into(), 0, 9)?;
    check_range("max_retries", job.max_retries.into(), 0, 1000)?;
    if let Some(key) = &job.unique_key {
        check_text("unique_key", "unique_key of the job", key, KEY_LIMIT)?;
    }
    if let Some(timeout) = job.timeout {
        let seconds = timeout
            .0
            .as_secs()
            .saturating_add(u64::from(timeout.0.subsec_micros() > 0));
        check_range("timeout", clamp(seconds), 1, clamp(DELAY_LIMIT))?;
    }
    if let Some(delay) = job.delay {
        check_range("delay", clamp(delay.0.as_secs()), 0, clamp(DELAY_LIMIT))?;
    }
    if let Some(run_at) = job.run_at {
        check_range("run_at", run_at.timestamp(), 0, 253_402_300_799)?; // 1970 to the end of the year 9999
    }
    if let Some(metadata) = &job.metadata {
        check_json("metadata", metadata, job.payload_limit)?;
    }
    let payload = job
        .payload
        .as_ref()
        .map_err(|cause| not_json(&job.kind, cause))?;
    check_json("payload", payload, job.payload_limit)?;
    Ok(payload)
}

pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), Error> {
    check_text(field, &format!("{field} of the job"), name, NAME_LIMIT)
}

/// Checks the name of a queue that is meant itself, whatever its jobs.
pub(crate) fn check_queue_name(name: &str) -> Result<(), Error> {
    check_text("queue", "name of the queue", name, NAME_LIMIT)
}

fn check_text(field: &'static str, called: &str, text: &str, limit: usize) -> Result<(), Error> {
    if text.is_empty() {
        let invalid = Invalid {
            field,
            size: 0,
            limit: 1,
        };
        return Err(Error::out_of_bounds(
            invalid,
            format!("{called} is empty: give it 1 to {limit} bytes"),
        ));
    }
    if text.len() > limit {
        let invalid = Invalid {
            field,
            size: length(text.len()),
            limit: length(limit),
        };
        let start: String = text.chars().take(20).collect();
        return Err(Error::out_of_bounds(
            invalid,
            format!(
                "{called}, {start:?}…, has {} bytes: at most {limit} are allowed",
                text.len()
            ),
        ));
    }
    if let Some(at) = text.find('\0') {
        return Err(nul(
            field,
            called,
            &format!("at byte {at}"),
            length(text.len()),
        ));
    }
    Ok(())
}

pub(crate) fn check_range(
    field: &'static str,
    value: i64,
    least: i64,
    most: i64,
) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let limit = if value < least { least } else { most };
    Err(Error::out_of_bounds(
        Invalid {
            field,
            size: value,
            limit,
        },
        format!("{field} of the job is {value}: it must be {least} to {most}"),
    ))
}

fn check_json(field: &'static str, json: &Value, limit: usize) -> Result<(), Error> {
    let called = format!("{field} of the job");
    let depth = depth(json); // first: what comes after it calls itself once a level
    if depth > DEPTH_LIMIT {
        let invalid = Invalid {
            field,
            size: length(depth),
            limit: length(DEPTH_LIMIT),
        };
        let message = format!(
            "{called} is nested {depth} levels deep: at most {DEPTH_LIMIT} can be read back"
        );
        return Err(Error::out_of_bounds(invalid, message));
    }
    if has_nul(json) {
        return Err(nul(field, &called, "in a text or a name", 0));
    }
    let size = printed_size(json);
    if size <= limit {
        return Ok(());
    }
    Err(Error::out_of_bounds(
        Invalid {
            field,
            size: length(size),
            limit: length(limit),
        },
        format!(
            "{field} of the job has {size} bytes: at most {limit} are allowed; store the data in a table and enqueue its key, or raise payload_limit here and pgqueue.payload_limit in the database"
        ),
    ))
}

/// Counts the lists and objects around the innermost value.
fn depth(json: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(json, 1)];
    while let Some((json, level)) = open.pop() {
        let inner: &mut dyn Iterator<Item = &Value> = match json {
            Value::Array(items) => &mut items.iter(),
            Value::Object(entries) => &mut entries.values(),
            _ => continue,
        };
        deepest = deepest.max(level);
        let nested = inner.filter(|json| json.is_array() || json.is_object());
        open.extend(nested.map(|json| (json, level + 1)));
    }
    deepest
}

fn has_nul(json: &Value) -> bool {
    match json {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(entries) => entries
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn nul(field: &'static str, called: &str, place: &str, size: i64) -> Error {
    Error::out_of_bounds(
        Invalid {
            field,
            size,
            limit: 0,
        },
        format!("{called} has a NUL character {place}, which PostgreSQL cannot store: remove it"),
    )
}

fn not_json(kind: &str, cause: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("payload of job kind {kind:?} cannot be written as JSON: {cause}"),
    )
}

/// Measures JSON as PostgreSQL prints `jsonb`: with a space after each comma and colon, and `1e20` in all its digits.
fn printed_size(json: &Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    struct Spaced;
    impl Formatter for Spaced {
        fn begin_array_value<W: ?Sized + io::Write>(
            &mut self,
            writer: &mut W,
            first: bool,
        ) -> io::Result<()> {
            if first {
                Ok(())
            } else {
                writer.write_all(b", ")
            }
        }
        fn begin_object_key<W: ?Sized + io::Write>(
            &mut self,
            writer: &mut W,
            first: bool,
        ) -> io::Result<()> {
            if first {
                Ok(())
            } else {
                writer.write_all(b", ")
            }
        }
        fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
            writer.write_all(b": ")
        }
        fn write_f64<W: ?Sized + io::Write>(
            &mut self,
            writer: &mut W,
            value: f64,
        ) -> io::Result<()> {
            let short = format!("{value:?}");
            if short.contains('e') {
                write!(writer, "{value}")
            } else {
                writer.write_all(short.as_bytes())
            }
        }
    }
    let mut count = Count(0);
    let written =
        serde::Serialize::serialize(json, &mut Serializer::with_formatter(&mut count, Spaced));
    written.map_or(usize::MAX, |()| count.0)
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn clamp(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
