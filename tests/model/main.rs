//! The protocol as a model: what workers, the database and operators may do next, in small steps.
//!
//! [`protocol`] says what each statement of `pgqueue-core/src/sql` does to a row, and what a process believes meanwhile.
//! [`explore`] lets stateright try every order of the steps on a few jobs and workers, and breaks each rule in turn.
//! [`oracle`] runs random steps against PostgreSQL with the very texts of those files, and compares every row after each:
//! so that what is explored is what runs.

mod explore;
mod oracle;
mod protocol;
