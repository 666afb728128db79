//! What happened in a run: read from the evidence, never from the queue's own tables.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use pgqueue_suite::chaos::evidence::{self, Event, How, Way};
use tokio_postgres::{Client, IsolationLevel, Row};

/// Everything that the evidence says.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Each job's changes, in their order.
    pub(crate) jobs: HashMap<i64, Vec<Change>>,
    /// What each producer's number came to.
    pub(crate) intents: HashMap<i64, Intent>,
    /// How often a handler began each run.
    pub(crate) began: HashMap<(i64, i64), Vec<Began>>,
    /// How handlers ended runs.
    pub(crate) ends: HashMap<(i64, i64), Vec<(i64, How)>>,
    /// When the handler of each run was gone.
    pub(crate) left: HashMap<(i64, i64), i64>,
    /// How many transactions of each way have committed.
    pub(crate) commits: BTreeMap<Way, usize>,
    /// What producers were refused.
    pub(crate) refused: Vec<String>,
    /// The tokens of each job's effects.
    pub(crate) effects: HashMap<i64, Vec<i64>>,
    /// Each worker's lease.
    pub(crate) leases: HashMap<i64, Vec<Lease>>,
    /// The workers that claim ahead of their slots.
    pub(crate) prefetching: HashSet<i64>,
    /// Each worker's process.
    pub(crate) processes: HashMap<i64, i64>,
    /// The processes that were told to end.
    pub(crate) told_to_end: HashSet<i64>,
}

/// One change of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    /// In the order of all changes of the run, as far as they have one.
    pub(crate) number: i64,
    /// In microseconds.
    pub(crate) at: i64,
    /// `None` before the insert.
    pub(crate) before: Option<String>,
    /// `None` after the delete.
    pub(crate) after: Option<String>,
    pub(crate) token: (i64, i64),
    pub(crate) attempt: (i32, i32),
    pub(crate) lost: (i32, i32),
    pub(crate) max_retries: i32,
    pub(crate) owner: Option<i64>,
    pub(crate) batch: Option<i64>,
    /// The kind of the failure that was added.
    pub(crate) failure: Option<String>,
    /// How the statement begins that made the change.
    pub(crate) statement: String,
    pub(crate) queue: String,
    pub(crate) key: Option<String>,
    /// Only of the insert.
    pub(crate) intent: Option<i64>,
    /// Only of the insert.
    pub(crate) act: Option<String>,
}

impl Change {
    /// Is true for this move from state to state.
    pub(crate) fn is(&self, before: &str, after: &str) -> bool {
        self.before.as_deref() == Some(before) && self.after.as_deref() == Some(after)
    }
}

/// What a producer knows of a job that it wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intent {
    pub(crate) with_order: bool,
    pub(crate) key: Option<String>,
    /// When the producer began to want it, and when it heard of it, in microseconds.
    pub(crate) wanted: (i64, i64),
    /// Whether the producer's own row is there.
    pub(crate) has_order: bool,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The producer died, or got an error.
    #[default]
    Unknown,
    Committed {
        id: i64,
        inserted: bool,
    },
    RolledBack,
}

/// One begin of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) at: i64,
    pub(crate) intent: i64,
}

/// A worker's lease after a beat, or at its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lease {
    pub(crate) at: i64,
    pub(crate) expires_at: i64,
    pub(crate) is_over: bool,
    pub(crate) by_itself: bool,
}

impl History {
    /// Reads the evidence: first what was promised, then the database in one snapshot, then what ran and what was wanted
    /// meanwhile. So a run that goes on shows nothing that has no reason.
    pub(crate) async fn read(folder: &Path, database: &mut Client) -> Self {
        let mut history = Self::default();
        events(folder, "producer").for_each(|(at, event)| history.take(at, event));
        history.read_database(database).await;
        events(folder, "worker").for_each(|(at, event)| history.take(at, event));
        let wishes = |(_, event): &(i64, Event)| matches!(event, Event::Intends { .. });
        let wishes = events(folder, "producer").filter(wishes);
        wishes.for_each(|(at, event)| history.take(at, event));
        history
    }

    fn take(&mut self, at: i64, event: Event) {
        match event {
            Event::Began { job, token, intent } => {
                let began = self.began.entry((job, token)).or_default();
                began.push(Began { at, intent });
            }
            Event::Ends { job, token, how } => {
                self.ends.entry((job, token)).or_default().push((at, how));
            }
            Event::Left { job, token } => {
                self.left.insert((job, token), at);
            }
            Event::Refused { error } => self.refused.push(error),
            Event::Intends { jobs, with_order } => {
                for (intent, key) in jobs {
                    let intent = self.intents.entry(intent).or_default();
                    (intent.with_order, intent.key, intent.wanted.0) = (with_order, key, at);
                }
            }
            Event::Committed { way, jobs } => {
                *self.commits.entry(way).or_default() += 1;
                for (intent, id, inserted) in jobs {
                    let intent = self.intents.entry(intent).or_default();
                    intent.fate = Fate::Committed { id, inserted };
                    intent.wanted.1 = at;
                }
            }
            Event::RolledBack { intents } => {
                for intent in intents {
                    self.intents.entry(intent).or_default().fate = Fate::RolledBack;
                }
            }
        }
    }

    async fn read_database(&mut self, client: &mut Client) {
        let snapshot = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start();
        let snapshot = snapshot.await.unwrap();
        // One by one: a long run makes millions.
        let changes = snapshot.query_raw(CHANGES, std::iter::empty::<i64>());
        let mut changes = std::pin::pin!(changes.await.unwrap());
        while let Some(row) = changes.try_next().await.unwrap() {
            let (job, change) = change(&row);
            self.jobs.entry(job).or_default().push(change);
        }
        for row in snapshot.query(LEASES, &[]).await.unwrap() {
            let lease = Lease {
                at: row.get(1),
                expires_at: row.get(2),
                is_over: row.get(3),
                by_itself: row.get(4),
            };
            self.leases.entry(row.get(0)).or_default().push(lease);
            if row.get(5) {
                self.prefetching.insert(row.get(0));
            }
            self.processes.insert(row.get(0), row.get(6));
        }
        let effects = snapshot.query("SELECT job, token FROM effects", &[]).await;
        for row in effects.unwrap() {
            self.effects.entry(row.get(0)).or_default().push(row.get(1));
        }
        let orders = snapshot.query("SELECT intent FROM orders", &[]).await;
        for row in orders.unwrap() {
            self.intents.entry(row.get(0)).or_default().has_order = true;
        }
        snapshot.commit().await.unwrap();
    }

    /// Is true when a worker had no lease any more at a time, because it had run out or was given up.
    pub(crate) fn has_lost_lease(&self, worker: i64, at: i64) -> bool {
        let leases = self.leases.get(&worker).map_or(&[][..], Vec::as_slice);
        leases.iter().any(|lease| {
            lease.is_over && lease.at <= at && (lease.by_itself || lease.expires_at < lease.at)
        })
    }

    /// Counts the changes of a kind.
    pub(crate) fn count(&self, is: impl Fn(&Change) -> bool) -> usize {
        self.jobs
            .values()
            .flatten()
            .filter(|change| is(change))
            .count()
    }

    /// Counts the jobs that producers rolled back.
    pub(crate) fn rolled_back(&self) -> usize {
        let fates = self.intents.values().map(|intent| intent.fate);
        fates.filter(|fate| *fate == Fate::RolledBack).count()
    }

    /// Gives, for each job that was taken from a dead worker, how long after the end of the lease that was, in microseconds.
    pub(crate) fn rescue_waits(&self) -> Vec<i64> {
        let changes = self.jobs.values().flatten();
        let lost = changes.filter(|change| change.failure.as_deref() == Some("lost"));
        lost.filter_map(|change| {
            let lease = self.leases.get(&change.owner?)?.last()?;
            Some(change.at - lease.expires_at)
        })
        .collect()
    }
}

/// Reads what the processes of a role have written.
fn events(folder: &Path, role: &'static str) -> impl Iterator<Item = (i64, Event)> {
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let is_of_role = move |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(role)
    };
    let paths = paths.filter(is_of_role).collect::<Vec<_>>();
    paths.into_iter().flat_map(|path| evidence::read(&path))
}

const CHANGES: &str = "\
    SELECT job, number, (extract(epoch FROM at) * 1000000)::bigint, before_state, after_state, before_token, after_token,
        before_attempt, after_attempt, before_lost, after_lost, max_retries, owner, batch, failure, queue, unique_key, intent, act, statement
    FROM changes
    ORDER BY number";
const LEASES: &str = "\
    SELECT worker, (extract(epoch FROM at) * 1000000)::bigint, (extract(epoch FROM expires_at) * 1000000)::bigint, is_over, by_itself,
        name LIKE 'ahead%', pid::bigint
    FROM leases
    ORDER BY number";

fn change(row: &Row) -> (i64, Change) {
    let change = Change {
        number: row.get(1),
        at: row.get(2),
        before: row.get(3),
        after: row.get(4),
        token: (row.get(5), row.get(6)),
        attempt: (row.get(7), row.get(8)),
        lost: (row.get(9), row.get(10)),
        max_retries: row.get(11),
        owner: row.get(12),
        batch: row.get(13),
        failure: row.get(14),
        queue: row.get(15),
        key: row.get(16),
        intent: row.get(17),
        act: row.get(18),
        statement: row.get(19),
    };
    (row.get(0), change)
}
