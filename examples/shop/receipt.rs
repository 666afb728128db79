//! Receipts: messages by RFC 5322, one file an order in the outbox.
//!
//! Jobs run at least once. The invariant that makes a repeat harmless: everything in a receipt, its Message-ID and its
//! file's name too, comes from the order, so that a second one replaces the first.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use diesel::prelude::{ExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::{AsyncFileTransport, AsyncTransport, Tokio1Executor};
use pgqueue_core::Context;

use crate::jobs::{SendReceipt, Shop};
use crate::models::{Order, OrderLine};
use crate::schema::{order_lines, orders, products};

/// The part of a Message-ID after the order.
const DOMAIN: &str = "shop.example";

/// Writes the receipt of an order into the outbox.
pub(crate) async fn send_receipt(job: SendReceipt, ctx: Context<Shop>) -> anyhow::Result<()> {
    let (order, lines) = {
        let mut conn = ctx.connection().await?;
        read(&mut conn, job.order_id).await?
    };
    let message = compose(&order, &lines)?;
    let folder = &ctx.state().folder;
    // The transport chooses the name by chance. Moving the finished file makes the receipt appear whole, or not at all.
    let transport = AsyncFileTransport::<Tokio1Executor>::new(folder.drafts());
    let draft = transport.send(message).await?;
    let draft = folder.drafts().join(draft).with_extension("eml");
    let receipt = folder.outbox().join(file_name(order.id));
    tokio::fs::rename(&draft, &receipt)
        .await
        .with_context(|| format!("cannot move {} to {}", draft.display(), receipt.display()))
}

/// Reads an order and its lines.
pub(crate) async fn read(
    conn: &mut AsyncPgConnection,
    order_id: i64,
) -> diesel::QueryResult<(Order, Vec<OrderLine>)> {
    let order = orders::table
        .find(order_id)
        .select(Order::as_select())
        .first(conn)
        .await?;
    let lines = order_lines::table
        .inner_join(products::table)
        .filter(order_lines::order_id.eq(order_id))
        .order(order_lines::position)
        .select(OrderLine::as_select())
        .load(conn)
        .await?;
    Ok((order, lines))
}

/// Reads the Message-ID of every message in a folder and gives the orders they are of.
pub(crate) fn orders_in(outbox: &Path) -> anyhow::Result<Vec<i64>> {
    let mut orders = Vec::new();
    for entry in fs::read_dir(outbox)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let order = text.lines().find_map(order_of_header).with_context(|| {
            format!(
                "{} has no Message-ID of an order of this shop",
                path.display()
            )
        })?;
        orders.push(order);
    }
    Ok(orders)
}

/// Gives the name of the file with an order's receipt.
pub(crate) fn file_name(order_id: i64) -> String {
    format!("order-{order_id}@{DOMAIN}.eml")
}

fn order_of_header(line: &str) -> Option<i64> {
    let id = line.strip_prefix("Message-ID: <order-")?;
    id.strip_suffix(&format!("@{DOMAIN}>"))?.parse().ok()
}

fn compose(order: &Order, lines: &[OrderLine]) -> anyhow::Result<Message> {
    let customer = Mailbox::new(Some(order.customer.clone()), order.email.parse()?);
    let message = Message::builder()
        .message_id(Some(format!("<order-{}@{DOMAIN}>", order.id)))
        .date(order.placed_at.into())
        .from(Mailbox::new(
            Some("The Tea Shop".to_owned()),
            format!("orders@{DOMAIN}").parse()?,
        ))
        .to(customer)
        .subject(format!("Receipt for order {}", order.id))
        .header(ContentType::TEXT_PLAIN)
        .body(text(order, lines))?;
    Ok(message)
}

fn text(order: &Order, lines: &[OrderLine]) -> String {
    let mut text = format!(
        "Dear {},\n\nthank you for order {}:\n\n",
        order.customer, order.id
    );
    let mut total = 0;
    for line in lines {
        let price = i64::from(line.quantity) * line.price_cents;
        total += price;
        text += &format!(
            "{:>5} x {:<35} {:>10}\n",
            line.quantity,
            line.name,
            euros(price)
        );
    }
    text + &format!(
        "\n        {:<35} {:>10}\n\nThe Tea Shop\n",
        "Total",
        euros(total)
    )
}

fn euros(cents: i64) -> String {
    format!("{}.{:02} EUR", cents / 100, cents % 100)
}
