//! Starts a private PostgreSQL, prints its URL, and keeps it until standard input ends or Ctrl-C.
//!
//! Ctrl-C needs no handler: the server goes with this process, whatever ends it.

use std::io;

use local_postgres::{Error, LocalPostgres};

fn main() -> Result<(), Error> {
    let server = LocalPostgres::start()?;
    print_line(&server.url("postgres"));
    // Whatever ends the input, an error too, is the sign to stop.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).ok();
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the URL is what this program is run for"
)]
fn print_line(url: &str) {
    println!("{url}");
}
