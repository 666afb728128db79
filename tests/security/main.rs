//! What keeps a role of the database from doing more than its part.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod definers;

use diesel::connection::SimpleConnection;
use pgqueue_suite::TestDatabase;
