//! The tables as Diesel sees them. Names are unqualified: the connection's `search_path` chooses the schema.

diesel::table! {
    /// Jobs.
    pgqueue_jobs (id) {
        /// Identity.
        id -> BigInt,
        /// Not before this time.
        run_at -> Timestamptz,
        /// When it was enqueued.
        created_at -> Timestamptz,
        /// One higher at each claim, never reset.
        fencing_token -> BigInt,
        /// The worker that runs it.
        claimed_by -> Nullable<BigInt>,
        /// That worker's number of the claim.
        claim_batch -> Nullable<BigInt>,
        /// When the newest run started.
        started_at -> Nullable<Timestamptz>,
        /// When it completed, was cancelled or died.
        finished_at -> Nullable<Timestamptz>,
        /// When the current run is out of time.
        deadline_at -> Nullable<Timestamptz>,
        /// When somebody asked to stop the current run.
        cancel_requested_at -> Nullable<Timestamptz>,
        /// Runs started so far.
        attempt -> Integer,
        /// Dead after `1 + max_retries` failed runs.
        max_retries -> Integer,
        /// Runs that ended because their process died.
        lost -> Integer,
        /// 0..9, lower runs first.
        priority -> SmallInt,
        /// See [`JobState`](crate::JobState).
        state -> Text,
        /// Lane with its own concurrency and pause.
        queue -> Text,
        /// Which handler runs it.
        kind -> Text,
        /// The job itself.
        payload -> Jsonb,
        /// At most one pending or running job a queue has it.
        unique_key -> Nullable<Text>,
        /// Longest run.
        timeout -> Nullable<Interval>,
        /// The newest failures.
        errors -> Jsonb,
        /// Tags and whatever the host adds.
        metadata -> Nullable<Jsonb>,
        /// What the handler reported last.
        progress -> Nullable<Jsonb>,
        /// What the handler returned.
        output -> Nullable<Jsonb>,
        /// Fingerprint of the newest error, set when the job becomes dead.
        cause -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// Live workers.
    pgqueue_workers (id) {
        /// Identity, new at every start and re-registration.
        id -> BigInt,
        /// Label for people.
        name -> Text,
        /// Host name.
        host -> Text,
        /// Process id.
        pid -> Integer,
        /// Version of pgqueue-core.
        version -> Text,
        /// Served queues with their concurrency.
        queues -> Jsonb,
        /// Handled kinds.
        kinds -> Array<Text>,
        /// When it registered.
        started_at -> Timestamptz,
        /// When the others may take its jobs, unless it beats before.
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    /// Settings of queues.
    pgqueue_queues (name) {
        /// Name of the queue.
        name -> Text,
        /// Set while no worker may claim from it.
        paused_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Counts and histograms.
    pgqueue_stats (bucket, queue, kind, worker_id) {
        /// Start of the minute, or of the hour where `worker_id` is 0.
        bucket -> Timestamptz,
        /// The worker that counted, 0 when folded.
        worker_id -> BigInt,
        /// Runs that completed their job.
        completed -> BigInt,
        /// Runs that failed.
        failed -> BigInt,
        /// Failed runs that ended as dead.
        dead -> BigInt,
        /// Runs that ended as cancelled.
        cancelled -> BigInt,
        /// Runs that were snoozed.
        snoozed -> BigInt,
        /// Runs that ended because their process died, as far as this worker rescued them.
        lost -> BigInt,
        /// Ends of this worker's runs that came after their lease was lost, and changed nothing.
        lease_lost -> BigInt,
        /// Sum of run times in milliseconds.
        run_ms_sum -> BigInt,
        /// Sum of waits, from `run_at` to the claim, in milliseconds.
        wait_ms_sum -> BigInt,
        /// Queue.
        queue -> Text,
        /// Kind.
        kind -> Text,
        /// Run times by power of two.
        run_ms -> Array<BigInt>,
        /// Waits by power of two.
        wait_ms -> Array<BigInt>,
    }
}

diesel::table! {
    /// Who did what to which jobs, and why.
    pgqueue_audit (id) {
        /// Identity.
        id -> BigInt,
        /// When.
        at -> Timestamptz,
        /// The job, when it was one.
        job_id -> Nullable<BigInt>,
        /// How many jobs changed.
        jobs -> BigInt,
        /// Who.
        actor -> Text,
        /// `requeue`, `cancel`, `purge`, `run_now`, `pause` or `resume`.
        action -> Text,
        /// The queue, when it was one.
        queue -> Nullable<Text>,
        /// Why.
        reason -> Nullable<Text>,
        /// Filter or ids.
        details -> Jsonb,
    }
}

diesel::table! {
    /// Actions on many jobs, done in steps.
    pgqueue_bulk_operations (id) {
        /// Identity.
        id -> BigInt,
        /// When it was started.
        created_at -> Timestamptz,
        /// When it was done, cancelled, or had failed.
        finished_at -> Nullable<Timestamptz>,
        /// Jobs that came to match later are left alone.
        cutoff -> Timestamptz,
        /// Not before: the next step.
        next_at -> Timestamptz,
        /// How many jobs matched at the preview.
        expected -> BigInt,
        /// Whether those were all.
        expected_exactly -> Bool,
        /// Jobs that changed.
        done -> BigInt,
        /// Running jobs that were asked to stop.
        requested -> BigInt,
        /// Jobs that were left as they are.
        skipped -> BigInt,
        /// Jobs that an undo has put back.
        undone -> BigInt,
        /// Most jobs a second.
        rate -> Nullable<Integer>,
        /// Pauses by itself after so many jobs.
        canary -> Nullable<Integer>,
        /// `running`, `paused`, `undoing`, `finished`, `cancelled`, `failed` or `undone`.
        state -> Text,
        /// `requeue`, `cancel`, `purge` or `run_now`.
        verb -> Text,
        /// Who started it.
        actor -> Text,
        /// Why.
        reason -> Nullable<Text>,
        /// What the database refused.
        error -> Nullable<Text>,
        /// Which jobs.
        filter -> Jsonb,
        /// Where the walk has come to.
        place -> Jsonb,
        /// The first 1,000 that were left as they are, each with why.
        skips -> Jsonb,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    pgqueue_jobs,
    pgqueue_workers,
    pgqueue_queues,
    pgqueue_stats,
    pgqueue_audit
);

/// Lets tables of your own appear in one query with [`pgqueue_jobs`](crate::schema::pgqueue_jobs).
///
/// Diesel's `allow_tables_to_appear_in_same_query!` cannot do this across crates.
///
/// ```
/// use diesel::prelude::*;
/// use pgqueue_core::schema::pgqueue_jobs;
///
/// diesel::table! { orders (id) { id -> BigInt, receipt_job -> Nullable<BigInt> } }
/// pgqueue_core::allow_pgqueue_jobs_to_appear_in_same_query!(orders);
///
/// let open = orders::table
///     .inner_join(pgqueue_jobs::table.on(orders::receipt_job.eq(pgqueue_jobs::id.nullable())))
///     .select((orders::id, pgqueue_jobs::state));
/// # let sql = diesel::debug_query::<diesel::pg::Pg, _>(&open).to_string();
/// # assert!(sql.contains(r#""orders" INNER JOIN "pgqueue_jobs""#), "{sql}");
/// ```
#[macro_export]
macro_rules! allow_pgqueue_jobs_to_appear_in_same_query {
    ($($table:ident),+ $(,)?) => {
        $(
            impl $crate::__private::TableNotEqual<$table::table> for $crate::schema::pgqueue_jobs::table {}
            impl $crate::__private::TableNotEqual<$crate::schema::pgqueue_jobs::table> for $table::table {}
        )+
    };
}
