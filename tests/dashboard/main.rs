//! The dashboard over HTTP, each test on a database and a server of its own.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod api;
mod api_deeds;
mod api_figures;
mod bulk;
mod copying;
mod dead;
mod export;
mod figures;
mod jobs;
mod lists;
mod living;
mod mounting;
mod operations;

use pgqueue_suite::site;
