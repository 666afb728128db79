//! The archive of an import's receipts: a `.tar.gz`, made by sync code on a blocking thread.
//!
//! The invariant: the archive's name shows only whole archives. It is written beside it and moved at the end.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use diesel::prelude::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{Context, Job, JobState, Outcome};

use crate::jobs::{ArchiveReceipts, SendReceipt, Shop};
use crate::receipt;
use crate::schema::{order_jobs, orders};

/// How long the archive waits for receipts that are not written yet.
const RECEIPTS_WAIT: Duration = Duration::from_millis(500);

/// Packs the receipts of an import; waits, at no cost of an attempt, while some are to come.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a handler is given its job and context"
)]
pub(crate) fn archive_receipts(
    job: ArchiveReceipts,
    ctx: Context<Shop>,
) -> anyhow::Result<Outcome> {
    let shop = ctx.state();
    let mut conn = PgConnection::establish(&shop.database_url)?;
    if open_receipts(&mut conn, job.import_id)? > 0 {
        return Ok(Outcome::snooze(RECEIPTS_WAIT));
    }
    let order_ids: Vec<i64> = orders::table
        .filter(orders::import_id.eq(job.import_id))
        .order(orders::id)
        .select(orders::id)
        .load(&mut conn)?;
    let archive = shop.folder.archive(job.import_id);
    let draft = archive.with_extension("draft");
    pack(&order_ids, shop.folder.outbox(), &draft, &ctx)?;
    fs::rename(draft, archive)?;
    Ok(Outcome::output(order_ids.len()))
}

/// Gives the names of the files in an archive.
pub(crate) fn names(archive: &Path) -> anyhow::Result<Vec<String>> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(File::open(archive)?));
    let mut names = Vec::new();
    for entry in tar.entries()? {
        names.push(entry?.path()?.to_string_lossy().into_owned());
    }
    Ok(names)
}

fn open_receipts(conn: &mut PgConnection, import_id: i64) -> QueryResult<i64> {
    orders::table
        .inner_join(order_jobs::table)
        .inner_join(pgqueue_jobs::table.on(pgqueue_jobs::id.eq(order_jobs::job_id)))
        .filter(orders::import_id.eq(import_id))
        .filter(pgqueue_jobs::kind.eq(SendReceipt::KIND))
        .filter(pgqueue_jobs::state.eq_any([JobState::Pending, JobState::Running]))
        .count()
        .get_result(conn)
}

fn pack(
    order_ids: &[i64],
    outbox: &Path,
    target: &Path,
    ctx: &Context<Shop>,
) -> anyhow::Result<()> {
    let file = File::create(target)?;
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for &order_id in order_ids {
        ensure!(!ctx.is_cancelled(), "told to stop before order {order_id}");
        let name = receipt::file_name(order_id);
        // A receipt that its job could not write, and died over, is not there to be packed.
        if outbox.join(&name).exists() {
            tar.append_path_with_name(outbox.join(&name), &name)?;
        }
    }
    tar.into_inner()?.finish()?.sync_all()?;
    Ok(())
}
