//! `pgqueue-dashboard`: the admin site by itself.

mod command;

use std::process::ExitCode;

#[actix_web::main]
async fn main() -> ExitCode {
    command::run().await
}
