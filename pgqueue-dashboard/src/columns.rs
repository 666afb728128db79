//! Which columns the list of jobs has: each browser chooses, and its cookie keeps the choice as one number.

/// A column of the list of jobs, behind the job itself, which is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Queue,
    Priority,
    State,
    When,
    Created,
    Took,
    Attempts,
    Worker,
    Key,
    Error,
    Payload,
}

impl Column {
    /// All, in the order in which they stand.
    pub(crate) const ALL: [Self; 11] = [
        Self::Queue,
        Self::Priority,
        Self::State,
        Self::When,
        Self::Created,
        Self::Took,
        Self::Attempts,
        Self::Worker,
        Self::Key,
        Self::Error,
        Self::Payload,
    ];

    /// Its name in forms.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Priority => "priority",
            Self::State => "state",
            Self::When => "when",
            Self::Created => "created",
            Self::Took => "took",
            Self::Attempts => "attempts",
            Self::Worker => "worker",
            Self::Key => "key",
            Self::Error => "error",
            Self::Payload => "payload",
        }
    }

    /// What stands above it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::Priority => "Priority",
            Self::State => "State",
            Self::When => "When",
            Self::Created => "Created",
            Self::Took => "Took",
            Self::Attempts => "Attempts",
            Self::Worker => "Worker",
            Self::Key => "Unique key",
            Self::Error => "Last error",
            Self::Payload => "Payload",
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Priority | Self::Took | Self::Attempts)
    }

    /// Its bit in the cookie. Not its place above: a column that is added in the middle must not change what others chose.
    fn bit(self) -> u16 {
        match self {
            Self::Queue => 1,
            Self::State => 1 << 1,
            Self::When => 1 << 2,
            Self::Attempts => 1 << 3,
            Self::Error => 1 << 4,
            Self::Payload => 1 << 5,
            Self::Priority => 1 << 6,
            Self::Key => 1 << 7,
            Self::Worker => 1 << 8,
            Self::Created => 1 << 9,
            Self::Took => 1 << 10,
        }
    }
}

/// The columns that somebody has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns(u16);

impl Default for Columns {
    fn default() -> Self {
        use Column::{Attempts, Error, Payload, Queue, State, When};
        [Queue, State, When, Attempts, Error, Payload]
            .into_iter()
            .collect()
    }
}

impl FromIterator<Column> for Columns {
    fn from_iter<T: IntoIterator<Item = Column>>(columns: T) -> Self {
        Self(
            columns
                .into_iter()
                .fold(0, |bits, column| bits | column.bit()),
        )
    }
}

impl Columns {
    /// Gives those of these names; what is no column is passed over.
    pub(crate) fn named<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let chosen = |column: &Column| names.clone().any(|name| name == column.name());
        Column::ALL.into_iter().filter(chosen).collect()
    }

    /// Reads what a cookie keeps; bits that are no column are dropped.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bits = u16::from_str_radix(text, 16).ok()?;
        Some(
            Column::ALL
                .into_iter()
                .filter(|column| bits & column.bit() != 0)
                .collect(),
        )
    }

    /// Writes what a cookie keeps.
    pub(crate) fn text(self) -> String {
        format!("{:x}", self.0)
    }

    pub(crate) fn has(self, column: Column) -> bool {
        self.0 & column.bit() != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Column> + Clone {
        Column::ALL
            .into_iter()
            .filter(move |column| self.has(*column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_comes_back_from_its_text() {
        for bits in 0..1 << Column::ALL.len() {
            let columns = Columns::parse(&format!("{bits:x}")).unwrap();
            assert_eq!(Columns::parse(&columns.text()), Some(columns));
            assert_eq!(Columns::named(columns.iter().map(Column::name)), columns);
            assert_eq!(
                columns.iter().count(),
                usize::try_from(u32::count_ones(bits)).unwrap()
            );
        }
    }

    #[test]
    fn what_is_no_column_is_dropped() {
        assert_eq!(
            Columns::parse("ffff").unwrap().iter().count(),
            Column::ALL.len()
        );
        assert_eq!(
            Columns::named(["state", "moon"].into_iter()).iter().count(),
            1
        );
        for text in ["", "moon", "-1", "10000", "ffffffffffffffffffffffff"] {
            assert_eq!(Columns::parse(text), None, "{text}");
        }
    }
}
