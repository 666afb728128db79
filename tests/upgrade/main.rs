//! Rolling upgrades: this version's workers on the schema of the next one, and on a schema that is older than they need.
//!
//! No version has been released, so there is no older program to run. Instead this version plays the older one: `next.sql`
//! is a migration of the kind that may follow it, and every promise to it is one that the next version inherits.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod allowed;
mod newer_schema;
mod older_schema;
mod under_load;

use pgqueue_core::NewJob;
use serde_json::json;

/// What the next version may do to the schema.
const NEXT: &str = include_str!("next.sql");
/// The version that it writes into the ledger.
const NEXT_VERSION: &str = "99991231000000";

/// A job of kind `job`, with nothing set.
fn job() -> NewJob {
    NewJob::new("job", json!({}))
}
