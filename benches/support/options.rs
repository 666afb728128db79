//! The command line of a benchmark. Without arguments it measures its short form: a look at whether all is well, with
//! which all benchmarks together take less than ten minutes. `--full` measures what the targets are meant for.

use anyhow::Context as _;

/// How much a benchmark measures.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Jobs of a scenario.
    pub jobs: i32,
    /// How often each scenario and its yardstick are run, in turns.
    pub rounds: usize,
}

impl Sizes {
    /// Names both.
    #[must_use]
    pub const fn new(jobs: i32, rounds: usize) -> Self {
        Self { jobs, rounds }
    }
}

/// What every benchmark takes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Jobs of a scenario.
    pub jobs: i32,
    /// How often each scenario and its yardstick are run, in turns.
    pub rounds: usize,
    /// The long form is wanted.
    pub is_full: bool,
    /// Only scenarios whose name has this text.
    pub only: Option<String>,
    /// Prints JSON instead of a table.
    pub json: bool,
}

impl Options {
    /// Reads the arguments of this process: `--full`, `--jobs N`, `--rounds N`, `--only TEXT`, `--json`.
    ///
    /// # Errors
    /// For an argument that is not one of them, or whose number is none.
    pub fn from_args(short: Sizes, full: Sizes) -> anyhow::Result<Self> {
        Self::parse(std::env::args().skip(1), short, full)
    }

    /// Reads arguments; a size that is named is taken in either form.
    ///
    /// # Errors
    /// As [`from_args`](Self::from_args).
    pub fn parse(
        args: impl IntoIterator<Item = String>,
        short: Sizes,
        full: Sizes,
    ) -> anyhow::Result<Self> {
        let (mut is_full, mut only, mut json) = (false, None, false);
        let (mut jobs, mut rounds) = (None, None);
        let mut args = args.into_iter().filter(|arg| arg != "--bench"); // cargo's own
        while let Some(name) = args.next() {
            let mut value = || args.next().with_context(|| format!("{name} needs a value"));
            match name.as_str() {
                "--full" => is_full = true,
                "--jobs" => jobs = Some(value()?.parse().context("--jobs takes a number")?),
                "--rounds" => rounds = Some(value()?.parse().context("--rounds takes a number")?),
                "--only" => only = Some(value()?),
                "--json" => json = true,
                _ => anyhow::bail!(
                    "unknown option {name}: --full, --jobs, --rounds, --only and --json are known"
                ),
            }
        }
        let sizes = if is_full { full } else { short };
        let options = Self {
            jobs: jobs.unwrap_or(sizes.jobs),
            rounds: rounds.unwrap_or(sizes.rounds),
            is_full,
            only,
            json,
        };
        anyhow::ensure!(
            options.jobs > 0 && options.rounds > 0,
            "--jobs and --rounds take numbers from 1 on"
        );
        Ok(options)
    }

    /// Tells whether a scenario is to be run.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|text| name.contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Sizes};

    fn sizes_of(args: &[&str]) -> (i32, usize) {
        let args = args.iter().map(ToString::to_string);
        let options = Options::parse(args, Sizes::new(10, 1), Sizes::new(1000, 5))
            .expect("the arguments are known");
        (options.jobs, options.rounds)
    }

    #[test]
    fn the_short_form_is_measured_unless_the_full_one_is_wanted() {
        assert_eq!(sizes_of(&["--bench"]), (10, 1));
        assert_eq!(sizes_of(&["--bench", "--full"]), (1000, 5));
    }

    #[test]
    fn a_size_that_is_named_wins_in_either_form_and_order() {
        assert_eq!(sizes_of(&["--jobs", "7"]), (7, 1));
        assert_eq!(sizes_of(&["--rounds", "3", "--full"]), (1000, 3));
    }

    #[test]
    fn what_is_unknown_or_no_number_is_refused() {
        for args in [
            &["--ful"][..],
            &["--jobs"],
            &["--jobs", "many"],
            &["--rounds", "0"],
        ] {
            let args = args.iter().map(ToString::to_string);

            let refused = Options::parse(args, Sizes::new(10, 1), Sizes::new(1000, 5));

            assert!(refused.is_err());
        }
    }
}
