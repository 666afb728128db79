//! The statements that operators' actions and pages need beside those of the queue itself.

use chrono::{DateTime, Utc};
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Interval, Jsonb, Nullable, SmallInt, Text, Timestamptz,
};

use crate::model::Span;

statement! {
    /// Tells what a list shows of jobs. Relies on the primary key.
    Summaries<'a>, "summaries.sql", planned_each_time, (ids: &'a [i64] => Array<BigInt>) -> SummaryRow
}

/// The columns of [`Summary`](crate::admin::Summary).
type SummaryRow = (
    BigInt,
    Text,
    Text,
    Text,
    SmallInt,
    Timestamptz,
    Timestamptz,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Integer,
    Integer,
    Integer,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Text>,
    Text,
    Nullable<Text>,
);

statement! {
    /// Reads all of a job. Relies on the primary key.
    ReadJob, "job.sql", planned_each_time, (id: i64 => BigInt) -> RecordRow
}

/// The columns of [`Record`](crate::admin::Record).
type RecordRow = (
    BigInt,
    Text,
    Text,
    Text,
    SmallInt,
    Timestamptz,
    Timestamptz,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Integer,
    Integer,
    Integer,
    Nullable<BigInt>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Interval>,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Text,
    Text,
);

statement! {
    /// Reads the JSON of some jobs. Relies on the primary key.
    ReadDocuments<'a>, "documents.sql", planned_each_time, (ids: &'a [i64] => Array<BigInt>) -> (BigInt, Text, Nullable<Text>, Nullable<Text>)
}

statement! {
    /// Reads what was done to a job. Relies on index `pgqueue_audit_job`.
    ReadAudit, "job_audit.sql", planned_each_time, (id: i64 => BigInt) -> (Timestamptz, Text, Text, Nullable<Text>, Text)
}

statement! {
    /// Tells what a job waits for. Relies on indexes `pgqueue_jobs_dequeue`, `pgqueue_jobs_suspect` and
    /// `pgqueue_jobs_unique`.
    Why, "why.sql", planned_each_time, (id: i64 => BigInt) -> WhyRow
}

/// The columns of `Facts` in `admin/why.rs`.
type WhyRow = (
    Text,
    Timestamptz,
    Bool,
    Integer,
    Nullable<Timestamptz>,
    Integer,
    Nullable<Timestamptz>,
    Nullable<BigInt>,
    Nullable<Text>,
    Nullable<Timestamptz>,
    BigInt,
    BigInt,
    BigInt,
    Nullable<BigInt>,
    Nullable<Text>,
);

statement! {
    /// Changes a job that is still what was shown. Relies on the primary key and index `pgqueue_jobs_unique`.
    EditJob<'a>, "edit.sql", planned_each_time, (
        id: i64 => BigInt,
        version: &'a str => Text,
        payload: Option<&'a str> => Nullable<Text>,
        queue: Option<&'a str> => Nullable<Text>,
        priority: Option<i16> => Nullable<SmallInt>,
        run_at: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        max_retries: Option<i32> => Nullable<Integer>,
        requeues: bool => Bool,
        hidden: &'a [String] => Array<Text>,
        actor: Option<&'a str> => Nullable<Text>,
        reason: Option<&'a str> => Nullable<Text>,
    ) -> (Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>)
}

statement! {
    /// Copies a job. Relies on the primary key.
    CloneJob<'a>, "clone.sql", planned_each_time, (id: i64 => BigInt, actor: Option<&'a str> => Nullable<Text>, reason: Option<&'a str> => Nullable<Text>) -> BigInt
}

statement! {
    /// Writes down a look at what is hidden. Relies on the primary key.
    Reveal<'a>, "reveal.sql", planned_each_time, (id: i64 => BigInt, actor: Option<&'a str> => Nullable<Text>, reason: Option<&'a str> => Nullable<Text>) -> BigInt
}

statement! {
    /// Tells of the causes of death. Relies on index `pgqueue_jobs_cause`.
    Causes, "causes.sql", planned_each_time, (limit: i64 => BigInt, count_limit: i64 => BigInt, first: Option<i64> => Nullable<BigInt>) -> CauseStatsRow
}

/// The columns of [`CauseStats`](crate::stats::CauseStats).
type CauseStatsRow = (
    BigInt,
    Text,
    Text,
    (BigInt, BigInt, BigInt),
    (Nullable<Array<Integer>>, Nullable<Array<BigInt>>),
    (Timestamptz, Timestamptz),
    (Array<Text>, Array<Text>),
    BigInt,
    Text,
);

statement! {
    /// Lists workers with what they run. Relies on index `pgqueue_jobs_running`.
    Workers, "workers.sql", planned_each_time, (
        workers: i64 => BigInt,
        jobs: i64 => BigInt,
        worker: Option<i64> => Nullable<BigInt>,
    ) -> (
        BigInt,
        Text,
        Text,
        Integer,
        Text,
        Jsonb,
        Array<Text>,
        Timestamptz,
        Timestamptz,
        Bool,
        Timestamptz,
        BigInt,
        Nullable<Timestamptz>,
    )
}

statement! {
    /// Lists what a worker runs. Relies on index `pgqueue_jobs_running`.
    WorkerJobs, "worker_jobs.sql", planned_each_time, (worker: i64 => BigInt, limit: i64 => BigInt) -> (
        BigInt,
        Text,
        Text,
        Integer,
        Nullable<Timestamptz>,
        Nullable<Timestamptz>,
        Nullable<Timestamptz>,
    )
}

statement! {
    /// Reads a page of the audit.
    Audit<'a>, "audit.sql", planned_each_time, (
        before: Option<i64> => Nullable<BigInt>,
        actor: Option<&'a str> => Nullable<Text>,
        action: Option<&'a str> => Nullable<Text>,
        job: Option<i64> => Nullable<BigInt>,
        look: i64 => BigInt,
        limit: i64 => BigInt,
    ) -> (BigInt, Nullable<BigInt>, Jsonb)
}

statement! {
    /// Tells about the server and this session's role.
    HealthServer, "health_server.sql", planned_each_time, () -> Jsonb
}

statement! {
    /// Lists what holds vacuum back.
    HealthHolders, "health_holders.sql", planned_each_time, () -> Jsonb
}

statement! {
    /// Tells about our tables.
    HealthTables, "health_tables.sql", planned_each_time, () -> Jsonb
}

statement! {
    /// Tells about our indexes.
    HealthIndexes<'a>, "health_indexes.sql", planned_each_time, (names: &'a [String] => Array<Text>) -> Jsonb
}

statement! {
    /// Lists who waits for locks on our tables.
    HealthLocks, "health_locks.sql", planned_each_time, () -> Jsonb
}

statement! {
    /// Tells how much of our identities is used up.
    HealthIds, "health_ids.sql", planned_each_time, () -> Jsonb
}

statement! {
    /// Tells in which states the first jobs of an operation are. Relies on primary keys.
    ReadBecame, "became.sql", planned_each_time, (operation: i64 => BigInt, limit: i64 => BigInt) -> (Nullable<Text>, BigInt, Array<BigInt>)
}

statement! {
    /// Puts purged jobs back. Relies on the primary key of `pgqueue_trash`.
    UndoPurge, "undo_purge.sql", planned_each_time, (operation: i64 => BigInt, limit: i64 => BigInt) -> (BigInt, BigInt)
}

statement! {
    /// Puts requeued jobs back to what they were. Relies on primary keys.
    UndoRequeue, "undo_requeue.sql", planned_each_time, (operation: i64 => BigInt, limit: i64 => BigInt) -> (BigInt, BigInt)
}

statement! {
    /// Deletes what has been in the trash for too long. Relies on index `pgqueue_trash_kept`.
    EmptyTrash, "empty_trash.sql", (retention: Span => Interval, limit: i64 => BigInt) -> BigInt
}
