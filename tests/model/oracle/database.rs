//! The system under test: PostgreSQL, a session for all that engines do, and one for the handler of each job.
//!
//! Every statement's answer is compared with what the model says, and after each step all rows.

use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use pgqueue_suite::TestDatabase;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use super::super::protocol::World;
use super::super::protocol::event::{Event, Pick};
use super::super::protocol::job::State;
use super::super::protocol::process::{Process, Run, Stage};
use super::answer::{agree, array, disowned, finish, in_order, query};
use super::reference::{JOBS, RULES_HERE};
use super::texts::Texts;
use super::{operator, rows};

/// Longer than any test.
const LEASE: &str = "1 h";
/// No step may wait for a lock: nobody would end the transaction that has it.
const PATIENCE: &str = "10 s";

pub(super) struct Database {
    runtime: Runtime,
    engine: Client,
    handlers: Vec<Client>,
    operator: PgConnection,
    /// Ids of the model's jobs.
    ids: Vec<i64>,
    /// Dropped last.
    _database: TestDatabase,
}

impl Database {
    pub(super) fn new(texts: Texts) -> Self {
        let database = TestDatabase::migrated();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime is made");
        let connect = || {
            runtime.block_on(async {
                let connecting = tokio_postgres::connect(database.url(), NoTls);
                let (client, connection) = connecting.await.expect("PostgreSQL is there");
                tokio::spawn(connection);
                let prepare = format!(
                    "SET lock_timeout = '{PATIENCE}'; {} {}",
                    texts.prepare(),
                    rows::PREPARE
                );
                let prepared = client.batch_execute(&prepare).await;
                prepared.expect("the statements can be prepared");
                client
            })
        };
        let mut operator = database.sync();
        let impatient = format!("SET lock_timeout = '{PATIENCE}'");
        operator
            .batch_execute(&impatient)
            .expect("the session is set");
        Self {
            engine: connect(),
            handlers: (0..JOBS).map(|_| connect()).collect(),
            operator,
            ids: Vec::new(),
            runtime,
            _database: database,
        }
    }

    /// Empties the tables, and registers the processes that are there from the start.
    pub(super) fn begin(&mut self, world: &World) -> Result<(), String> {
        for job in 0..JOBS {
            self.handle(job, "ROLLBACK")?;
        }
        self.run("TRUNCATE pgqueue_jobs, pgqueue_workers, pgqueue_audit RESTART IDENTITY")?;
        self.ids.clear();
        for process in &world.processes {
            self.register(process)?;
        }
        self.compare(world)
    }

    /// Does what the model has done, and compares.
    pub(super) fn step(
        &mut self,
        before: &World,
        after: &World,
        event: Event,
    ) -> Result<(), String> {
        if !after.wrongs.is_empty() {
            return Err(format!("the model itself is wrong: {:?}", after.wrongs));
        }
        match event {
            Event::Claim(p, pick) => self.claim(before, after, p, pick)?,
            Event::OpenEffect(p, r) => self.open_effect(before, after, p, r)?,
            Event::CommitEffect(p, r) | Event::CommitUnanswered(p, r) => {
                self.handle(before.processes[p].runs[r].job.into(), "COMMIT")?;
            }
            Event::RollBack(..) | Event::Crash(_) => self.roll_back(before, after)?,
            Event::SendAck(p, r) | Event::AckUnanswered(p, r) => {
                self.finish(before, after, p, r)?;
            }
            Event::ReadBack(p, r) => self.read_back(before, p, r)?,
            Event::Cancel(job) | Event::Requeue(job) | Event::RunNow(job) | Event::Purge(job) => {
                operator::act(&mut self.operator, before, event, self.ids[job])?;
            }
            Event::Enqueue(key, priority, max_retries) => {
                let enqueued = operator::enqueue(&mut self.operator, key, priority, max_retries)?;
                let is_new = after.jobs.len() > before.jobs.len();
                agree("is it new", enqueued.inserted, is_new)?;
                self.ids.extend(is_new.then_some(enqueued.id));
            }
            event => self.step_of_worker(before, after, event)?,
        }
        self.compare(after)
    }

    fn step_of_worker(
        &mut self,
        before: &World,
        after: &World,
        event: Event,
    ) -> Result<(), String> {
        match event {
            Event::Beat(p) => {
                let id = before.processes[p].id;
                let started_at = format!("SELECT started_at FROM pgqueue_workers WHERE id = {id}");
                let started_at = self.run(&started_at)?.pop().unwrap_or("epoch".to_owned());
                let renewed =
                    self.run(&format!("EXECUTE beat ({id}, '{LEASE}', '{started_at}')"))?;
                let is_registered = before.is_registered(id);
                agree(
                    "is it registered",
                    renewed.len(),
                    usize::from(is_registered),
                )?;
                if !is_registered {
                    self.register(&after.processes[p])?;
                }
            }
            Event::RunOut(id) => {
                let expires = "clock_timestamp() - interval '1 second'";
                self.run(&format!(
                    "UPDATE pgqueue_workers SET expires_at = {expires} WHERE id = {id}"
                ))?;
            }
            Event::Start(p) => self.register(&after.processes[p])?,
            Event::Leave(p) => {
                self.run(&format!("EXECUTE unregister ({})", before.processes[p].id))?;
            }
            Event::Expire(p) => {
                let judge = before.processes[p].id;
                let expired = self.run(&format!("EXECUTE expire_workers ({judge})"))?;
                agree(
                    "how many have expired",
                    expired.len(),
                    before.rows.len() - after.rows.len(),
                )?;
            }
            Event::Pin(_) => {
                let lost = self.run("EXECUTE lost ('30 s')")?;
                let lost: Vec<String> = lost.iter().map(|answer| in_order(answer)).collect();
                let has_expired = before.rows.iter().any(|row| row.has_expired);
                let has_expired = if has_expired { "t" } else { "f" };
                let owners = array(before.missing_owners());
                agree(
                    "what is lost",
                    lost,
                    vec![format!("{has_expired} {owners} f")],
                )?;
            }
            Event::Rescue(p) => self.rescue(before, after, p)?,
            Event::EndReconcile(p) => self.reconcile(before, after, p)?,
            // What a process does by itself, or does not hear.
            _ => {}
        }
        Ok(())
    }

    fn register(&mut self, process: &Process) -> Result<(), String> {
        let register = format!(
            "EXECUTE register ('name', 'host', 1, '0', '{{\"default\": 3}}', '{{kind}}', '{LEASE}')"
        );
        let registered = self.run(&register)?;
        let id = registered.first().and_then(|row| row.split(' ').next());
        agree("the new id", id, Some(process.id.to_string().as_str()))
    }

    fn claim(&mut self, before: &World, after: &World, p: usize, pick: Pick) -> Result<(), String> {
        let Process { id, batch, .. } = before.processes[p];
        let batch = batch + 1;
        let claim = match pick {
            Pick::First { most, free } => format!(
                "EXECUTE claim ('{{default}}', '{{{most}}}', array_fill('-infinity'::timestamptz, '{{10}}'), \
                 array_fill(0::bigint, '{{10}}'), '{{kind}}', 100, {id}, {batch}, NULL, '{{{free}}}', 1000000)"
            ),
            _ => format!("EXECUTE claim_suspect ('{{default}}', '{{kind}}', {id}, {batch}, NULL)"),
        };
        let answered = self.run(&claim)?;
        // Of each row the id, the token and the attempt.
        let mut answered: Vec<Vec<String>> = answered
            .iter()
            .map(|row| row.split(' ').map(str::to_owned).collect())
            .map(|row: Vec<String>| vec![row[0].clone(), row[1].clone(), row[9].clone()])
            .collect();
        let taken = after.processes[p]
            .claim
            .as_ref()
            .and_then(|claim| claim.taken.as_ref());
        let mut expected: Vec<Vec<String>> = taken
            .into_iter()
            .flatten()
            .map(|run| {
                vec![
                    self.id(run).to_string(),
                    run.token.to_string(),
                    run.attempt.to_string(),
                ]
            })
            .collect();
        answered.sort();
        expected.sort();
        agree(
            "what the claim took (id, token, attempt)",
            answered,
            expected,
        )
    }

    /// The end of one run. It comes back if and only if the model says so, with the state that the model says.
    fn finish(&mut self, before: &World, after: &World, p: usize, r: usize) -> Result<(), String> {
        let run = &before.processes[p].runs[r];
        let Stage::Ended(ending) = run.stage else {
            return Err("the run has not ended".to_owned());
        };
        let job = &before.jobs[usize::from(run.job)];
        let stored = self.run(&finish(self.id(run), run, job, ending))?;
        let token_and_state =
            |row: &String| row.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ");
        let stored: Vec<String> = stored.iter().map(token_and_state).collect();
        let is_ours = job.is_run_by(run, RULES_HERE.fence, &RULES_HERE);
        let state = after.jobs[usize::from(run.job)].state.name();
        let expected = is_ours.then(|| format!("{} {state}", run.token));
        let expected: Vec<String> = expected.into_iter().collect();
        agree("what became of the row", stored, expected)
    }

    fn read_back(&mut self, before: &World, p: usize, r: usize) -> Result<(), String> {
        let run = &before.processes[p].runs[r];
        let id = self.id(run);
        let read = self.run(&format!("EXECUTE read_back ('{{{id}}}')"))?;
        let read: Vec<String> = read
            .iter()
            .map(|row| row.split(' ').take(3).collect::<Vec<_>>().join(" "))
            .collect();
        let job = &before.jobs[usize::from(run.job)];
        let row = format!("{id} {} {}", job.token, job.state.name());
        let expected: Vec<String> = (job.state != State::Gone)
            .then_some(row)
            .into_iter()
            .collect();
        agree("what is read back", read, expected)
    }

    fn open_effect(
        &mut self,
        before: &World,
        after: &World,
        p: usize,
        r: usize,
    ) -> Result<(), String> {
        let run = &before.processes[p].runs[r];
        let id = self.id(run);
        let job = usize::from(run.job);
        self.handle(job, "BEGIN")?;
        let complete = format!("EXECUTE complete_in ({id}, {}, NULL)", run.token);
        let completed = self.handle(job, &complete)?;
        let is_ours = after.processes[p].runs[r].stage == Stage::Effect;
        if !is_ours {
            self.handle(job, "ROLLBACK")?;
        }
        agree(
            "is the run the current one",
            completed.len(),
            usize::from(is_ours),
        )
    }

    /// Ends the transactions whose locks are gone.
    fn roll_back(&mut self, before: &World, after: &World) -> Result<(), String> {
        for (index, (was, job)) in before.jobs.iter().zip(&after.jobs).enumerate() {
            if was.locked_by != job.locked_by {
                self.handle(index, "ROLLBACK")?;
            }
        }
        Ok(())
    }

    fn rescue(&mut self, before: &World, after: &World, p: usize) -> Result<(), String> {
        let pinned = before.processes[p].pinned.clone();
        let owners = array(pinned.map(|pinned| pinned.owners).unwrap_or_default());
        let rescue = format!(
            "EXECUTE rescue ('{owners}', {}, 0, 500)",
            RULES_HERE.max_lost
        );
        let taken = self.run(&rescue)?;
        agree("how many are rescued", taken.len(), disowned(before, after))
    }

    fn reconcile(&mut self, before: &World, after: &World, p: usize) -> Result<(), String> {
        let Some(known) = &before.processes[p].reconcile else {
            return Err("the process has not noted what it knows".to_owned());
        };
        let jobs = array(known.known.iter().map(|job| self.ids[usize::from(*job)]));
        let reconcile = format!(
            "EXECUTE reconcile ({}, {}, '{jobs}')",
            known.worker, known.ended_batch
        );
        let released = self.run(&reconcile)?;
        agree(
            "how many are released",
            released.len(),
            disowned(before, after),
        )
    }

    fn compare(&mut self, world: &World) -> Result<(), String> {
        let found = self.run(rows::READ)?;
        let expected = rows::expected(world, &self.ids);
        if found == expected {
            return Ok(());
        }
        let differs = |lines: &[String], others: &[String]| {
            let lines = lines.iter().filter(|line| !others.contains(line));
            lines
                .map(|line| format!("\n    {line}"))
                .collect::<String>()
        };
        Err(format!(
            "the rows differ\n  in the database:{}\n  by the model:{}",
            differs(&found, &expected),
            differs(&expected, &found)
        ))
    }

    fn id(&self, run: &Run) -> i64 {
        self.ids[usize::from(run.job)]
    }

    fn run(&self, sql: &str) -> Result<Vec<String>, String> {
        self.runtime.block_on(query(&self.engine, sql))
    }

    /// In the session of a job's handler: at most one has its row.
    fn handle(&self, job: usize, sql: &str) -> Result<Vec<String>, String> {
        self.runtime.block_on(query(&self.handlers[job], sql))
    }
}
