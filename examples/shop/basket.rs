//! What a customer wants, as it comes from the file or over HTTP, and the rules that an order must keep.

use std::fmt;

use lettre::Address;
use serde::Deserialize;

use crate::models::{NewOrder, NewOrderLine, Product};

/// Longest name or postcode, in characters.
const TEXT_LIMIT: usize = 200;
/// Most pieces in a line: more is a typing error.
const QUANTITY_LIMIT: i32 = 1000;
/// Most lines in an order.
const LINES_LIMIT: usize = 100;

/// An order that is not placed yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Basket {
    pub(crate) customer: String,
    pub(crate) email: String,
    pub(crate) postcode: String,
    pub(crate) lines: Vec<Line>,
}

/// So many pieces of a product.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) sku: String,
    pub(crate) quantity: i32,
}

/// Why an order was not placed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It breaks a rule, in this line if it is one line's fault.
    Rule(Option<usize>, String),
    /// The database failed: nothing is wrong with the order.
    Database(diesel::result::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(_, reason) => f.write_str(reason),
            Self::Database(error) => write!(f, "the database failed: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<diesel::result::Error> for Refusal {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

impl Basket {
    /// Gives the row of the order.
    pub(crate) fn header(&self, import_id: Option<i64>) -> NewOrder<'_> {
        NewOrder {
            import_id,
            customer: &self.customer,
            email: &self.email,
            postcode: &self.postcode,
        }
    }

    /// Gives the products it names, known or not.
    pub(crate) fn skus(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.sku.as_str()).collect()
    }

    /// Checks all rules, and gives the rows of the lines with the prices of today.
    pub(crate) fn priced(
        &self,
        order_id: i64,
        catalogue: &[Product],
    ) -> Result<Vec<NewOrderLine<'_>>, Refusal> {
        self.check_email()?;
        if self.lines.is_empty() || self.lines.len() > LINES_LIMIT {
            let count = self.lines.len();
            let reason = format!("the order has {count} lines: it must have 1 to {LINES_LIMIT}");
            return Err(Refusal::Rule(None, reason));
        }
        let lines = self.lines.iter().zip(1..);
        lines
            .map(|(line, position)| line.priced(order_id, position, catalogue))
            .zip(0..)
            .map(|(line, index)| line.map_err(|reason| Refusal::Rule(Some(index), reason)))
            .collect()
    }

    /// Checks the texts that PostgreSQL might not even store, before it sees them.
    pub(crate) fn check_texts(&self) -> Result<(), Refusal> {
        let mut texts = vec![
            ("customer", &self.customer),
            ("email", &self.email),
            ("postcode", &self.postcode),
        ];
        texts.extend(self.lines.iter().map(|line| ("sku", &line.sku)));
        for (field, text) in texts {
            let length = text.chars().count();
            if text.trim().is_empty() || length > TEXT_LIMIT || text.contains(char::is_control) {
                let rule = format!("it must be 1 to {TEXT_LIMIT} printable characters");
                return Err(Refusal::Rule(None, format!("{field} {text:.40?}: {rule}")));
            }
        }
        Ok(())
    }

    fn check_email(&self) -> Result<(), Refusal> {
        let malformed =
            |cause| Refusal::Rule(None, format!("malformed e-mail {:?}: {cause}", self.email));
        self.email.parse::<Address>().map(|_| ()).map_err(malformed)
    }
}

impl Line {
    fn priced<'a>(
        &'a self,
        order_id: i64,
        position: i32,
        catalogue: &[Product],
    ) -> Result<NewOrderLine<'a>, String> {
        let (sku, quantity) = (&self.sku, self.quantity);
        let Some(product) = catalogue.iter().find(|product| product.sku == *sku) else {
            return Err(format!("unknown SKU {sku:?}"));
        };
        if !(1..=QUANTITY_LIMIT).contains(&quantity) {
            let rule = format!("it must be 1 to {QUANTITY_LIMIT}");
            return Err(format!("quantity {quantity} of {sku}: {rule}"));
        }
        Ok(NewOrderLine {
            order_id,
            position,
            sku,
            quantity,
            price_cents: product.price_cents,
        })
    }
}
