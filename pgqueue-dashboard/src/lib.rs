//! The admin site of [pgqueue](pgqueue_core): what is wrong with the queue, why, and the means to act on exactly that.
//!
//! [`Dashboard`] is a service of actix-web, mounted in your own application at any path; the binary `pgqueue-dashboard`
//! serves it alone. Pages are rendered on the server and work without JavaScript; with it they stay up to date by themselves.
//!
//! A dashboard cannot be built without a choice of who may see it: [`DashboardBuilder::access`], [`DashboardBuilder::basic`],
//! [`DashboardBuilder::loopback_only`], or [`DashboardBuilder::insecure_open_to_everybody`].
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use pgqueue_dashboard::Dashboard;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let dashboard = Dashboard::builder("postgres://localhost/shop")
//!     .path("/admin/jobs")
//!     .loopback_only()
//!     .build()?;
//! HttpServer::new(move || App::new().service(dashboard.clone()))
//!     .bind("127.0.0.1:8080")?
//!     .run()
//!     .await?;
//! # Ok(()) }
//! ```

mod access;
mod api;
mod assets;
mod basic;
mod cached;
mod chart;
mod checks;
mod columns;
mod cookies;
mod copy_as;
mod dashboard;
mod database;
mod executor;
mod export;
mod filter;
mod frame;
mod guard;
mod health;
#[cfg(test)]
mod health_tests;
mod json;
mod link;
mod live;
mod operations;
mod origin;
mod pages;
mod problem;
mod reason;
mod routes;
mod shared;
mod show;
mod snapshot;
mod span;
mod suggestions;
mod trend;
mod visit;

pub use access::{Access, CheckAccess, Denied, Permissions};
pub use basic::PasswordHash;
pub use dashboard::{Dashboard, DashboardBuilder};
