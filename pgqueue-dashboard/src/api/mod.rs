//! The JSON API below `/api/v1`: what pages show and do, for programs.

pub(crate) mod act;
pub(crate) mod job;
pub(crate) mod lists;
pub(crate) mod openapi;
pub(crate) mod operations;
pub(crate) mod overview;
pub(crate) mod read;
