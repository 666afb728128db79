//! The shop's jobs: their payloads, and the worker that runs them. Each handler has a file of its own.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use pgqueue_core::{Job, NewJob, Worker};
use serde::{Deserialize, Serialize};

use crate::archive::archive_receipts;
use crate::folder::Folder;
use crate::receipt::send_receipt;
use crate::shipment::notify_warehouse;
use crate::stock::low_stock_report;

/// What the shop enqueues, and nothing else in the database.
pub(crate) const KINDS: [&str; 4] = [
    SendReceipt::KIND,
    NotifyWarehouse::KIND,
    LowStockReport::KIND,
    ArchiveReceipts::KIND,
];

/// Sends the customer a receipt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SendReceipt {
    pub(crate) order_id: i64,
}

impl Job for SendReceipt {
    const KIND: &'static str = "send_receipt";
    const QUEUE: &'static str = "mail";
}

/// Asks the warehouse to ship an order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotifyWarehouse {
    pub(crate) order_id: i64,
}

impl Job for NotifyWarehouse {
    const KIND: &'static str = "notify_warehouse";
    const QUEUE: &'static str = "warehouse";
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(10));
}

/// Lists the products that run out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LowStockReport {}

impl Job for LowStockReport {
    const KIND: &'static str = "low_stock_report";
}

impl LowStockReport {
    /// Makes the one report that is due soon: the orders until then share it.
    pub(crate) fn soon() -> NewJob {
        pgqueue_core::new(Self {})
            .delay(Duration::from_secs(2))
            .unique_key("low_stock_report")
    }
}

/// Packs the receipts into one file, once all of an import are written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ArchiveReceipts {
    pub(crate) import_id: i64,
}

impl Job for ArchiveReceipts {
    const KIND: &'static str = "archive_receipts";
}

/// What all handlers share.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) folder: Arc<Folder>,
    pub(crate) database_url: String,
    pub(crate) warehouse_url: String,
    pub(crate) http: reqwest::Client,
}

/// Makes the worker. Retries are quick, so that a person can watch them.
pub(crate) fn worker(
    pool: Pool<AsyncPgConnection>,
    shop: Shop,
) -> Result<Worker, pgqueue_core::Error> {
    Worker::builder(pool)
        .state(shop)
        .handle(send_receipt)
        .handle(notify_warehouse)
        .handle(low_stock_report)
        .handle_blocking(archive_receipts)
        .concurrency(10)
        .queue(NotifyWarehouse::QUEUE, 4)
        .retry_base_wait(Duration::from_millis(200))
        .poll_interval(Duration::from_secs(1))
        .build()
}
