//! Scenarios: what there is, who does what in which order, and what must hold afterwards.

use super::outcome::Outcome;
use super::statements::Statements;

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The engine's for claims.
    Claimer,
    /// The engine's for everything else.
    Engine,
    /// The host application's, with the isolation that its database has.
    Host,
}

/// A run of a job: its id and fencing token.
pub(crate) type Run = (i64, i64);
/// A row as text.
pub(crate) type Row = Vec<Option<String>>;

/// What a session sends at a step, each part as a message of its own; the last one's rows are the answer.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) messages: Vec<String>,
    /// The run that it wants to end.
    pub(crate) ends: Option<Run>,
}

impl Call {
    pub(crate) fn of(message: impl Into<String>) -> Self {
        Self {
            messages: vec![message.into()],
            ends: None,
        }
    }
}

type Words = Box<dyn Fn(&Memory) -> Option<Call> + Send + Sync>;

/// Something that a session does with a statement of ours, if what it was told before gives it a reason to.
pub(crate) struct Act {
    pub(crate) name: &'static str,
    pub(crate) prepares: Vec<&'static str>,
    pub(crate) words: Words,
    pub(crate) begins: bool,
}

impl Act {
    pub(crate) fn new(
        name: &'static str,
        words: impl Fn(&Memory) -> Option<Call> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            prepares: vec![name],
            words: Box::new(words),
            begins: false,
        }
    }
}

/// One step of a session.
pub(crate) enum Step {
    Act(Act),
    Commit,
    Rollback,
}

impl From<Act> for Step {
    fn from(act: Act) -> Self {
        Self::Act(act)
    }
}

/// Begins a transaction and acts in it. Apart from the commit, as that is when the others see it and get its locks.
pub(crate) fn begin(act: Act) -> Step {
    Step::Act(Act {
        begins: true,
        ..act
    })
}

impl Step {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Act(act) => act.name,
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
        }
    }
}

/// One session and what it does, in order.
pub(crate) struct Part {
    pub(crate) role: Role,
    pub(crate) steps: Vec<Step>,
}

/// Makes the part of a session.
pub(crate) fn part<const N: usize>(role: Role, steps: [Step; N]) -> Part {
    let steps = steps.into();
    Part { role, steps }
}

/// One thing that a session was told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) ends: Option<Run>,
    /// Its process of the server.
    pub(crate) session: i64,
    /// It was committed.
    pub(crate) is_kept: bool,
}

/// What a session was told so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(pub(crate) Vec<Told>);

impl Memory {
    /// Gives the rows of the last answer of a statement; none if it was not asked.
    pub(crate) fn last(&self, name: &str) -> &[Row] {
        let told = self.0.iter().rev().find(|told| told.name == name);
        told.map_or(&[], |told| &told.rows)
    }

    /// Gives the run that this session claimed last, if it got one.
    pub(crate) fn claimed(&self) -> Option<Run> {
        let told = self.0.iter().rev().find(|told| told.is_claim())?;
        told.claims().next()
    }
}

impl Told {
    pub(crate) fn is_claim(&self) -> bool {
        matches!(self.name, "claim" | "claim_suspect" | "register and claim")
    }

    /// The runs that a claim answered.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Run> + '_ {
        let rows = self.rows.iter().filter(|_| self.is_claim());
        rows.map(|row| (number(&row[0]), number(&row[1])))
    }
}

pub(crate) fn number(column: &Option<String>) -> i64 {
    let text = column.as_deref().expect("a number is not null");
    text.parse().expect("it is a number")
}

/// A scenario: in each order of its steps that keeps each session's own, `holds` must hold beside the rules for all.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The rows that there are at first.
    pub(crate) given: &'static str,
    pub(crate) parts: Vec<Part>,
    pub(crate) holds: fn(&Outcome) -> Result<(), String>,
    pub(crate) statements: Statements,
}

impl Scenario {
    pub(crate) fn broken(mut self, name: &'static str, part: &str, by: &str) -> Self {
        self.statements = self.statements.broken(name, part, by);
        self
    }

    /// Gives all orders: whose turn it is at each step.
    pub(crate) fn orders(&self) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = self.parts.iter().map(|part| part.steps.len()).collect();
        let mut orders = Vec::new();
        arrange(&mut left, &mut Vec::new(), &mut orders);
        orders
    }
}

fn arrange(left: &mut [usize], order: &mut Vec<usize>, orders: &mut Vec<Vec<usize>>) {
    if left.iter().all(|&steps| steps == 0) {
        orders.push(order.clone());
    }
    for session in 0..left.len() {
        if left[session] > 0 {
            left[session] -= 1;
            order.push(session);
            arrange(left, order, orders);
            order.pop();
            left[session] += 1;
        }
    }
}
