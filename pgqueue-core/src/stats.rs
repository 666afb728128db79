//! x
pub const HISTOGRAM_BARS: usize = 24;
