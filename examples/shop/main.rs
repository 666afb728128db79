//! A shop on pgqueue: orders from a file and over HTTP, receipts, a warehouse that refuses some, reports, an archive.
//!
//! Run it with `./demo`, or `./demo --once`. Start reading at [`placement`]: an order and its jobs commit together. Then
//! [`jobs`] lists what there is to do, with one file a handler, and [`evidence`] checks that it was done.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it tells the person where to look"
)]

mod archive;
mod arguments;
mod basket;
mod database;
mod dock;
mod evidence;
mod folder;
mod import;
mod jobs;
mod models;
mod placement;
mod placement_async;
mod progress;
mod receipt;
mod report;
mod running;
mod schema;
mod shipment;
mod stock;
mod warehouse;
mod warehouse_log;
mod web;

use std::env;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use actix_web::rt;
use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use arguments::{HELP, Mode};
use evidence::Evidence;
use import::Import;
use progress::Progress;
use running::Running;
use web::{DASHBOARD, Guide, Website};

#[actix_web::main]
async fn main() -> ExitCode {
    let mode = match arguments::parse(env::args().skip(1)) {
        Ok(mode) => mode,
        Err(message) => {
            eprintln!("shop: {message}");
            return ExitCode::from(2);
        }
    };
    log_to_stderr();
    let ended = match mode {
        Mode::Help => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Mode::Once => once().await,
        Mode::UntilSignal => until_signal().await,
    };
    ended.unwrap_or_else(|error| {
        eprintln!("shop: {error:#}");
        ExitCode::FAILURE
    })
}

/// Imports, waits until every job has ended, and checks what came of it.
async fn once() -> anyhow::Result<ExitCode> {
    let mut shop = Running::start()?;
    println!("files     {}", shop.folder.path().display());
    println!("database  {}\n", shop.database.psql);
    let mut progress = shop.progress();
    let work = async {
        let import = imported(&mut shop.import, &mut progress).await?;
        report::print_import(&import);
        progress.settle().await?;
        anyhow::Ok(import)
    };
    let import = tokio::select! {
        import = work => import?,
        ended = &mut shop.worker => {
            ended?.context("the worker cannot run")?;
            shop.stop().await?;
            eprintln!("shop: interrupted");
            return Ok(ExitCode::FAILURE);
        }
    };
    let evidence = Evidence::gather(import, &shop.database, &shop.folder)?;
    let folder = shop.folder.path().to_owned();
    shop.stop().await?;
    let contradictions = evidence.contradictions();
    report::print_result(&evidence, &contradictions);
    println!(
        "\nfiles are kept until the next start: {}",
        folder.display()
    );
    Ok(ExitCode::from(u8::from(!contradictions.is_empty())))
}

/// Imports, and takes orders until Ctrl-C.
async fn until_signal() -> anyhow::Result<ExitCode> {
    let website = Website::bind()?;
    let mut shop = Running::start()?;
    let guide = guide(&shop, &website);
    println!("{guide}");
    let server = website.serve(shop.pool.clone(), Guide(guide))?;
    let server_handle = server.handle();
    rt::spawn(server);
    let mut progress = shop.progress();
    let work = async {
        report::print_import(&imported(&mut shop.import, &mut progress).await?);
        Err::<(), _>(progress.follow().await)
    };
    tokio::select! {
        failed = work => failed?,
        ended = &mut shop.worker => ended?.context("the worker cannot run")?,
    }
    let folder = shop.folder.path().to_owned();
    server_handle.stop(true).await;
    shop.stop().await?;
    println!(
        "\nstopped; files are kept until the next start: {}",
        folder.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Waits for the import, showing how it goes.
async fn imported(
    import: &mut tokio::task::JoinHandle<anyhow::Result<Import>>,
    progress: &mut Progress,
) -> anyhow::Result<Import> {
    tokio::select! {
        import = import => import?,
        error = progress.follow() => Err(error),
    }
}

fn guide(shop: &Running, website: &Website) -> String {
    let address = website.address;
    let folder = shop.folder.path().display();
    let (psql, warehouse) = (&shop.database.psql, &shop.warehouse.url);
    format!(
        "\
The Tea Shop, on pgqueue

dashboard  http://{address}{DASHBOARD}/
           what the jobs do; below \"dead\" the orders that the warehouse refused, as one cause to act on

website    http://{address}/
warehouse  {warehouse}
database   {psql}
files      {folder}
           outbox/             a receipt for each order
           warehouse.log       what the warehouse was asked, and its answers
           low-stock.txt       what runs out
           receipts-of-import-*.tar.gz

Place an order:
  curl -i http://{address}/orders --json '{{\"customer\": \"Ada Lovelace\", \"email\": \"ada@example.org\", \
\"postcode\": \"10115\", \"lines\": [{{\"sku\": \"TEA-003\", \"quantity\": 2}}]}}'
It is refused with an unknown sku; with postcode 27498 the warehouse refuses it, and its job ends as dead.

Ctrl-C ends the shop.
"
    )
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}
