//! Placing an order with diesel-async: [`placement`](crate::placement), word for word.

use diesel::prelude::{ExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use pgqueue_core::Job;

use crate::basket::{Basket, Refusal};
use crate::jobs::{LowStockReport, NotifyWarehouse, SendReceipt};
use crate::models::Product;
use crate::placement::Placed;
use crate::schema::{order_jobs, order_lines, orders, products};

/// Places an order that came over HTTP.
pub(crate) async fn place(
    conn: &mut AsyncPgConnection,
    basket: &Basket,
) -> Result<Placed, Refusal> {
    basket.check_texts()?;
    conn.transaction(async |conn| {
        let order_id = diesel::insert_into(orders::table)
            .values(basket.header(None))
            .returning(orders::id)
            .get_result(conn)
            .await?;
        let receipt = SendReceipt { order_id }.enqueue_async(conn).await?;
        let shipment = NotifyWarehouse { order_id }.enqueue_async(conn).await?;
        let report = LowStockReport::soon().enqueue_async(conn).await?;
        let placed = Placed::new(order_id, receipt, shipment, report);
        diesel::insert_into(order_jobs::table)
            .values(placed.own_jobs())
            .execute(conn)
            .await?;
        let catalogue = products::table
            .filter(products::sku.eq_any(basket.skus()))
            .select(Product::as_select())
            .load(conn)
            .await?;
        diesel::insert_into(order_lines::table)
            .values(basket.priced(order_id, &catalogue)?)
            .execute(conn)
            .await?;
        Ok(placed)
    })
    .await
}
