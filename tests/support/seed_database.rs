//! `cargo run --bin seed-database -- postgres://… [small | large]`: migrates a database and fills it, to look at the dashboard.

use std::process::ExitCode;

use diesel::prelude::*;
use pgqueue_suite::seed::{Scale, seed};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("name a database's URL")?;
    let scale = match arguments.next().as_deref() {
        None | Some("small") => Scale::SMALL,
        Some("large") => Scale::LARGE,
        Some(other) => return Err(format!("{other:?} is neither small nor large").into()),
    };
    let mut conn = PgConnection::establish(&url)?;
    pgqueue_core::migrate(&mut conn)?;
    seed(&mut conn, scale)?;
    Ok(ExitCode::SUCCESS)
}
