//! The bounds of a job's fields, checked before anything is sent. The table's `CHECK` constraints hold the same bounds.

use std::{fmt, io};

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
        check_text(
            "unique_key",
            format_args!("unique_key of the job"),
            key,
            KEY_LIMIT,
        )?;
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
    check_text(field, format_args!("{field} of the job"), name, NAME_LIMIT)
}

/// Checks the name of a queue that is meant itself, whatever its jobs.
pub(crate) fn check_queue_name(name: &str) -> Result<(), Error> {
    check_text("queue", format_args!("name of the queue"), name, NAME_LIMIT)
}

fn check_text(
    field: &'static str,
    called: fmt::Arguments<'_>,
    text: &str,
    limit: usize,
) -> Result<(), Error> {
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
    let survey = Survey::of(json);
    if survey.depth > DEPTH_LIMIT {
        let invalid = Invalid {
            field,
            size: length(survey.depth),
            limit: length(DEPTH_LIMIT),
        };
        let message = format!(
            "{field} of the job is nested {} levels deep: at most {DEPTH_LIMIT} can be read back",
            survey.depth
        );
        return Err(Error::out_of_bounds(invalid, message));
    }
    if survey.has_nul {
        let called = format_args!("{field} of the job");
        return Err(nul(field, called, "in a text or a name", 0));
    }
    if survey.most <= limit {
        return Ok(());
    }
    let size = printed_size(json); // not before the depth is known: it calls itself once a level
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

/// What one walk through JSON tells, without printing it.
#[derive(Debug, Default)]
struct Survey {
    /// The lists and objects around the innermost value.
    depth: usize,
    /// A text or a name has a NUL character.
    has_nul: bool,
    /// As long as it can be when it is printed; a few times what it is. Few payloads come near their limit.
    most: usize,
}

impl Survey {
    /// Walks by a list of its own: JSON that is too deep would be too deep for the stack, too.
    fn of(json: &Value) -> Self {
        let mut survey = Self::default();
        let (mut next, mut open) = (Some((json, 1)), Vec::new());
        while let Some((json, level)) = next {
            match json {
                Value::Array(items) => {
                    survey.enter(level);
                    open.extend(items.iter().map(|item| (item, level + 1)));
                    survey.add(2 * items.len());
                }
                Value::Object(entries) => {
                    survey.enter(level);
                    for (name, value) in entries {
                        survey.text(name);
                        survey.add(4);
                        open.push((value, level + 1));
                    }
                }
                Value::String(text) => survey.text(text),
                Value::Number(number) if number.is_i64() || number.is_u64() => survey.add(20),
                Value::Number(_) => survey.add(usize::MAX), // 1e308 is printed in all its digits
                Value::Bool(_) | Value::Null => survey.add(5),
            }
            next = open.pop();
        }
        survey
    }

    fn enter(&mut self, level: usize) {
        self.depth = self.depth.max(level);
        self.add(2);
    }

    fn text(&mut self, text: &str) {
        self.has_nul |= text.contains('\0');
        self.add(2 + text.len().saturating_mul(6)); // a control character is six: \u001f
    }

    fn add(&mut self, bytes: usize) {
        self.most = self.most.saturating_add(bytes);
    }
}

fn nul(field: &'static str, called: fmt::Arguments<'_>, place: &str, size: i64) -> Error {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_is_printed_longer_than_the_survey_says(json in any_json()) {
            prop_assert!(printed_size(&json) <= Survey::of(&json).most);
        }
    }

    #[test]
    fn lists_and_objects_count_as_levels_and_values_do_not() {
        let depth = |text| Survey::of(&serde_json::from_str(text).unwrap()).depth;
        assert_eq!(depth("1"), 0);
        assert_eq!(depth("[]"), 1);
        assert_eq!(depth(r#"{"a": [1, {"b": 2}], "c": 3}"#), 3);
    }
}
