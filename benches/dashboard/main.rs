//! What the dashboard costs on a big table, on a durable PostgreSQL. First each page: how long until its first byte, and
//! what the database did for it. Then open tabs: how much of a core PostgreSQL takes for one that refreshes each second, and
//! for fifty.
//!
//! `cargo bench --bench dashboard` has 100,000 completed, 4,000 dead and 2,000 pending jobs and asks five times for each page,
//! `-- --full` 5,000,000, 200,000 and 100,000, and twenty times; `--jobs N` completed ones, `--rounds N`, `--only TEXT` for
//! the pages whose address has it, `--json`. `--seeded postgres://…` takes a database that `seed-database … large` has
//! filled, on which nothing is restarted: then no page is measured cold.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod addresses;
mod meter;
mod page;
mod report;
mod site;
mod tabs;

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use pgqueue_suite::bench::options::{Options, Sizes};
use pgqueue_suite::bench::{counting_server, work};
use pgqueue_suite::seed::{Scale, seed};

use meter::Meter;

/// How long tabs are watched, in the short form and in the full one.
const WATCHED: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];
/// How many tabs, from none to crowded: without any one sees what PostgreSQL does by itself.
const TABS: [usize; 3] = [0, 1, 50];

/// Takes `--seeded URL` out of the arguments, and reads the rest as every benchmark does.
fn read_args() -> anyhow::Result<(Options, Option<String>)> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut seeded = None;
    if let Some(place) = args.iter().position(|arg| arg == "--seeded") {
        anyhow::ensure!(place + 1 < args.len(), "--seeded needs a URL");
        seeded = args.drain(place..place + 2).nth(1);
    }
    let options = Options::parse(args, Sizes::new(100_000, 5), Sizes::new(5_000_000, 20))?;
    Ok((options, seeded))
}

/// Gives the parts of [`Scale::LARGE`] beside so many completed jobs.
fn scale(completed: i32) -> anyhow::Result<Scale> {
    let completed = u32::try_from(completed)?;
    Ok(Scale {
        completed,
        dead: completed / 25,
        pending: completed / 50,
    })
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let (options, seeded) = read_args()?;
    let server = match seeded {
        Some(_) => None,
        None => Some(counting_server()?),
    };
    let database = match &server {
        Some(server) => Some(server.database()?),
        None => None,
    };
    let url = match (seeded, &database) {
        (Some(url), _) => url,
        (None, Some(database)) => database.url().to_owned(),
        (None, None) => anyhow::bail!("there is no database"),
    };
    if database.is_some() {
        fill(&url, scale(options.jobs)?)?;
    }
    let meter = Meter::new(&url, server.as_ref())?;
    let mut pages = Vec::new();
    for address in addresses::find(&url).await? {
        if options.wants(&address) {
            pages.push(page::measure(&url, &meter, address, options.rounds).await?);
            report::progress(pages.last());
        }
    }
    let mut tabs = Vec::new();
    for count in TABS {
        let watched = WATCHED[usize::from(options.is_full)];
        tabs.push(tabs::watch(&url, &meter, count, watched).await?);
    }
    let title = format!("PostgreSQL {}, {}", meter.version, rows_of(&url)?);
    if options.json {
        println!("{:#}", report::json(&title, &pages, &tabs));
    } else {
        report::table(&title, &pages, &tabs, options.rounds);
    }
    Ok(())
}

/// Says how many jobs there are of each state.
fn rows_of(url: &str) -> anyhow::Result<String> {
    use pgqueue_core::JobState::{Completed, Dead, Pending};
    Ok(format!(
        "{} completed, {} dead and {} pending jobs",
        work::count(url, Completed)?,
        work::count(url, Dead)?,
        work::count(url, Pending)?
    ))
}

/// Fills the database and leaves it as autovacuum would in time, so that this does not run into the measurement.
fn fill(url: &str, scale: Scale) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut conn = PgConnection::establish(url)?;
    pgqueue_core::migrate(&mut conn)?;
    conn.batch_execute("SET synchronous_commit = off")?;
    seed(&mut conn, scale)?;
    conn.batch_execute("VACUUM ANALYZE")?;
    conn.batch_execute("CHECKPOINT")?;
    report::note(&format!(
        "filled with {} completed, {} dead and {} pending jobs in {:.0} s",
        scale.completed,
        scale.dead,
        scale.pending,
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}
