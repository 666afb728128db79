//! Interleavings: every order in which the steps of two or three sessions can come, on a real server.
//!
//! A scenario gives each session its steps: our statements as they are shipped, with the settings of the engine's sessions
//! or those of a host's, and where a transaction of one is open while the others act. The runner plays every order that keeps
//! each session's own, lets who waits for a lock wait, and then holds the rows, the moves of each job and what the sessions
//! were told against the rules. All of it again under each default isolation; a part of it under other planner settings,
//! all of it there, too, where `PGQUEUE_INTERLEAVINGS=all` asks for it. Both at once are not tried: under other planner
//! settings the isolation is read committed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod acts;
mod broken;
mod cancels;
mod claims;
mod ends;
mod hold;
mod keys;
mod outcome;
mod play;
mod purges;
mod reapers;
mod rules;
mod script;
mod settings;
mod stage;
mod statements;
