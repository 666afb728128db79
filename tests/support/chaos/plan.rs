//! What a producer decides to do next, from its seed alone.

use std::time::Duration;

use fastrand::Rng;
use pgqueue_core::NewJob;

use super::{Act, Menu, QUEUES, Soak};

/// One transaction of a producer.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The jobs.
    pub jobs: Vec<Wish>,
    /// Enqueues them by one call.
    pub in_bulk: bool,
    /// What becomes of them.
    pub end: End,
}

/// A job that a producer wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The job.
    pub soak: Soak,
    queue: &'static str,
    key: Option<String>,
    delay: Duration,
    max_retries: i32,
    priority: i16,
}

/// How a producer's transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There is none: each call commits by itself.
    Alone,
    /// It commits.
    Commit,
    /// It is rolled back.
    RollBack,
    /// The process is killed before it commits.
    Die,
}

impl Wish {
    /// Gives the unique key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Makes the job to enqueue.
    pub fn to_new(&self) -> NewJob {
        let job = pgqueue_core::new(self.soak).queue(self.queue);
        let job = job.max_retries(self.max_retries).priority(self.priority);
        let job = match self.delay {
            Duration::ZERO => job,
            delay => job.delay(delay),
        };
        match &self.key {
            Some(key) => job.unique_key(key.as_str()),
            None => job,
        }
    }
}

impl Plan {
    /// Decides on the next transaction; its jobs are numbered from `first` on.
    #[must_use]
    pub fn next(rng: &mut Rng, menu: Menu, first: i64) -> Self {
        let end = match rng.u8(..100) {
            0..1 => End::Die,
            1..31 => End::RollBack,
            31..76 => End::Commit,
            _ => End::Alone,
        };
        let in_bulk = rng.u8(..100) < 30;
        let count = if in_bulk {
            rng.i64(1..=60)
        } else {
            rng.i64(1..=3)
        };
        Self {
            jobs: (first..first + count)
                .map(|intent| wish(rng, menu, intent))
                .collect(),
            in_bulk,
            end,
        }
    }

    /// Gives the producer's numbers of the jobs.
    #[must_use]
    pub fn intents(&self) -> Vec<i64> {
        self.jobs.iter().map(|wish| wish.soak.intent).collect()
    }
}

fn wish(rng: &mut Rng, menu: Menu, intent: i64) -> Wish {
    let act = match rng.u16(..1000) {
        0..350 => Act::Return,
        350..550 => Act::Sleep(rng.u64(1..60)),
        550..800 => Act::Effect(rng.u64(0..20)),
        800..900 => Act::Fail(rng.i32(1..=3)),
        900..930 => Act::Panic,
        930..960 => Act::Snooze,
        960..980 => Act::GiveUp,
        980..982 => Act::Sleep(2500),
        982 if menu == Menu::All => Act::Crash,
        _ => Act::Return,
    };
    let is_long = menu == Menu::Long;
    let act = match act {
        Act::Sleep(_) if is_long => Act::Sleep(rng.u64(1000..2000)),
        Act::Effect(_) if is_long => Act::Effect(rng.u64(1000..2000)),
        act => act,
    };
    let queue = match act {
        Act::Effect(_) => QUEUES[2].0,
        Act::Sleep(_) => QUEUES[1].0,
        _ => QUEUES[0].0,
    };
    let is_keyed = rng.u8(..100) < 10;
    let is_delayed = rng.u8(..100) < 20;
    Wish {
        soak: Soak { intent, act },
        queue,
        key: is_keyed.then(|| format!("key {}", rng.u8(..50))),
        delay: Duration::from_millis(if is_delayed { rng.u64(1..2000) } else { 0 }),
        max_retries: rng.i32(match menu {
            Menu::All | Menu::Harmless => 0..=3,
            Menu::Long => 0..=0,
        }),
        priority: if rng.u8(..10) == 0 { rng.i16(0..=9) } else { 5 },
    }
}
