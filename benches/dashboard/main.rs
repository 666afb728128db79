//! What the dashboard costs on a big table: 5,000,000 completed, 200,000 dead and 100,000 pending jobs on a durable
//! PostgreSQL. First each page: how long until its first byte, and what the database did for it. Then open tabs: how
//! much of a core PostgreSQL takes for one that refreshes each second, and for fifty.
//!
//! `cargo bench --bench dashboard`; `-- --short` on a tenth of the rows, `-- --only TEXT` for the pages whose address has
//! it, `-- --json` for programs. `-- --seeded postgres://…` takes a database that `seed-database … large` has filled, on
//! which nothing is restarted: then no page is measured cold.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod addresses;
mod meter;
mod page;
mod report;
mod site;
mod tabs;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use local_postgres::LocalPostgres;
use pgqueue_suite::seed::{Scale, seed};

use meter::Meter;

/// How long tabs are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// How many tabs, from none to crowded: without any one sees what PostgreSQL does by itself.
const TABS: [usize; 3] = [0, 1, 50];

struct Options {
    scale: Scale,
    only: Option<String>,
    json: bool,
    seeded: Option<String>,
}

impl Options {
    fn from_args() -> anyhow::Result<Self> {
        let mut options = Self {
            scale: Scale::LARGE,
            only: None,
            json: false,
            seeded: None,
        };
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(name) = args.next() {
            let mut value = || args.next().with_context(|| format!("{name} needs a value"));
            match name.as_str() {
                "--short" => options.scale = tenth(options.scale),
                "--json" => options.json = true,
                "--only" => options.only = Some(value()?),
                "--seeded" => options.seeded = Some(value()?),
                _ => anyhow::bail!(
                    "unknown option {name}: --short, --only, --json and --seeded are known"
                ),
            }
        }
        Ok(options)
    }
}

fn tenth(scale: Scale) -> Scale {
    Scale {
        completed: scale.completed / 10,
        dead: scale.dead / 10,
        pending: scale.pending / 10,
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::from_args()?;
    let server = match options.seeded {
        Some(_) => None,
        None => Some(start()?),
    };
    let database = match &server {
        Some(server) => Some(server.database()?),
        None => None,
    };
    let url = match (&options.seeded, &database) {
        (Some(url), _) => url.clone(),
        (None, Some(database)) => database.url().to_owned(),
        (None, None) => anyhow::bail!("there is no database"),
    };
    if database.is_some() {
        fill(&url, options.scale)?;
    }
    let meter = Meter::new(&url, server.as_ref())?;
    let mut pages = Vec::new();
    for address in addresses::find(&url).await? {
        if options
            .only
            .as_ref()
            .is_none_or(|text| address.contains(text.as_str()))
        {
            pages.push(page::measure(&url, &meter, address).await?);
            report::progress(pages.last());
        }
    }
    let mut tabs = Vec::new();
    for count in TABS {
        tabs.push(tabs::watch(&url, &meter, count, WATCHED).await?);
    }
    if options.json {
        println!("{:#}", report::json(&meter, &pages, &tabs));
    } else {
        report::table(&meter, &pages, &tabs);
    }
    Ok(())
}

/// Starts a server that says what it did for each statement, if it has the extension.
fn start() -> anyhow::Result<LocalPostgres> {
    let durable = || {
        LocalPostgres::builder()
            .durable()
            .setting("shared_buffers", "1GB")
            .setting("max_wal_size", "8GB")
            .unless_env("DATABASE_URL")
    };
    let watched = durable()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.track_planning", "on")
        .setting("pg_stat_statements.track_utility", "off")
        .start();
    Ok(watched.or_else(|_not_installed| durable().start())?)
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
