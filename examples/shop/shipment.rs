//! Telling the warehouse to ship an order.
//!
//! "Come back later" is an answer, which the warehouse times; a refusal is an error, which the queue times. Both cost
//! an attempt.

use std::time::Duration;

use anyhow::{Context as _, bail};
use pgqueue_core::{Context, Outcome};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};

use crate::jobs::{NotifyWarehouse, Shop};
use crate::receipt;

/// What is sent to the warehouse.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shipment {
    pub(crate) order_id: i64,
    pub(crate) postcode: String,
    pub(crate) pieces: Vec<(String, i32)>,
    pub(crate) job_id: i64,
    pub(crate) attempt: i32,
    /// With the job, it makes each run distinct for the warehouse's log.
    pub(crate) fencing_token: i64,
}

/// Posts the order to the warehouse.
pub(crate) async fn notify_warehouse(
    job: NotifyWarehouse,
    ctx: Context<Shop>,
) -> anyhow::Result<Outcome> {
    let (order, lines) = {
        let mut conn = ctx.connection().await?;
        receipt::read(&mut conn, job.order_id).await?
    };
    let shipment = Shipment {
        order_id: order.id,
        postcode: order.postcode,
        pieces: lines
            .into_iter()
            .map(|line| (line.sku, line.quantity))
            .collect(),
        job_id: ctx.id(),
        attempt: ctx.attempt(),
        fencing_token: ctx.fencing_token(),
    };
    let shop = ctx.state();
    let request = shop.http.post(&shop.warehouse_url).json(&shipment);
    understand(request.send().await?).await
}

async fn understand(answer: reqwest::Response) -> anyhow::Result<Outcome> {
    let status = answer.status();
    if status.is_success() {
        return Ok(Outcome::done());
    }
    let wait = answer.headers().get(RETRY_AFTER).cloned();
    let reason = answer.text().await?;
    if status == StatusCode::TOO_MANY_REQUESTS {
        let seconds = wait
            .context("the warehouse answered 429 without Retry-After")?
            .to_str()?
            .parse()?;
        return Ok(Outcome::retry_after(Duration::from_secs(seconds), reason));
    }
    bail!("the warehouse refused: {status}: {reason}");
}
