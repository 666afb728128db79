//! The facts of a report, as the statements answer them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Version, connections and settings of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerFacts {
    /// Its version.
    pub version: String,
    /// Most connections that it takes.
    pub max_connections: i64,
    /// Connections of clients now.
    pub connections: i64,
    /// `idle_in_transaction_session_timeout` of this session.
    pub idle_in_transaction_timeout: String,
    /// Is true when sessions of this role are ended if they idle in a transaction, unless they say otherwise.
    pub idle_in_transaction_limited: bool,
    /// Is true when autovacuum runs.
    pub autovacuum: bool,
    /// Share of the notification queue that is in use, 0 to 1.
    pub notifications: f64,
    /// The role of this session.
    pub role: String,
    /// The database.
    pub database: String,
    /// Is true when this role may see what sessions of other roles do.
    pub sees_others: bool,
    /// Sessions whose newest statement is LISTEN, or a worker's try to notify itself: idle listeners.
    pub listeners: i64,
}

/// What keeps vacuum from removing rows that died since it began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// `transaction`, `slot` or `prepared`.
    pub sort: String,
    /// The process, if there is one.
    pub pid: Option<i64>,
    /// The process, or the name of the slot or prepared transaction.
    pub name: String,
    /// Its user.
    pub owner: Option<String>,
    /// What it calls itself.
    pub application: Option<String>,
    /// What it does now.
    pub state: Option<String>,
    /// For how long, if that is known.
    pub seconds: Option<f64>,
    /// How many transactions ago it began.
    pub xid_age: i64,
    /// The first words of its newest statement, without any value.
    pub query: Option<String>,
}

/// One of our tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableHealth {
    /// Its name.
    pub name: String,
    /// Live rows, about.
    pub live: i64,
    /// Dead rows that vacuum has not removed, about.
    pub dead: i64,
    /// Updates since statistics were reset.
    pub updates: i64,
    /// Those of them that touched no index.
    pub hot_updates: i64,
    /// When it was last vacuumed, by hand or by itself.
    pub vacuumed_at: Option<DateTime<Utc>>,
    /// When it was last analysed.
    pub analysed_at: Option<DateTime<Utc>>,
    /// Bytes without indexes.
    pub table_bytes: i64,
    /// Bytes of its indexes.
    pub index_bytes: i64,
    /// Age of its oldest transaction id; at 2 billion the server stops.
    pub frozen_age: i64,
    /// Is true when autovacuum is off for it.
    pub autovacuum_off: bool,
}

/// One of our indexes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IndexHealth {
    /// Its name.
    pub name: String,
    /// Is true when it exists.
    pub present: bool,
    /// Is true when it may be used.
    pub valid: bool,
    /// Its size.
    pub bytes: i64,
    /// How often it was used since statistics were reset.
    pub scans: i64,
}

/// A session that waits for a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LockWait {
    /// Its process.
    pub pid: i64,
    /// What it calls itself.
    pub application: Option<String>,
    /// Our table that it works on.
    pub relation: String,
    /// The lock that it wants.
    pub mode: String,
    /// For how long it has waited.
    pub seconds: f64,
    /// The processes that it waits for.
    pub blockers: Vec<i64>,
}

/// An identity of ours.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) used: i64,
    pub(super) most: i64,
}
