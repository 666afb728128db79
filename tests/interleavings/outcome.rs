//! What an order of steps left behind: the rows, every committed move of a job, and what each session was told.

use serde::Deserialize;

use super::script::{Memory, Run, Told, number};

/// A job as it is, or was.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) state: String,
    pub(crate) fencing_token: i64,
    pub(crate) attempt: i64,
    pub(crate) lost: i64,
    pub(crate) claimed_by: Option<i64>,
    pub(crate) cancel_requested_at: Option<String>,
    pub(crate) queue: String,
    pub(crate) unique_key: Option<String>,
}

impl Job {
    pub(crate) fn is(&self, state: &str) -> bool {
        self.state == state
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is("pending") || self.is("running")
    }

    pub(crate) fn run(&self) -> Run {
        (self.id, self.fencing_token)
    }
}

/// One change of a job's row; what it was is none for an insert, what it became is none for a delete.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Move {
    pub(crate) was: Option<Job>,
    pub(crate) became: Option<Job>,
    /// Whose transaction it was: a process of the server.
    pub(crate) session: i64,
    /// A reaper took it, and its worker was registered.
    pub(crate) owner_lives: bool,
}

impl Move {
    /// Gives what it was and became, of an update.
    pub(crate) fn update(&self) -> Option<(&Job, &Job)> {
        self.was.as_ref().zip(self.became.as_ref())
    }

    /// Gives the run that it began.
    pub(crate) fn begins(&self) -> Option<Run> {
        let (was, became) = self.update()?;
        (became.fencing_token != was.fencing_token).then(|| became.run())
    }

    /// Gives the run that it ended.
    pub(crate) fn ends(&self) -> Option<Run> {
        let was = self.was.as_ref().filter(|was| was.is("running"))?;
        let goes_on = self.became.as_ref().is_some_and(|now| now.is("running"));
        (!goes_on).then(|| was.run())
    }

    /// Is true when a reaper took it from a dead worker.
    pub(crate) fn is_loss(&self) -> bool {
        self.update().is_some_and(|(was, now)| now.lost > was.lost)
    }
}

#[derive(Debug, Deserialize)]
struct Left {
    jobs: Vec<Job>,
    moves: Vec<Move>,
    workers: Vec<i64>,
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) jobs: Vec<Job>,
    pub(crate) moves: Vec<Move>,
    pub(crate) workers: Vec<i64>,
    memories: Vec<Memory>,
}

impl Outcome {
    pub(crate) fn read(left: &str, memories: Vec<Memory>) -> Self {
        let Left {
            jobs,
            moves,
            workers,
        } = serde_json::from_str(left).unwrap();
        Self {
            jobs,
            moves,
            workers,
            memories,
        }
    }

    pub(crate) fn job(&self, id: i64) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    pub(crate) fn state(&self, id: i64) -> &str {
        self.job(id).map_or("gone", |job| &job.state)
    }

    /// All that was told and committed.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Told> {
        let told = self.memories.iter().flat_map(|memory| &memory.0);
        told.filter(|told| told.is_kept)
    }

    /// How many rows a statement answered, all its committed answers together.
    pub(crate) fn answered(&self, name: &str) -> usize {
        let told = self.kept().filter(|told| told.name == name);
        told.map(|told| told.rows.len()).sum()
    }

    /// The runs whose ends were accepted, by whatever statement, each with the session that sent it.
    pub(crate) fn accepted(&self) -> Vec<(Run, i64)> {
        let ends = self.kept().filter(|told| !told.rows.is_empty());
        ends.filter_map(|told| Some((told.ends?, told.session)))
            .collect()
    }

    /// Is true when the end of this run was accepted.
    pub(crate) fn accepts(&self, run: Run) -> bool {
        self.accepted().iter().any(|(one, _)| *one == run)
    }

    /// The runs that sessions were told to be theirs, each with its session.
    pub(crate) fn claimed(&self) -> Vec<(Run, i64)> {
        let claims = self
            .kept()
            .map(|told| told.claims().map(|run| (run, told.session)));
        claims.flatten().collect()
    }

    pub(crate) fn losses(&self, id: i64) -> usize {
        let losses = self.moves.iter().filter(|step| step.is_loss());
        losses
            .filter(|step| step.became.as_ref().is_some_and(|job| job.id == id))
            .count()
    }

    /// What an action answered of its one job; `left` when the job was not in a state for it, or somebody held it.
    pub(crate) fn action(&self, name: &str) -> Option<&str> {
        let told = self.kept().find(|told| told.name == name)?;
        let answers = told.rows[0][4].as_deref()?;
        let answers = answers.trim_matches(['{', '}', '"']);
        Some(if answers.is_empty() { "left" } else { answers })
    }

    /// The ids that an enqueue answered, each with whether it was inserted.
    pub(crate) fn enqueued(&self) -> Vec<(i64, bool)> {
        let (mut all, is) = (Vec::new(), |flag: &Option<String>| {
            flag.as_deref() == Some("t")
        });
        for told in self.kept() {
            let first = match told.name {
                "enqueue" => 0,
                "enqueue_keyed" => 1, // behind the position
                _ => continue,
            };
            let rows = told.rows.iter();
            all.extend(rows.map(|row| (number(&row[first]), is(&row[first + 1]))));
        }
        all
    }
}
