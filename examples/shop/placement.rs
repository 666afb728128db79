//! Placing an order with sync Diesel: the order, its jobs and its lines commit together, or not at all.
//!
//! [`placement_async`](crate::placement_async) does the same, word for word, with diesel-async.

use diesel::prelude::*;
use pgqueue_core::{Enqueued, Job};
use serde::Serialize;

use crate::basket::{Basket, Refusal};
use crate::jobs::{LowStockReport, NotifyWarehouse, SendReceipt};
use crate::models::{NewOrderJob, Product};
use crate::schema::{order_jobs, order_lines, orders, products};

/// An order that was placed.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    pub(crate) order_id: i64,
    pub(crate) jobs: PlacedJobs,
}

/// The ids of an order's jobs.
#[derive(Debug, Serialize)]
pub(crate) struct PlacedJobs {
    pub(crate) send_receipt: i64,
    pub(crate) notify_warehouse: i64,
    /// Shared with the other orders of the same seconds.
    pub(crate) low_stock_report: i64,
}

impl Placed {
    pub(crate) fn new(
        order_id: i64,
        receipt: Enqueued,
        shipment: Enqueued,
        report: Enqueued,
    ) -> Self {
        let jobs = PlacedJobs {
            send_receipt: receipt.id,
            notify_warehouse: shipment.id,
            low_stock_report: report.id,
        };
        Self { order_id, jobs }
    }

    /// Gives the rows that say which jobs are the order's own.
    pub(crate) fn own_jobs(&self) -> Vec<NewOrderJob> {
        let order_id = self.order_id;
        [self.jobs.send_receipt, self.jobs.notify_warehouse]
            .map(|job_id| NewOrderJob { job_id, order_id })
            .into()
    }
}

/// Places an order. The lines come last: what a refused one rolls back is then real, an order and three jobs.
pub(crate) fn place(
    conn: &mut PgConnection,
    basket: &Basket,
    import_id: Option<i64>,
) -> Result<Placed, Refusal> {
    basket.check_texts()?;
    conn.transaction(|conn| {
        let order_id = diesel::insert_into(orders::table)
            .values(basket.header(import_id))
            .returning(orders::id)
            .get_result(conn)?;
        let receipt = SendReceipt { order_id }.enqueue(conn)?;
        let shipment = NotifyWarehouse { order_id }.enqueue(conn)?;
        let report = LowStockReport::soon().enqueue(conn)?;
        let placed = Placed::new(order_id, receipt, shipment, report);
        diesel::insert_into(order_jobs::table)
            .values(placed.own_jobs())
            .execute(conn)?;
        let catalogue = products::table
            .filter(products::sku.eq_any(basket.skus()))
            .select(Product::as_select())
            .load(conn)?;
        diesel::insert_into(order_lines::table)
            .values(basket.priced(order_id, &catalogue)?)
            .execute(conn)?;
        Ok(placed)
    })
}
