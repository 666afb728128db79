//! A database with its sessions, in which a scenario is played many times, each time from fresh rows.

use std::sync::Arc;

use pgqueue_suite::{TestDatabase, engine_settings};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::outcome::Outcome;
use super::script::{Memory, Role, Row, Scenario, Step, number};
use super::settings::{Isolation, Planner};

/// How to write rows shortly, and a trigger that writes down each committed move of a job.
const PROLOGUE: &str = include_str!("prologue.sql");
const RESET: &str = "\
    DELETE FROM pgqueue_jobs;
    DELETE FROM pgqueue_workers;
    DELETE FROM pgqueue_audit;
    SELECT setval(pg_get_serial_sequence('pgqueue_jobs', 'id'), 100, false);";
/// A worker that registers gets the next id, and what has been written so far are no moves.
const BEGUN: &str = "\
    SELECT setval(pg_get_serial_sequence('pgqueue_workers', 'id'), coalesce(max(id), 0) + 1, false) FROM pgqueue_workers;
    DELETE FROM moves;";
/// Time plays no part here: who waits, waits until the others have done their steps, and a deadlock is found soon.
const PATIENT: &str = "\
    SET lock_timeout = 0;
    SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET deadlock_timeout = '20ms';";

/// A session of a scenario.
pub(crate) struct Session {
    pub(crate) client: Arc<Client>,
    /// Its process of the server.
    pub(crate) pid: i64,
    pub(crate) role: Role,
}

pub(crate) struct Stage {
    /// One for each part of the scenario.
    pub(crate) sessions: Vec<Session>,
    pub(crate) isolation: Isolation,
    /// Looks at the sessions, and at what they leave behind.
    watcher: Client,
    given: String,
    /// Dropped last: the others are connected to it.
    _db: TestDatabase,
}

impl Stage {
    /// Makes a database whose sessions have this isolation unless they choose another.
    pub(crate) async fn of(scenario: &Scenario, isolation: Isolation) -> Self {
        let db = TestDatabase::migrated();
        db.execute(PROLOGUE);
        db.set_default(&isolation.as_default());
        let mut sessions = Vec::new();
        for part in &scenario.parts {
            let client = connect(&db).await;
            settle_in(&client, part.role).await;
            for name in prepared(&part.steps) {
                execute(&client, &scenario.statements.prepare(name)).await;
            }
            let pid = rows(&client, "SELECT pg_backend_pid()").await.unwrap()[0][0].clone();
            sessions.push(Session {
                client: Arc::new(client),
                pid: number(&pid),
                role: part.role,
            });
        }
        Self {
            sessions,
            isolation,
            watcher: connect(&db).await,
            given: format!("{RESET} {}; {BEGUN}", scenario.given),
            _db: db,
        }
    }

    /// Has all sessions plan their statements so from now on.
    pub(crate) async fn plan(&self, planner: &Planner) {
        execute(&self.watcher, "VACUUM pgqueue_jobs, moves").await;
        for session in &self.sessions {
            execute(&session.client, &planner.commands()).await;
        }
    }

    pub(crate) async fn reset(&self) {
        execute(&self.watcher, &self.given).await;
    }

    /// Tells whether a session waits for a lock that another one of the scenario has, or is in the line for.
    pub(crate) async fn waits(&self, session: usize) -> bool {
        let pids: Vec<String> = self
            .sessions
            .iter()
            .map(|one| one.pid.to_string())
            .collect();
        let waits = format!(
            "SELECT pg_blocking_pids({}) && '{{{}}}'",
            self.sessions[session].pid,
            pids.join(",")
        );
        rows(&self.watcher, &waits).await.unwrap()[0][0].as_deref() == Some("t")
    }

    /// Reads what is left.
    pub(crate) async fn outcome(&self, memories: Vec<Memory>) -> Outcome {
        let left = rows(&self.watcher, "SELECT what_is_left()").await.unwrap();
        Outcome::read(left[0][0].as_deref().unwrap(), memories)
    }
}

fn prepared(steps: &[Step]) -> Vec<&'static str> {
    let acts = steps.iter().filter_map(|step| match step {
        Step::Act(act) => Some(act.prepares.clone()),
        _ => None,
    });
    let mut names = acts.collect::<Vec<_>>().concat();
    names.sort_unstable();
    names.dedup();
    names
}

async fn connect(db: &TestDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(db.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn settle_in(client: &Client, role: Role) {
    if role != Role::Host {
        execute(client, engine_settings("SESSION")).await;
    }
    if role == Role::Claimer {
        execute(client, engine_settings("CLAIM_SESSION")).await;
    }
    execute(client, PATIENT).await;
}

async fn execute(client: &Client, sql: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        panic!("{sql}: {error:?}");
    }
}

/// Runs SQL and gives the rows as texts.
pub(crate) async fn rows(client: &Client, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|column| row.get(column).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    });
    Ok(rows.collect())
}
