//! The import of a file of orders, with sync Diesel on a blocking thread.
//!
//! The file has a row for each line of an order, and the rows of an order follow each other. Each order is a transaction
//! of its own: a refused one leaves nothing behind, and the next ones go on.

use std::path::Path;

use anyhow::Context as _;
use csv::{ReaderBuilder, StringRecord};
use diesel::prelude::*;
use pgqueue_core::Job;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::basket::{Basket, Line, Refusal};
use crate::jobs::ArchiveReceipts;
use crate::placement::place;
use crate::schema::imports;

/// What an import did.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) id: i64,
    pub(crate) placed: usize,
    pub(crate) refused: Vec<RefusedOrder>,
    /// Is false when it was told to stop before the end of the file.
    pub(crate) whole: bool,
}

/// An order of the file that was rolled back.
#[derive(Debug)]
pub(crate) struct RefusedOrder {
    /// Its number in the file.
    pub(crate) number: String,
    /// The line of the file that is at fault.
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// One row of the file.
#[derive(Debug, Deserialize)]
struct Row {
    customer: String,
    email: String,
    postcode: String,
    sku: String,
    quantity: i32,
}

/// The rows of one order.
#[derive(Debug, Default)]
struct Group {
    number: String,
    rows: Vec<(u64, StringRecord)>,
}

/// Imports a file; stops between two orders when told to.
pub(crate) fn import(
    conn: &mut PgConnection,
    file: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<Import> {
    let (headers, groups) = read(file)?;
    let id = begin(conn, file)?;
    let (mut placed, mut refused, mut whole) = (0, Vec::new(), true);
    for group in &groups {
        if stop.is_cancelled() {
            whole = false;
            break;
        }
        match import_order(conn, group, &headers, id)? {
            None => placed += 1,
            Some(order) => refused.push(order),
        }
    }
    finish(conn, id)?;
    Ok(Import {
        id,
        placed,
        refused,
        whole,
    })
}

/// Places one order; gives it back if it is refused. A failing database ends the import.
fn import_order(
    conn: &mut PgConnection,
    group: &Group,
    headers: &StringRecord,
    import_id: i64,
) -> anyhow::Result<Option<RefusedOrder>> {
    let basket = match group.basket(headers) {
        Ok(basket) => basket,
        Err(refused) => return Ok(Some(refused)),
    };
    match place(conn, &basket, Some(import_id)) {
        Ok(_) => Ok(None),
        Err(Refusal::Rule(line, reason)) => Ok(Some(group.refused(line.unwrap_or(0), reason))),
        Err(error @ Refusal::Database(_)) => {
            let number = &group.number;
            Err(error).with_context(|| format!("cannot import order {number}"))
        }
    }
}

fn begin(conn: &mut PgConnection, file: &Path) -> QueryResult<i64> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    diesel::insert_into(imports::table)
        .values(imports::file.eq(name))
        .returning(imports::id)
        .get_result(conn)
}

/// Closes the import; the job that archives its receipts commits with that.
fn finish(conn: &mut PgConnection, import_id: i64) -> QueryResult<()> {
    conn.transaction(|conn| {
        diesel::update(imports::table.find(import_id))
            .set(imports::finished_at.eq(diesel::dsl::now))
            .execute(conn)?;
        ArchiveReceipts { import_id }.enqueue(conn)?;
        Ok(())
    })
}

/// Reads the file into one group an order. Rows of a wrong length are kept, so that their order is refused.
fn read(file: &Path) -> anyhow::Result<(StringRecord, Vec<Group>)> {
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .from_path(file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let headers = reader.headers()?.clone();
    let mut groups: Vec<Group> = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let number = record.get(0).unwrap_or_default();
        if groups.last().is_none_or(|group| group.number != number) {
            let number = number.to_owned();
            groups.push(Group {
                number,
                ..Group::default()
            });
        }
        if let Some(group) = groups.last_mut() {
            group.rows.push((line, record));
        }
    }
    Ok((headers, groups))
}

impl Group {
    fn basket(&self, headers: &StringRecord) -> Result<Basket, RefusedOrder> {
        let mut basket: Option<Basket> = None;
        for (index, (_, record)) in self.rows.iter().enumerate() {
            let row: Row = record
                .deserialize(Some(headers))
                .map_err(|error| self.refused(index, error.to_string()))?;
            let lines = &mut basket
                .get_or_insert_with(|| Basket {
                    customer: row.customer,
                    email: row.email,
                    postcode: row.postcode,
                    lines: Vec::new(),
                })
                .lines;
            lines.push(Line {
                sku: row.sku,
                quantity: row.quantity,
            });
        }
        basket.ok_or_else(|| self.refused(0, "the order has no lines".to_owned()))
    }

    fn refused(&self, index: usize, reason: String) -> RefusedOrder {
        RefusedOrder {
            number: self.number.clone(),
            line: self.rows.get(index).map_or(0, |(line, _)| *line),
            reason,
        }
    }
}
