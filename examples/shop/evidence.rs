//! What a run left behind, read back from where others would look: the database, the outbox, the archive and the
//! warehouse's log. And whether all of that fits together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use anyhow::Context as _;
use diesel::prelude::*;
use pgqueue_core::schema::pgqueue_jobs;
use pgqueue_core::{Job, JobRow, JobState};

use crate::database::Database;
use crate::folder::Folder;
use crate::import::Import;
use crate::jobs::{KINDS, NotifyWarehouse, SendReceipt};
use crate::schema::orders;
use crate::warehouse::CLOSED_POSTCODES;
use crate::warehouse_log::{self, Entry};
use crate::{archive, receipt};

/// All of it, for the orders of one import.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) import: Import,
    /// Postcodes by order.
    pub(crate) orders: BTreeMap<i64, String>,
    /// The jobs that were enqueued since the shop opened.
    pub(crate) jobs: Vec<JobRow>,
    /// The orders that the Message-IDs in the outbox name.
    pub(crate) receipts: Vec<i64>,
    /// Orders from before, whose receipts a shop that was killed had left to be written.
    pub(crate) earlier: BTreeSet<i64>,
    pub(crate) archived: Vec<String>,
    /// The warehouse's log of the jobs.
    pub(crate) requests: Vec<Entry>,
}

impl Evidence {
    /// Gathers it.
    pub(crate) fn gather(
        import: Import,
        database: &Database,
        folder: &Folder,
    ) -> anyhow::Result<Self> {
        let mut conn = PgConnection::establish(&database.url)?;
        let orders = orders::table
            .filter(orders::import_id.eq(import.id))
            .select((orders::id, orders::postcode))
            .load(&mut conn)?;
        let ours = pgqueue_jobs::table
            .filter(pgqueue_jobs::kind.eq_any(KINDS))
            .order(pgqueue_jobs::id)
            .select(JobRow::as_select());
        let jobs: Vec<JobRow> = ours
            .clone()
            .filter(pgqueue_jobs::created_at.ge(database.opened_at))
            .load(&mut conn)?;
        let earlier: Vec<JobRow> = ours
            .filter(pgqueue_jobs::created_at.lt(database.opened_at))
            .filter(pgqueue_jobs::finished_at.ge(database.opened_at))
            .filter(pgqueue_jobs::kind.eq(SendReceipt::KIND))
            .load(&mut conn)?;
        let ids: BTreeSet<i64> = jobs.iter().map(|job| job.id).collect();
        let mut requests = warehouse_log::read(&folder.warehouse_log())?;
        requests.retain(|request| ids.contains(&request.job_id));
        Ok(Self {
            orders: orders.into_iter().collect(),
            earlier: earlier.iter().filter_map(order_of).collect(),
            receipts: receipt::orders_in(folder.outbox())?,
            archived: archive::names(&folder.archive(import.id))
                .context("cannot read the archive")?,
            jobs,
            requests,
            import,
        })
    }

    /// Gives the jobs of a kind.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a JobRow> {
        self.jobs.iter().filter(move |job| job.kind == kind)
    }

    /// Gives the jobs that are dead.
    pub(crate) fn dead(&self) -> impl Iterator<Item = &JobRow> {
        self.jobs.iter().filter(|job| job.state == JobState::Dead)
    }

    /// Gives what does not fit together; nothing if all is right.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let checks = [
            self.check_orders(),
            self.check_jobs(),
            self.check_receipts(),
            self.check_archive(),
            self.check_dead(),
            self.check_requests(),
            self.check_shipments(),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    fn check_orders(&self) -> Result<(), String> {
        let (stored, placed) = (self.orders.len(), self.import.placed);
        if stored == placed {
            return Ok(());
        }
        Err(format!("{placed} orders were placed, {stored} are stored"))
    }

    /// One receipt and one shipment an order, none for what was rolled back, and every job has ended.
    fn check_jobs(&self) -> Result<(), String> {
        for kind in [SendReceipt::KIND, NotifyWarehouse::KIND] {
            let of_jobs = self.of_kind(kind).filter_map(order_of);
            same(&format!("orders that have a {kind}"), of_jobs, self.ids())?;
        }
        match self.jobs.iter().find(|job| !ended_as_it_may(job)) {
            Some(job) => Err(format!("job {} ({}) is {}", job.id, job.kind, job.state)),
            None => Ok(()),
        }
    }

    fn check_receipts(&self) -> Result<(), String> {
        let receipts = self.receipts.iter().copied();
        let of_import = receipts.filter(|order| !self.earlier.contains(order));
        same("orders that have a receipt on disk", of_import, self.ids())
    }

    fn check_archive(&self) -> Result<(), String> {
        let archived = self.archived.iter().cloned();
        same(
            "files in the archive",
            archived,
            self.ids().map(receipt::file_name),
        )
    }

    /// Dead are exactly the shipments to closed postcodes, and there are some.
    fn check_dead(&self) -> Result<(), String> {
        let dead = self.dead().filter_map(order_of);
        same("orders that have a dead job", dead, self.closed_ids())?;
        if self.dead().next().is_none() {
            return Err("no job is dead, and no order goes to a closed postcode".to_owned());
        }
        Ok(())
    }

    /// The warehouse saw attempts 1, 2, 3 … of each job, up to the one that the queue counts.
    fn check_requests(&self) -> Result<(), String> {
        let mut seen: BTreeMap<i64, Vec<&Entry>> = BTreeMap::new();
        for request in &self.requests {
            seen.entry(request.job_id).or_default().push(request);
        }
        for job in self.of_kind(NotifyWarehouse::KIND) {
            let runs = seen.remove(&job.id).unwrap_or_default();
            let attempts = runs.iter().map(|run| run.attempt);
            let what = format!("attempts of job {} in the warehouse's log", job.id);
            same(&what, attempts, 1..=job.attempt)?;
            if !runs.is_sorted_by(|one, next| one.fencing_token < next.fencing_token) {
                return Err(format!("the fencing tokens of job {} do not rise", job.id));
            }
        }
        Ok(())
    }

    fn check_shipments(&self) -> Result<(), String> {
        let taken = self.requests.iter().filter(|request| request.status == 201);
        let closed: BTreeSet<i64> = self.closed_ids().collect();
        let open = self.ids().filter(|order| !closed.contains(order));
        same(
            "orders that the warehouse took",
            taken.map(|request| request.order_id),
            open,
        )
    }

    fn ids(&self) -> impl Iterator<Item = i64> {
        self.orders.keys().copied()
    }

    fn closed_ids(&self) -> impl Iterator<Item = i64> {
        let orders = self.orders.iter();
        orders
            .filter(|(_, postcode)| CLOSED_POSTCODES.contains(&postcode.as_str()))
            .map(|(order, _)| *order)
    }
}

/// Only the warehouse refuses for good; [`Evidence::check_dead`] says which orders.
fn ended_as_it_may(job: &JobRow) -> bool {
    match job.state {
        JobState::Completed => true,
        JobState::Dead => job.kind == NotifyWarehouse::KIND,
        JobState::Pending | JobState::Running | JobState::Cancelled => false,
    }
}

/// Gives the order that a job is of.
pub(crate) fn order_of(job: &JobRow) -> Option<i64> {
    job.payload.get("order_id")?.as_i64()
}

/// Compares two collections as multisets, and says what is missing and what is too much.
fn same<T: Ord + Display>(
    what: &str,
    have: impl IntoIterator<Item = T>,
    wanted: impl IntoIterator<Item = T>,
) -> Result<(), String> {
    let mut balance: BTreeMap<T, i32> = BTreeMap::new();
    for item in have {
        *balance.entry(item).or_default() += 1;
    }
    for item in wanted {
        *balance.entry(item).or_default() -= 1;
    }
    let missing = list(balance.iter().filter(|(_, count)| **count < 0));
    let surplus = list(balance.iter().filter(|(_, count)| **count > 0));
    if missing.is_empty() && surplus.is_empty() {
        return Ok(());
    }
    Err(format!("{what}: missing [{missing}], too much [{surplus}]"))
}

fn list<'a, T: Display + 'a>(items: impl Iterator<Item = (&'a T, &'a i32)>) -> String {
    let texts: Vec<String> = items.map(|(item, _)| item.to_string()).collect();
    texts.join(", ")
}
