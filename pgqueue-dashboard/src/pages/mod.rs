//! The pages, one file each: the handler, and what its template shows.

pub(crate) mod audit;
pub(crate) mod beside;
pub(crate) mod bulk;
pub(crate) mod dead;
pub(crate) mod error;
pub(crate) mod job;
pub(crate) mod job_actions;
pub(crate) mod job_edit;
pub(crate) mod jobs;
pub(crate) mod kinds;
pub(crate) mod news;
pub(crate) mod operations;
pub(crate) mod overview;
pub(crate) mod panels;
pub(crate) mod postgres;
pub(crate) mod queues;
pub(crate) mod rows;
pub(crate) mod settings;
pub(crate) mod workers;
