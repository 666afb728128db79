//! The statements of [`stats`](crate::stats) beside those of queues and kinds.

use chrono::{DateTime, Utc};
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Interval, Nullable, SmallInt, Text, Timestamptz,
};

use crate::model::Span;

statement! {
    /// Counts jobs that have not ended, a queue. Relies on indexes `pgqueue_jobs_dequeue` and `pgqueue_jobs_running`.
    Active, "active.sql", planned_each_time, (limit: i64 => BigInt) -> ActiveRow
}

/// The columns of [`ActiveStats`](crate::stats::ActiveStats): name, pause, counts, whether that of running jobs is exact,
/// oldest due job, workers.
type ActiveRow = (
    Text,
    Nullable<Timestamptz>,
    (BigInt, BigInt, BigInt),
    Bool,
    Nullable<Double>,
    BigInt,
);

statement! {
    /// Counts jobs that have ended, a queue. Relies on indexes `pgqueue_jobs_completed` and `pgqueue_jobs_dead`.
    Ended, "ended.sql", planned_each_time, (limit: i64 => BigInt) -> (Text, (BigInt, BigInt, BigInt))
}

statement! {
    /// Sums statistics step by step.
    Timeline<'a>, "timeline.sql", planned_each_time, (
        from: DateTime<Utc> => Timestamptz,
        to: DateTime<Utc> => Timestamptz,
        step: Span => Interval,
        queue: Option<&'a str> => Nullable<Text>,
        kind: Option<&'a str> => Nullable<Text>,
    ) -> (
        Timestamptz,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        BigInt,
        Array<BigInt>,
        Array<BigInt>,
    )
}

statement! {
    /// Counts the runs that ended, a queue and step of time.
    QueueActivity, "queue_activity.sql", planned_each_time, (
        from: DateTime<Utc> => Timestamptz,
        to: DateTime<Utc> => Timestamptz,
        step: Span => Interval,
    ) -> (Text, Timestamptz, BigInt)
}

statement! {
    /// Lists the jobs that have been due for the longest. Relies on index `pgqueue_jobs_dequeue`.
    OldestWaiting, "oldest_waiting.sql", planned_each_time, (limit: i64 => BigInt) -> (
        BigInt,
        Text,
        Text,
        SmallInt,
        Integer,
        Timestamptz,
        Bool,
    )
}

statement! {
    /// Tells about how many jobs each state has.
    Estimates, "estimates.sql", () -> (Text, Nullable<Double>)
}

statement! {
    /// Counts all jobs of a state. Relies on the partial index of the state.
    CountState<'a>, "count_state.sql", planned_each_time, (state: &'a str => Text) -> BigInt
}

statement! {
    /// Lists who paused and resumed a queue.
    PauseChanges<'a>, "pause_changes.sql", (queue: &'a str => Text, looked_at: i64 => BigInt, limit: i64 => BigInt) -> (
        BigInt,
        Timestamptz,
        Text,
        Text,
        Nullable<Text>,
    )
}
