//! What a proxy does to single statements: the faults that are armed, and the texts that are replaced.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::statements::AN_ANSWER;

/// What happens to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server runs and commits it; its reply, if it has rows, is swallowed and the connection closed.
    LoseReply,
    /// As [`LoseReply`](Self::LoseReply), for a command that answers no rows, such as COMMIT.
    LoseDone,
    /// The server runs and commits it; its reply comes but for its end, which says that it is committed, and the connection closes.
    LoseEnd,
    /// It never reaches the server; the client reads that an administrator has terminated its session.
    Terminate,
    /// It never reaches the server, and nobody answers: packets are dropped.
    Swallow,
}

/// The faults that are armed.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    armed: Arc<Mutex<Vec<(&'static str, Fault)>>>,
    /// How often a fault has struck, by the statement.
    struck: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    cut_after: Arc<Mutex<Option<usize>>>,
    /// How long the next connections take to be made, one each.
    pub(super) delays: Arc<Mutex<VecDeque<Duration>>>,
}

impl Rules {
    pub(super) fn arm(&self, statement: &'static str, fault: Fault) {
        locked(&self.armed).push((statement, fault));
    }

    pub(super) fn disarm(&self) {
        locked(&self.armed).clear();
        *locked(&self.cut_after) = None;
    }

    pub(super) fn struck(&self) -> BTreeMap<&'static str, usize> {
        locked(&self.struck).clone()
    }

    fn count(&self, what: &'static str) {
        *locked(&self.struck).entry(what).or_default() += 1;
    }

    pub(super) fn cut_after(&self, bytes: usize) {
        *locked(&self.cut_after) = Some(bytes);
    }

    /// Counts bytes that are to pass to a client; answers how many of them still do if the connection ends among them.
    pub(super) fn cut(&self, bytes: usize) -> Option<usize> {
        let mut left = locked(&self.cut_after);
        let passed = left.as_mut()?;
        if *passed < bytes {
            self.count(AN_ANSWER);
            return left.take();
        }
        *passed -= bytes;
        None
    }

    pub(super) fn has(&self, text: &str, fault: Fault) -> bool {
        let armed = locked(&self.armed);
        armed.iter().any(|rule| matches(*rule, text, fault))
    }

    /// Disarms the fault; true: it is to strike.
    pub(super) fn strike(&self, text: &str, fault: Fault) -> bool {
        let mut armed = locked(&self.armed);
        let Some(at) = armed.iter().position(|rule| matches(*rule, text, fault)) else {
            return false;
        };
        let (statement, _) = armed.remove(at);
        self.count(statement);
        true
    }
}

fn matches((statement, armed): (&str, Fault), text: &str, fault: Fault) -> bool {
    armed == fault && text.contains(statement)
}

/// Texts that are replaced in every statement that has them.
#[derive(Debug, Clone, Default)]
pub struct Rewrites {
    texts: Arc<Vec<Rewrite>>,
    made: Arc<AtomicUsize>,
}

/// One replacement: in the statement that contains `of`, `from` becomes `to`.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite {
    /// A part of the statement's text, such as its first comment.
    pub of: &'static str,
    /// What is replaced.
    pub from: &'static str,
    /// By what.
    pub to: &'static str,
}

impl Rewrites {
    /// Takes the replacements.
    #[must_use]
    pub fn new(texts: impl IntoIterator<Item = Rewrite>) -> Self {
        Self {
            texts: Arc::new(texts.into_iter().collect()),
            made: Arc::default(),
        }
    }

    /// Tells how many statements were changed: a rewrite that is never made tests nothing.
    #[must_use]
    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Rewrites a statement; nothing if it stays as it is.
    pub(super) fn of(&self, statement: &str) -> Option<String> {
        let mut text = statement.to_owned();
        for rewrite in self.texts.iter() {
            if statement.contains(rewrite.of) {
                text = text.replace(rewrite.from, rewrite.to);
            }
        }
        (text != statement).then(|| {
            self.made.fetch_add(1, Ordering::SeqCst);
            text
        })
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
