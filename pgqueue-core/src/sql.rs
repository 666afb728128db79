//! Every hand-written statement, listed in one place; the text of each stands in `sql/<name>.sql`.
//!
//! A statement is a Diesel query with a static id: prepared once a connection, run by sync and async Diesel alike.
//! Binds are `$1`, `$2` … in the order of the fields. Nothing is ever interpolated into the text.
//!
//! Those that search the jobs on a connection of the host are `planned_each_time`: there we set no planner switches, and a
//! plan that was made and kept while the table was empty is a sequential scan.

use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Interval, Jsonb, Nullable, SmallInt, Text, Timestamptz,
};

use diesel::pg::data_types::PgTimestamp;

use chrono::{DateTime, Utc};

use crate::model::Span;

macro_rules! statement {
    (
        $(#[$doc:meta])*
        $name:ident $(<$lifetime:lifetime>)?, $file:literal, $($planned_each_time:ident,)?
        ($($field:ident : $rust:ty => $sql:ty),* $(,)?) -> $row:ty
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name $(<$lifetime>)? {
            $(pub(crate) $field: $rust,)*
        }

        impl $(<$lifetime>)? $name $(<$lifetime>)? {
            /// The statement as it is sent.
            #[allow(dead_code, reason = "plan tests read them all")]
            pub(crate) const SQL: &'static str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql/", $file));
        }

        impl $(<$lifetime>)? diesel::query_builder::QueryId for $name $(<$lifetime>)? {
            type QueryId = statement!(@id $name $($lifetime)?);
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl $(<$lifetime>)? diesel::query_builder::Query for $name $(<$lifetime>)? {
            type SqlType = $row;
        }

        impl<$($lifetime,)? C> diesel::RunQueryDsl<C> for $name $(<$lifetime>)? {}

        impl $(<$lifetime>)? diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name $(<$lifetime>)? {
            fn walk_ast<'b>(&'b self, mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>) -> diesel::QueryResult<()> {
                $(statement!(@$planned_each_time out);)?
                out.push_sql(Self::SQL);
                $(out.push_bind_param_value_only::<$sql, _>(&self.$field)?;)*
                Ok(())
            }
        }
    };
    (@planned_each_time $out:ident) => { $out.unsafe_to_cache_prepared() };
    (@id $name:ident) => { $name };
    (@id $name:ident $lifetime:lifetime) => { $name<'static> };
}

statement! {
    /// Takes due jobs of the given lanes for a worker. Relies on index `pgqueue_jobs_dequeue`.
    Claim<'a>, "claim.sql", (
        queues: &'a [String] => Array<Text>,
        most: &'a [i32] => Array<Integer>,
        after_run_at: &'a [PgTimestamp] => Array<Timestamptz>,
        after_id: &'a [i64] => Array<BigInt>,
        kinds: &'a [String] => Array<Text>,
        total: i64 => BigInt,
        worker: i64 => BigInt,
        batch: i64 => BigInt,
        default_timeout: Option<Span> => Nullable<Interval>,
        free: &'a [i32] => Array<Integer>,
        bytes: i64 => BigInt,
    ) -> ClaimedRow
}

statement! {
    /// Takes one due job that has lost a process before. Relies on index `pgqueue_jobs_suspect`.
    ClaimSuspect<'a>, "claim_suspect.sql", (
        queues: &'a [String] => Array<Text>,
        kinds: &'a [String] => Array<Text>,
        worker: i64 => BigInt,
        batch: i64 => BigInt,
        default_timeout: Option<Span> => Nullable<Interval>,
    ) -> ClaimedRow
}

/// The columns of [`Claimed`](crate::worker::execute::Claimed), in its order.
pub(crate) type ClaimedRow = (
    BigInt,
    BigInt,
    Text,
    Text,
    Jsonb,
    Nullable<Jsonb>,
    SmallInt,
    Timestamptz,
    Integer,
    Integer,
    Timestamptz,
    Nullable<Timestamptz>,
    Timestamptz,
    BigInt,
);

statement! {
    /// Tells when the next scheduled job is due, whether a due one has lost a process, and whether a wake mark is not set.
    /// Relies on indexes `pgqueue_jobs_dequeue` and `pgqueue_jobs_suspect`, and the primary key of the marks.
    LookAhead<'a>, "look_ahead.sql", (
        queues: &'a [String] => Array<Text>,
        kinds: &'a [String] => Array<Text>,
    ) -> (Nullable<Double>, Bool, Bool)
}

statement! {
    /// Ends runs: each row moves only if its run is still the current one. Relies on the primary key.
    Finish<'a>, "finish.sql", (
        ids: &'a [i64] => Array<BigInt>,
        tokens: &'a [i64] => Array<BigInt>,
        states: &'a [&'static str] => Array<Text>,
        delays: &'a [Option<Span>] => Array<Nullable<Interval>>,
        refunds: &'a [i32] => Array<Integer>,
        errors: &'a [Option<serde_json::Value>] => Array<Nullable<Jsonb>>,
        outputs: &'a [Option<serde_json::Value>] => Array<Nullable<Jsonb>>,
    ) -> (BigInt, BigInt, Text, Timestamptz)
}

statement! {
    /// Ends successful runs by deleting their jobs (retention zero). Relies on the primary key.
    FinishDelete<'a>, "finish_delete.sql", (
        ids: &'a [i64] => Array<BigInt>,
        tokens: &'a [i64] => Array<BigInt>,
    ) -> (BigInt, BigInt, Text, Timestamptz)
}

statement! {
    /// Locks what is free of the given jobs, so that a busy row does not hold up its neighbours.
    Unlocked<'a>, "unlocked.sql", (ids: &'a [i64] => Array<BigInt>) -> BigInt
}

statement! {
    /// Reads back jobs whose finish did not come back.
    ReadBack<'a>, "read_back.sql", planned_each_time, (ids: &'a [i64] => Array<BigInt>) -> (BigInt, BigInt, Text, Timestamptz)
}

statement! {
    /// Completes a job in the handler's own transaction.
    CompleteIn<'a>, "complete_in.sql", planned_each_time, (id: i64 => BigInt, token: i64 => BigInt, output: Option<&'a serde_json::Value> => Nullable<Jsonb>) -> BigInt
}

statement! {
    /// Completes a job in the handler's own transaction by deleting it (retention zero).
    CompleteInDelete, "complete_in_delete.sql", planned_each_time, (id: i64 => BigInt, token: i64 => BigInt) -> BigInt
}

statement! {
    /// Stores what a run reports of itself.
    Progress<'a>, "progress.sql", planned_each_time, (id: i64 => BigInt, token: i64 => BigInt, progress: &'a serde_json::Value => Jsonb) -> BigInt
}

statement! {
    /// Registers a worker.
    Register<'a>, "register.sql", (
        name: &'a str => Text,
        host: &'a str => Text,
        pid: i32 => Integer,
        version: &'a str => Text,
        queues: &'a serde_json::Value => Jsonb,
        kinds: &'a [String] => Array<Text>,
        lease: Span => Interval,
    ) -> (BigInt, Text, Timestamptz)
}

statement! {
    /// Renews a worker's lease; no row: it was taken for dead, or its registration is lost.
    Beat, "beat.sql", (
        worker: i64 => BigInt,
        lease: Span => Interval,
        registered_at: DateTime<Utc> => Timestamptz,
    ) -> BigInt
}

statement! {
    /// Removes a worker that ends.
    Unregister, "unregister.sql", (worker: i64 => BigInt) -> BigInt
}

statement! {
    /// Sets the wake marks of queues.
    SetMarks<'a>, "set_marks.sql", (queues: &'a [String] => Array<Text>, horizon: Span => Interval) -> (Text, Text)
}

statement! {
    /// Asks the workers of the schema to re-poll.
    AskToRepoll, "ask_to_repoll.sql", () -> Text
}

statement! {
    /// Clears the wake marks of queues.
    ClearMarks<'a>, "clear_marks.sql", (queues: &'a [String] => Array<Text>) -> Text
}

statement! {
    /// Deletes the rows of workers whose lease has run out.
    ExpireWorkers, "expire_workers.sql", (judge: i64 => BigInt) -> BigInt
}

statement! {
    /// Tells what there is to rescue: expired workers, owners without a row, overdue jobs. Relies on index `pgqueue_jobs_running`.
    Lost, "lost.sql", (lease: Span => Interval) -> (Bool, Array<BigInt>, Bool)
}

statement! {
    /// Takes running jobs from dead workers. Relies on index `pgqueue_jobs_running`.
    Rescue<'a>, "rescue.sql", (
        owners: &'a [i64] => Array<BigInt>,
        max_lost: i32 => Integer,
        base_wait: f64 => Double,
        limit: i64 => BigInt,
    ) -> (BigInt, Text, Text, Text, Timestamptz)
}

statement! {
    /// Takes running jobs whose owner lives but does not enforce their deadline. Relies on index `pgqueue_jobs_running`.
    RescueOverdue, "rescue_overdue.sql", (lease: Span => Interval, limit: i64 => BigInt) -> (BigInt, Text, Text, Text, Timestamptz)
}

statement! {
    /// Releases jobs that were claimed for us by a statement whose answer was lost. Relies on index `pgqueue_jobs_running`.
    Reconcile<'a>, "reconcile.sql", (
        worker: i64 => BigInt,
        ended_batch: i64 => BigInt,
        known: &'a [i64] => Array<BigInt>,
    ) -> BigInt
}

statement! {
    /// Lists running jobs of ours that somebody wants stopped. Relies on index `pgqueue_jobs_running`.
    CancelRequests, "cancel_requests.sql", (worker: i64 => BigInt) -> (BigInt, BigInt)
}

statement! {
    /// Deletes completed jobs past their retention. Relies on index `pgqueue_jobs_completed`.
    PruneCompleted, "prune_completed.sql", (retention: Span => Interval, limit: i64 => BigInt) -> BigInt
}

statement! {
    /// Deletes cancelled jobs past their retention. Relies on index `pgqueue_jobs_dead`.
    PruneCancelled, "prune_cancelled.sql", (retention: Span => Interval, limit: i64 => BigInt) -> BigInt
}

statement! {
    /// Stores a worker's own counts of a minute.
    FlushStats<'a>, "flush_stats.sql", (rows: &'a serde_json::Value => Jsonb) -> BigInt
}

statement! {
    /// Folds the minutes of past days to hours.
    FoldStats, "fold_stats.sql", () -> BigInt
}

statement! {
    /// Deletes statistics past their retention.
    PruneStats, "prune_stats.sql", (retention: Span => Interval) -> BigInt
}

statement! {
    /// Tells which of our migrations the schema has, and whether the jobs are in that schema.
    Ledger, "ledger.sql", () -> (Text, Bool)
}

statement! {
    /// Tries to take the migration lock: whether it is ours now, of which schema it is, and which sessions hold it if not.
    MigrationLock, "migration_lock.sql", () -> (Bool, Text, Text)
}

statement! {
    /// Pauses a queue.
    Pause<'a>, "pause.sql", (queue: &'a str => Text, actor: Option<&'a str> => Nullable<Text>, reason: Option<&'a str> => Nullable<Text>) -> Text
}

statement! {
    /// Resumes a queue.
    Resume<'a>, "resume.sql", (queue: &'a str => Text, actor: Option<&'a str> => Nullable<Text>, reason: Option<&'a str> => Nullable<Text>) -> Text
}

statement! {
    /// Sums statistics by queue and kind.
    KindStats, "kind_stats.sql", (from: DateTime<Utc> => Timestamptz, to: DateTime<Utc> => Timestamptz) -> (
        Text,
        Text,
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

pub(crate) mod operators;
pub(crate) mod stats;

/// Those that only [`testing`](crate::testing) runs, on the few jobs of a test.
#[cfg(feature = "testing")]
pub(crate) mod drain {
    use diesel::sql_types::{Array, BigInt, Interval, Text};

    use crate::model::Span;

    statement! {
        /// Makes jobs due that are so by the clock. Relies on index `pgqueue_jobs_dequeue`.
        Hasten<'a>, "drain_hasten.sql", (queues: &'a [String] => Array<Text>, kinds: &'a [String] => Array<Text>) -> ()
    }

    statement! {
        /// Puts back the due times of jobs that a drain has set aside. Relies on the primary key.
        PutBack<'a>, "drain_put_back.sql", (ids: &'a [i64] => Array<BigInt>, aside: Span => Interval) -> ()
    }
}
