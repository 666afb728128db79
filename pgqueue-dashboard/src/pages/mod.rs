//! The pages, one file each: the handler, and what its template shows.

pub(crate) mod error;
pub(crate) mod kinds;
pub(crate) mod overview;
pub(crate) mod panels;
pub(crate) mod queues;
pub(crate) mod settings;
