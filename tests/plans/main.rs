//! Plans: no statement reads the jobs that it is not about, whenever it was planned and however many there are.
//!
//! A worker prepares its statements when the table is empty and keeps them for weeks. So each statement is prepared and
//! run on an empty, analysed table, 800,000 jobs are loaded behind its back, and then it is run again and metered: by
//! sequential scans, by rows fetched, and by buffers touched for each row that it answers. Never by time.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod actions;
mod claim;
mod lists;
mod load;
mod meter;
mod statements;
