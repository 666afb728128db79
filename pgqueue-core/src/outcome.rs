//! What a handler says of its run. Outcomes are values, never errors: an error type that travels through `anyhow`
//! would turn a snooze into a failure without a word.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::error::{BoxError, with_sources};

/// Longest error text kept, in bytes.
const TEXT_LIMIT: usize = 8 * 1024;
/// Longest wait that a handler may ask for: `run_at` must stay a time that PostgreSQL and chrono can hold.
const WAIT_LIMIT: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// How a run ended, when `Ok(())` and `Err(…)` do not say enough.
///
/// # Example
/// ```
/// use pgqueue_core::Outcome;
/// use std::time::Duration;
///
/// fn sync_account(rate_limited: bool, closed: bool) -> Result<Outcome, String> {
///     if rate_limited {
///         return Ok(Outcome::snooze(Duration::from_secs(30))); // costs no attempt
///     }
///     if closed {
///         return Ok(Outcome::cancel("the account is closed")); // no retry
///     }
///     Ok(Outcome::done())
/// }
/// assert!(sync_account(true, false).is_ok());
/// ```
#[must_use = "return it from the handler"]
#[derive(Debug)]
pub struct Outcome(pub(crate) Ending);

/// How a run ended, for the engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    Completed(Option<Value>),
    Snoozed(Duration),
    RetryAfter(Duration, String),
    Cancelled(String),
    Dead(Failure),
    Failed(Failure),
    /// Given back unburnt: the worker stops, or the claim was in vain.
    Released,
}

/// A failure as it is kept in `errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One of the kinds that [`RunError`](crate::RunError) documents.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, message: &str) -> Self {
        Self {
            kind,
            message: storable(message),
        }
    }
}

impl Outcome {
    /// Completes the job.
    pub fn done() -> Self {
        Self(Ending::Completed(None))
    }

    /// Completes the job and keeps `output` with it, if it has at most 1 MiB and `complete_in` was not called.
    ///
    /// An `output` that serde cannot turn into JSON fails the run.
    pub fn output(output: impl Serialize) -> Self {
        Self(completed(output))
    }

    /// Puts the job back to pending for `wait`, a century at most, without costing an attempt.
    pub fn snooze(wait: Duration) -> Self {
        Self(Ending::Snoozed(wait.min(WAIT_LIMIT)))
    }

    /// Fails the run because of `cause`, and repeats it after exactly `wait` instead of the backoff, if retries are left.
    pub fn retry_after(wait: Duration, cause: impl ToString) -> Self {
        Self(Ending::RetryAfter(
            wait.min(WAIT_LIMIT),
            storable(&cause.to_string()),
        ))
    }

    /// Cancels the job because of `reason`: no retry, kept as `cancelled`.
    pub fn cancel(reason: impl ToString) -> Self {
        Self(Ending::Cancelled(storable(&reason.to_string())))
    }

    /// Gives the job up because of `reason`: no retry, kept as `dead`.
    pub fn dead(reason: impl ToString) -> Self {
        Self(Ending::Dead(Failure::new("handler", &reason.to_string())))
    }
}

/// What a handler may return: `Result<T, E>`, where `T` is `()`, an [`Outcome`] or an output to keep, and `E` any error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler's result",
    note = "return `Result<T, E>` with `T`: `()`, `Outcome` or `Serialize`, and `E: Into<Box<dyn Error + Send + Sync>>` (anyhow::Error, String, any std error)"
)]
pub trait HandlerResult: Send + 'static {
    /// Says how the run ended.
    fn into_outcome(self) -> Outcome;
}

impl<T: Serialize + Send + 'static, E: Into<BoxError> + Send + 'static> HandlerResult
    for Result<T, E>
{
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(output) => Outcome(completed(output)),
            Err(error) => Outcome(failed(error.into())),
        }
    }
}

impl<E: Into<BoxError> + Send + 'static> HandlerResult for Result<Outcome, E> {
    fn into_outcome(self) -> Outcome {
        self.unwrap_or_else(|error| Outcome(failed(error.into())))
    }
}

/// Largest output kept, in bytes of its JSON.
const OUTPUT_LIMIT: usize = 1 << 20;

fn completed(output: impl Serialize) -> Ending {
    let output = match serde_json::to_value(output) {
        Ok(output) => output,
        Err(cause) => {
            let message = format!("the handler's output cannot be written as JSON: {cause}");
            return Ending::Failed(Failure::new("error", &message));
        }
    };
    let size = if output.is_null() {
        0
    } else {
        output.to_string().len()
    };
    if size > OUTPUT_LIMIT {
        tracing::warn!(
            size,
            limit = OUTPUT_LIMIT,
            "the handler's output is too large and is not kept"
        );
        return Ending::Completed(None);
    }
    Ending::Completed(
        Some(output)
            .filter(|output| !output.is_null())
            .map(without_nul),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the error ends here")]
fn failed(error: BoxError) -> Ending {
    let message = with_sources(&*error);
    Ending::Failed(Failure::new("error", &message))
}

/// Makes a text that PostgreSQL stores: without NUL, and not longer than the limit.
pub(crate) fn storable(text: &str) -> String {
    let mut out = text.replace('\0', "\u{fffd}");
    if out.len() > TEXT_LIMIT {
        let end = TEXT_LIMIT - '…'.len_utf8();
        let end = (0..=end)
            .rev()
            .find(|&at| out.is_char_boundary(at))
            .unwrap_or(0);
        out.truncate(end);
        out.push('…');
    }
    out
}

/// Makes a JSON value that PostgreSQL stores.
pub(crate) fn without_nul(json: Value) -> Value {
    match json {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(name, value)| (name.replace('\0', "\u{fffd}"), without_nul(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_chain_of_causes() {
        let io = std::io::Error::other("disk full");
        let ending = Err::<(), BoxError>(Box::new(
            crate::Error::configuration("cannot write").caused(io),
        ))
        .into_outcome()
        .0;
        assert_eq!(
            ending,
            Ending::Failed(Failure::new("error", "cannot write: disk full"))
        );
    }

    #[test]
    fn a_text_with_nul_or_of_ten_mebibytes_becomes_storable() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
        assert!(storable(&"é".repeat(10 << 20)).len() <= TEXT_LIMIT);
    }

    #[test]
    fn an_output_is_whatever_serde_writes_as_json() {
        #[derive(Serialize)]
        struct Sent {
            to: &'static str,
        }

        let struct_of_ours = Outcome::output(Sent { to: "a" }).0;
        let json = Outcome::output(serde_json::json!({"to": "a"})).0;
        let not_json = Outcome::output(std::collections::BTreeMap::from([(vec![1], 1)])).0;

        assert_eq!(struct_of_ours, json);
        assert!(matches!(not_json, Ending::Failed(_)), "{not_json:?}");
    }

    #[test]
    fn unit_keeps_no_output() {
        assert_eq!(
            Ok::<_, String>(()).into_outcome().0,
            Ending::Completed(None)
        );
        assert_eq!(
            Ok::<_, String>(7).into_outcome().0,
            Ending::Completed(Some(7.into()))
        );
    }
}
