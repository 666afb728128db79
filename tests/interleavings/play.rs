//! Plays one order of a scenario's steps, as PostgreSQL's isolation tester does: a step that waits for a lock is left to
//! wait while the others go on, and is heard once it has got it. What waits is asked of the server, never guessed by time.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::outcome::Outcome;
use super::rules;
use super::script::{Call, Memory, Role, Row, Scenario, Step, Told};
use super::settings::Isolation;
use super::stage::{Session, Stage, rows};

/// Only a statement that hangs is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// The server is asked who waits only when an answer is not there so soon; that it is not proves nothing.
const SOON: Duration = Duration::from_millis(2);
const SERIALIZATION_FAILURE: &str = "40001";

/// What the server refused.
struct Refusal {
    code: String,
    message: String,
}

/// A step that was begun and has not answered.
struct Asked {
    name: &'static str,
    begins: bool,
    ends: Option<(i64, i64)>,
    waits: bool,
    answer: JoinHandle<Result<Vec<Row>, Refusal>>,
}

/// How far a session is.
#[derive(Default)]
struct Actor {
    /// Its process of the server.
    session: i64,
    next: usize,
    memory: Memory,
    asked: Option<Asked>,
    /// From which answer on it is in a transaction.
    begun: Option<usize>,
    /// It was refused, has rolled back and leaves its other steps.
    refused: Option<Refusal>,
}

/// What there was to see in some orders.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) orders: usize,
    /// Steps that waited for a lock of another session.
    pub(crate) waits: usize,
    /// Transactions that were told to run again.
    pub(crate) again: usize,
}

struct Play<'a> {
    stage: &'a Stage,
    scenario: &'a Scenario,
    actors: Vec<Actor>,
    story: String,
    tally: &'a mut Tally,
}

/// Plays an order from fresh rows, and tells what it broke, if anything.
pub(crate) async fn play(
    stage: &Stage,
    scenario: &Scenario,
    order: &[usize],
    tally: &mut Tally,
) -> Result<(), String> {
    stage.reset().await;
    tally.orders += 1;
    let mut play = Play {
        stage,
        scenario,
        actors: stage.sessions.iter().map(Actor::of).collect(),
        story: String::new(),
        tally,
    };
    let judged = play.run(order).await.and_then(|outcome| {
        let judged = rules::check(&outcome).and_then(|()| (scenario.holds)(&outcome));
        judged.map_err(|broken| format!("{broken}\nleft: {:#?}", outcome.jobs))
    });
    judged.map_err(|broken| {
        let (name, order) = (scenario.name, play.described(order));
        format!("{name}: {broken}\norder: {order}\n{}", play.story)
    })
}

impl Play<'_> {
    async fn run(&mut self, order: &[usize]) -> Result<Outcome, String> {
        let mut turns: VecDeque<usize> = order.iter().copied().collect();
        loop {
            let free = turns.iter().position(|&session| self.is_free(session));
            if let Some(session) = free.and_then(|at| turns.remove(at)) {
                self.begin(session).await;
                self.settle().await?;
            } else if self.actors.iter().any(|actor| actor.asked.is_some()) {
                self.resolve().await?;
            } else {
                break;
            }
        }
        self.run_again().await?;
        let memories = self.actors.iter().map(|actor| actor.memory.clone());
        Ok(self.stage.outcome(memories.collect()).await)
    }

    fn is_free(&self, session: usize) -> bool {
        self.actors[session].asked.is_none()
    }

    /// Begins the next step of a session, if there is anything to do at it.
    async fn begin(&mut self, session: usize) {
        let actor = &mut self.actors[session];
        let step = &self.scenario.parts[session].steps[actor.next];
        actor.next += 1;
        let Some(call) = actor.call(step) else { return };
        let client = Arc::clone(&self.stage.sessions[session].client);
        let mut answer = tokio::spawn(speak(client, call.messages));
        let early = tokio::time::timeout(SOON, &mut answer).await;
        let answer = match early {
            // A task that has answered cannot be asked again.
            Ok(answer) => tokio::spawn(async { answer.unwrap() }),
            Err(_) => answer,
        };
        actor.asked = Some(Asked {
            name: step.name(),
            begins: matches!(step, Step::Act(act) if act.begins),
            ends: call.ends,
            waits: false,
            answer,
        });
    }

    /// Goes on once every step that was begun has answered or waits for a lock of another session.
    async fn settle(&mut self) -> Result<(), String> {
        let give_up = Instant::now() + PATIENCE;
        let mut session = 0;
        while session < self.actors.len() {
            if self.hear(session).await? {
                session = 0; // what it held, others may have got
            } else if self.is_free(session) {
                session += 1;
            } else if self.stage.waits(session).await {
                self.note_wait(session);
                session += 1;
            } else if Instant::now() > give_up {
                return Err(format!(
                    "session {session} neither answers nor waits for a lock"
                ));
            }
        }
        Ok(())
    }

    /// Hears what a session was answered, if it was; true: it was.
    async fn hear(&mut self, session: usize) -> Result<bool, String> {
        tokio::task::yield_now().await;
        let actor = &mut self.actors[session];
        let asked = actor.asked.take_if(|asked| asked.answer.is_finished());
        let Some(asked) = asked else { return Ok(false) };
        let answer = asked.answer.await.expect("the session goes on");
        let said = match &answer {
            Ok(rows) => format!("{}: {rows:?}", asked.name),
            Err(refusal) => format!("{}: {} {}", asked.name, refusal.code, refusal.message),
        };
        actor.learn(asked.name, asked.begins, asked.ends, answer);
        self.note(session, &said);
        self.judge_refusal(session)?;
        Ok(true)
    }

    fn note(&mut self, session: usize, said: &str) {
        let _infallible = writeln!(self.story, "  {session} {said}");
    }

    /// Notes once that a step waits.
    fn note_wait(&mut self, session: usize) {
        let asked = self.actors[session].asked.as_mut();
        let Some(asked) = asked.filter(|asked| !asked.waits) else {
            return;
        };
        asked.waits = true;
        let said = format!("{} waits", asked.name);
        self.note(session, &said);
        self.tally.waits += 1;
    }

    /// Refused may only be a transaction of the host that asked for more than READ COMMITTED: it is to run again.
    fn judge_refusal(&self, session: usize) -> Result<(), String> {
        let Some(refusal) = &self.actors[session].refused else {
            return Ok(());
        };
        let is_strict = self.stage.sessions[session].role == Role::Host
            && self.stage.isolation != Isolation::ReadCommitted;
        if is_strict && refusal.code == SERIALIZATION_FAILURE {
            return Ok(());
        }
        Err(format!(
            "session {session} was refused: {} {}",
            refusal.code, refusal.message
        ))
    }

    /// All wait: the server must find the deadlock, if it is one that it knows of.
    async fn resolve(&mut self) -> Result<(), String> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            for session in 0..self.actors.len() {
                if self.hear(session).await? {
                    return self.settle().await;
                }
            }
            if Instant::now() > give_up {
                return Err(String::from("all sessions wait for each other"));
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Runs the transactions again that were told to, one after the other: now they must succeed.
    async fn run_again(&mut self) -> Result<(), String> {
        for session in 0..self.actors.len() {
            if self.actors[session].refused.take().is_none() {
                continue;
            }
            self.actors[session].next = 0;
            self.tally.again += 1;
            for _ in 0..self.scenario.parts[session].steps.len() {
                self.begin(session).await;
                self.settle().await?;
            }
            if self.actors[session].refused.is_some() {
                return Err(format!("session {session} was refused alone"));
            }
        }
        Ok(())
    }

    fn described(&self, order: &[usize]) -> String {
        let mut next = vec![0; self.actors.len()];
        let names = order.iter().map(|&session| {
            let step = &self.scenario.parts[session].steps[next[session]];
            next[session] += 1;
            format!("{session} {}", step.name())
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

impl Actor {
    fn of(session: &Session) -> Self {
        Self {
            session: session.pid,
            ..Self::default()
        }
    }

    /// Gives what to send at a step. Who has begun no transaction has none to end.
    fn call(&self, step: &Step) -> Option<Call> {
        if self.refused.is_some() {
            return None;
        }
        match step {
            Step::Act(act) => {
                let mut call = (act.words)(&self.memory)?;
                if act.begins {
                    call.messages.insert(0, String::from("BEGIN"));
                }
                Some(call)
            }
            Step::Commit | Step::Rollback => self.begun.map(|_| Call::of(step.name())),
        }
    }

    fn learn(
        &mut self,
        name: &'static str,
        begins: bool,
        ends: Option<(i64, i64)>,
        answer: Result<Vec<Row>, Refusal>,
    ) {
        let rows = match answer {
            Ok(rows) => rows,
            Err(refusal) => {
                self.refused = Some(refusal);
                self.begun = None;
                return;
            }
        };
        match name {
            "COMMIT" => {
                let begun = self.begun.take().unwrap_or_default();
                for told in &mut self.memory.0[begun..] {
                    told.is_kept = true;
                }
            }
            "ROLLBACK" => self.begun = None,
            _ => {
                if begins {
                    self.begun = Some(self.memory.0.len());
                }
                self.memory.0.push(Told {
                    name,
                    rows,
                    ends,
                    session: self.session,
                    is_kept: self.begun.is_none(),
                });
            }
        }
    }
}

/// Sends messages one after the other, and gives the rows of the last. Who is refused rolls back, as a pool or Diesel does.
async fn speak(client: Arc<Client>, messages: Vec<String>) -> Result<Vec<Row>, Refusal> {
    let mut last = Vec::new();
    for message in messages {
        match rows(&client, &message).await {
            Ok(rows) => last = rows,
            Err(error) => {
                let refusal = Refusal {
                    code: error.code().map_or("", |code| code.code()).to_owned(),
                    message: format!("{error:?}"),
                };
                client.batch_execute("ROLLBACK").await.unwrap();
                return Err(refusal);
            }
        }
    }
    Ok(last)
}
