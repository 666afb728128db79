//! The first words of the engine's statements, by which a fault or a rewrite finds them.

/// Registers a worker.
pub const REGISTER: &str = "-- Registers a worker";
/// Renews a lease.
pub const BEAT: &str = "-- Renews a worker's lease";
/// Claims jobs.
pub const CLAIM: &str = "-- Claims due jobs of several queues";
/// Ends runs.
pub const FINISH: &str = "-- Ends runs, each";
/// Completes a job in its handler's transaction.
pub const COMPLETE: &str = "-- Completes a job inside";
/// Deletes workers whose lease has run out.
pub const EXPIRE: &str = "-- Deletes the rows of workers";
/// Takes jobs from dead workers.
pub const RESCUE: &str = "-- Takes running jobs from dead workers";
/// Releases jobs whose claim was not answered.
pub const RECONCILE: &str = "-- Releases, unburnt, jobs";
/// Reads which migrations there are.
pub const LEDGER: &str = "-- Tells which migrations";

/// Commits.
pub const COMMIT: &str = "COMMIT";
/// What is counted where an answer was cut, whichever.
pub const AN_ANSWER: &str = "an answer was cut";

/// All that workers run again and again.
pub const OF_WORKERS: [&str; 8] = [
    REGISTER, BEAT, CLAIM, FINISH, COMPLETE, EXPIRE, RESCUE, RECONCILE,
];
