//! How numbers are written for people.

/// Writes a figure as exactly as it deserves, thousands apart: `39,812`, `43.1`, `1.62`.
#[must_use]
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size >= 100.0 => thousands(&format!("{value:.0}")),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Writes the least and the most of some figures; a single one has no spread.
#[must_use]
pub fn spread(figures: &[f64]) -> String {
    if figures.len() < 2 {
        return "–".to_owned();
    }
    format!("{} to {}", figure(least(figures)), figure(most(figures)))
}

/// Gives the least; infinity of none.
#[must_use]
pub fn least(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Gives the most; negative infinity of none.
#[must_use]
pub fn most(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn thousands(digits: &str) -> String {
    let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
    let mut written = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    format!("{sign}{written}")
}

#[cfg(test)]
mod tests {
    use super::{figure, spread};

    #[test]
    fn a_figure_is_written_as_exactly_as_it_deserves() {
        let written = [1_234_567.8, 39_812.4, 100.0, 43.12, 1.618, 0.0, -2500.0].map(figure);

        let expected = [
            "1,234,568",
            "39,812",
            "100",
            "43.1",
            "1.62",
            "0.00",
            "-2,500",
        ];
        assert_eq!(written, expected);
        assert_eq!(figure(f64::NAN), "–");
    }

    #[test]
    fn one_figure_has_no_spread() {
        assert_eq!(spread(&[1.0]), "–");
        assert_eq!(spread(&[2.0, 1.0, 1500.0]), "1.00 to 1,500");
    }
}
