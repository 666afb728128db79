//! The report of products that run out. It is made anew each time, so that a repeat replaces it.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use pgqueue_core::Context;

use crate::jobs::{LowStockReport, Shop};

/// Fewer are few.
const FEW: i64 = 50;

#[derive(Debug, QueryableByName)]
struct Shortage {
    #[diesel(sql_type = Text)]
    sku: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    remaining: i64,
}

/// Writes the report and answers how many products are in it, which is kept with the job.
pub(crate) async fn low_stock_report(
    _job: LowStockReport,
    ctx: Context<Shop>,
) -> anyhow::Result<usize> {
    let mut conn = ctx.connection().await?;
    let shortages: Vec<Shortage> = diesel::sql_query(include_str!("low_stock.sql"))
        .bind::<BigInt, _>(FEW)
        .load(&mut *conn)
        .await?;
    let lines = shortages
        .iter()
        .map(|it| format!("{} {:>7} left  {}\n", it.sku, it.remaining, it.name));
    let report = ctx.state().folder.low_stock_report();
    let draft = report.with_extension("draft");
    tokio::fs::write(&draft, lines.collect::<String>()).await?;
    tokio::fs::rename(&draft, &report).await?;
    Ok(shortages.len())
}
