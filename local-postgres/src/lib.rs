//! Starts a private PostgreSQL from installed binaries, for the demo, the tests and the benchmarks.
//!
//! Nothing needs to be configured: [`LocalPostgres::start`] finds the newest installed PostgreSQL, makes a data
//! directory in the temporary directory, starts a server on a free port of 127.0.0.1 and returns when it answers.
//! It works as root too. Server and directory go when the value is dropped, and also when this process dies in any
//! other way, `SIGKILL` included.
//!
//! Tests share one server and take a [`Database`] each, copied from a [`Template`] that was migrated once:
//!
//! ```
//! use local_postgres::LocalPostgres;
//! use postgres::{Client, NoTls};
//!
//! let server = LocalPostgres::from_env_or_start("TEST_DATABASE_URL")?;
//! let migrated = server.template("migrated", |url| {
//!     Client::connect(url, NoTls)?.batch_execute("CREATE TABLE orders (id bigint)")?;
//!     Ok(())
//! })?;
//!
//! let database = server.database_from(&migrated)?;
//!
//! let rows = Client::connect(database.url(), NoTls)?.query("SELECT id FROM orders", &[])?;
//! assert!(rows.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The private server trusts every local connection: it is for data that nobody would miss.

mod account;
mod binaries;
mod database;
mod error;
mod process;
mod server;
mod sql;
#[cfg(feature = "tls")]
mod tls;

pub use database::{Database, Template};
pub use error::Error;
pub use process::Shutdown;
pub use server::{Builder, LocalPostgres};
