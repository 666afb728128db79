//! Rows of the shop's tables.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::schema::{order_jobs, order_lines, orders, products};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = products, check_for_backend(diesel::pg::Pg))]
pub(crate) struct Product {
    pub(crate) sku: String,
    pub(crate) price_cents: i64,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = orders)]
pub(crate) struct NewOrder<'a> {
    pub(crate) import_id: Option<i64>,
    pub(crate) customer: &'a str,
    pub(crate) email: &'a str,
    pub(crate) postcode: &'a str,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = orders, check_for_backend(diesel::pg::Pg))]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) customer: String,
    pub(crate) email: String,
    pub(crate) postcode: String,
    pub(crate) placed_at: DateTime<Utc>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = order_lines)]
pub(crate) struct NewOrderLine<'a> {
    pub(crate) order_id: i64,
    pub(crate) position: i32,
    pub(crate) sku: &'a str,
    pub(crate) quantity: i32,
    pub(crate) price_cents: i64,
}

/// A line with the name of its product.
#[derive(Debug, Queryable, Selectable)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct OrderLine {
    #[diesel(select_expression = order_lines::sku)]
    pub(crate) sku: String,
    #[diesel(select_expression = products::name)]
    pub(crate) name: String,
    #[diesel(select_expression = order_lines::quantity)]
    pub(crate) quantity: i32,
    #[diesel(select_expression = order_lines::price_cents)]
    pub(crate) price_cents: i64,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = order_jobs)]
pub(crate) struct NewOrderJob {
    pub(crate) job_id: i64,
    pub(crate) order_id: i64,
}
