//! The dashboard over HTTP, each test on a database and a server of its own.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod figures;
mod living;
mod mounting;

use pgqueue_suite::site;
mod api;
mod mounting;
mod operations;
mod site;
