//! What a figure should be, beside what it is. The benchmark that measures a figure is where its target is written.

use serde_json::{Value, json};

use super::number::figure;

/// A bound, and the median that it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The unit of the figures; none for a ratio.
    pub(crate) unit: Option<&'static str>,
    pub(crate) is_most: bool,
    pub(crate) wanted: f64,
    pub(crate) measured: f64,
}

impl Target {
    pub(crate) fn is_met(&self) -> bool {
        if self.is_most {
            self.measured <= self.wanted
        } else {
            self.measured >= self.wanted
        }
    }

    /// Says what is wanted: `≥ 0.75 ×`, `≤ 2.00 ms`.
    pub(crate) fn wish(&self) -> String {
        let sign = if self.is_most { '≤' } else { '≥' };
        match self.unit {
            Some(unit) => format!("{sign} {} {unit}", figure(self.wanted)),
            None => format!("{sign} {:.2} ×", self.wanted),
        }
    }

    /// Says whether it is met, or by how much it is missed.
    pub(crate) fn verdict(&self) -> String {
        if self.is_met() {
            return "met".to_owned();
        }
        let ratio = self.measured / self.wanted;
        let off = if self.is_most {
            ratio - 1.0
        } else {
            1.0 - ratio
        };
        if off.is_finite() {
            format!("missed by {:.0} %", (100.0 * off).max(1.0))
        } else {
            "not measured".to_owned()
        }
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({
            "of": if self.unit.is_some() { "figure" } else { "ratio" },
            "wish": self.wish(),
            "wanted": self.wanted,
            "measured": self.measured,
            "verdict": self.verdict(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn target(unit: Option<&'static str>, is_most: bool, wanted: f64, measured: f64) -> Target {
        Target {
            unit,
            is_most,
            wanted,
            measured,
        }
    }

    #[test]
    fn a_bound_that_is_reached_exactly_is_met() {
        assert_eq!(target(None, false, 0.9, 0.9).verdict(), "met");
        assert_eq!(target(Some("ms"), true, 2.0, 2.0).verdict(), "met");
    }

    #[test]
    fn a_missed_target_says_by_how_much_in_either_direction() {
        assert_eq!(target(None, false, 0.8, 0.6).verdict(), "missed by 25 %");
        assert_eq!(
            target(Some("ms"), true, 2.0, 3.0).verdict(),
            "missed by 50 %"
        );
        assert_eq!(target(None, false, 0.8, 0.799).verdict(), "missed by 1 %");
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        assert_eq!(target(None, false, 0.8, f64::NAN).verdict(), "not measured");
    }

    #[test]
    fn a_wish_names_its_unit() {
        assert_eq!(target(None, false, 0.75, 1.0).wish(), "≥ 0.75 ×");
        assert_eq!(target(Some("ms"), true, 1.6, 1.0).wish(), "≤ 1.60 ms");
    }
}
