//! The command line of a benchmark.

use anyhow::Context as _;

/// What every benchmark takes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Jobs of a scenario.
    pub jobs: i32,
    /// How often each scenario and its yardstick are run, in turns.
    pub rounds: usize,
    /// Only scenarios whose name has this text.
    pub only: Option<String>,
    /// Prints JSON instead of a table.
    pub json: bool,
}

impl Options {
    /// Reads the arguments: `--jobs N`, `--rounds N`, `--only TEXT`, `--json`.
    ///
    /// # Errors
    /// For an argument that is not one of them, or whose number is none.
    pub fn from_args(jobs: i32, rounds: usize) -> anyhow::Result<Self> {
        let mut options = Self {
            jobs,
            rounds,
            only: None,
            json: false,
        };
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(name) = args.next() {
            let mut value = || args.next().with_context(|| format!("{name} needs a value"));
            match name.as_str() {
                "--jobs" => options.jobs = value()?.parse().context("--jobs takes a number")?,
                "--rounds" => {
                    options.rounds = value()?.parse().context("--rounds takes a number")?;
                }
                "--only" => options.only = Some(value()?),
                "--json" => options.json = true,
                _ => anyhow::bail!(
                    "unknown option {name}: --jobs, --rounds, --only and --json are known"
                ),
            }
        }
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
