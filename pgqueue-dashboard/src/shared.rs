//! Answers that all visitors share: read once, good for a while. Whoever comes while one is read waits for that one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::problem::Problem;

/// A sparing answer is good for so many times what it took to read: at most half a per cent of a core goes into it.
const SPARING: u32 = 200;
/// But for no more than so many times what it is meant to be: a database that is slow just now is looked at again.
const LONGEST: u32 = 2;

/// The newest answer of one kind.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    fresh: Duration,
    longest: Duration,
    /// How often answers were forgotten: one that was asked for before is not good, whenever it comes.
    generation: AtomicU64,
    latest: Mutex<Option<Latest<T>>>,
}

#[derive(Debug)]
struct Latest<T> {
    read: Instant,
    generation: u64,
    good_for: Duration,
    answer: Arc<T>,
}

impl<T> Shared<T> {
    /// Starts without an answer; each is good for so long.
    pub(crate) fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            longest: fresh,
            generation: AtomicU64::new(0),
            latest: Mutex::new(None),
        }
    }

    /// Has answers that take long be good for longer.
    pub(crate) fn sparing(self) -> Self {
        Self {
            longest: self.fresh * LONGEST,
            ..self
        }
    }

    fn good_for(&self, took: Duration) -> Duration {
        took.saturating_mul(SPARING).clamp(self.fresh, self.longest)
    }

    /// Gives the newest answer, or reads one if that is too old.
    pub(crate) async fn get<F>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let mut latest = self.latest.lock().await;
        let generation = self.generation.load(Ordering::SeqCst);
        if let Some(latest) = latest.as_ref()
            && latest.generation == generation
            && latest.read.elapsed() < latest.good_for
        {
            return Ok(Arc::clone(&latest.answer));
        }
        let began = Instant::now();
        let answer = Arc::new(read().await?);
        *latest = Some(Latest {
            read: Instant::now(),
            generation,
            good_for: self.good_for(began.elapsed()),
            answer: Arc::clone(&answer),
        });
        Ok(answer)
    }

    /// Has whoever comes next read anew, without waiting for what is just being read.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives the newest answer without reading anything; none if it is older, forgotten, or being read.
    pub(crate) fn peek(&self, at_most: Duration) -> Option<Arc<T>> {
        let latest = self.latest.try_lock().ok()?;
        let latest = latest.as_ref()?;
        let is_known = latest.generation == self.generation.load(Ordering::SeqCst);
        (is_known && latest.read.elapsed() < at_most).then(|| Arc::clone(&latest.answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparing_answer_is_good_for_longer_the_longer_it_took_up_to_a_limit() {
        let shared = Shared::<()>::new(Duration::from_secs(10)).sparing();
        for (took_ms, seconds) in [(0, 10), (50, 10), (60, 12), (2000, 20)] {
            let took = Duration::from_millis(took_ms);
            assert_eq!(shared.good_for(took), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn any_other_is_good_for_the_same_time_however_long_it_took() {
        let shared = Shared::<()>::new(Duration::from_secs(5));
        for took in [Duration::ZERO, Duration::MAX] {
            assert_eq!(shared.good_for(took), Duration::from_secs(5));
        }
    }

    #[actix_web::test]
    async fn an_answer_is_read_once_until_it_is_forgotten() {
        let shared = Shared::new(Duration::MAX);
        let mut reads = 0;
        for _ in 0..3 {
            let _shown = shared
                .get(async || {
                    Ok({
                        reads += 1;
                        reads
                    })
                })
                .await;
        }
        assert_eq!(reads, 1);
        assert_eq!(shared.peek(Duration::MAX).as_deref(), Some(&1));

        shared.forget();
        assert_eq!(shared.peek(Duration::MAX), None);

        let anew = shared.get(async || Ok(2)).await;
        assert_eq!(anew.ok().as_deref(), Some(&2));
    }
}
