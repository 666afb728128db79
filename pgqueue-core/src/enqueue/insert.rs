//! `insert_into(pgqueue_jobs::table).values(new_job)`, one or a `Vec`. Here the table's named `CHECK`s guard the bounds.

use diesel::expression::{AppearsOnTable, Expression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Interval, Jsonb, Nullable, Timestamptz};
use serde_json::Value;

use super::NewJob;
use crate::error::{Error, ErrorKind};
use crate::model::Span;
use crate::schema::pgqueue_jobs;

/// The row that a [`NewJob`] becomes.
#[derive(Debug, Insertable)]
#[diesel(table_name = pgqueue_jobs)]
pub struct Row {
    queue: String,
    kind: String,
    payload: Payload,
    priority: i16,
    run_at: Due,
    max_retries: i32,
    unique_key: Option<String>,
    timeout: Option<Span>,
    metadata: Option<Value>,
}

/// A payload that may have failed to serialise: the insert then fails before it is sent.
#[derive(Debug, Clone)]
pub struct Payload {
    kind: String,
    json: Result<Value, String>,
}

/// The due time, computed by the database when it is a delay.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    run_at: Option<chrono::DateTime<chrono::Utc>>,
    delay: Option<Span>,
}

macro_rules! expression {
    ($name:ident, $sql_type:ty) => {
        impl Expression for $name {
            type SqlType = $sql_type;
        }
        impl<T> AppearsOnTable<T> for $name {}
        impl ValidGrouping<()> for $name {
            type IsAggregate = is_aggregate::Never;
        }
        impl QueryId for $name {
            type QueryId = Self;
            const HAS_STATIC_QUERY_ID: bool = true;
        }
    };
}

expression!(Payload, Jsonb);
expression!(Due, Timestamptz);

impl QueryFragment<Pg> for Payload {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match &self.json {
            Ok(json) => out.push_bind_param::<Jsonb, _>(json),
            Err(cause) => {
                let message = format!(
                    "payload of job kind {:?} cannot be written as JSON: {cause}",
                    self.kind
                );
                Err(Error::new(ErrorKind::Invalid, message).into())
            }
        }
    }
}

impl QueryFragment<Pg> for Due {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("coalesce(");
        out.push_bind_param::<Nullable<Timestamptz>, _>(&self.run_at)?;
        out.push_sql(", statement_timestamp() + ");
        out.push_bind_param::<Nullable<Interval>, _>(&self.delay)?;
        out.push_sql(", now())");
        Ok(())
    }
}

impl Insertable<pgqueue_jobs::table> for NewJob {
    type Values = <Row as Insertable<pgqueue_jobs::table>>::Values;

    fn values(self) -> Self::Values {
        Row {
            payload: Payload {
                kind: self.kind.clone(),
                json: self.payload,
            },
            run_at: Due {
                run_at: self.run_at,
                delay: self.delay,
            },
            queue: self.queue,
            kind: self.kind,
            priority: self.priority,
            max_retries: self.max_retries,
            unique_key: self.unique_key,
            timeout: self.timeout,
            metadata: self.metadata,
        }
        .values()
    }
}

impl diesel::query_builder::UndecoratedInsertRecord<pgqueue_jobs::table> for NewJob {}
