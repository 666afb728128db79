//! The pages, one file each: the handler, and what its template shows.

pub(crate) mod dead;
pub(crate) mod error;
pub(crate) mod overview;
pub(crate) mod settings;
