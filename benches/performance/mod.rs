//! `docs/performance.md`: its tables and charts, made from what the benchmarks said by `--json`, so that no figure of it is
//! typed by hand. `write.rs` is the program; `benches/report` runs the benchmarks and then the program.
//!
//! What is between two markers of the document is generated; the rest is written. A benchmark without figures leaves its part
//! as it is.

pub mod bars;
pub mod document;
pub mod figures;
pub mod rivals;
mod svg;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod views;
