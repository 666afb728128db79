//! The worker's settings after validation, and why each default is what it is.

use std::time::Duration;

use crate::enqueue::check_name;
use crate::error::Error;

/// A served queue and how many of its jobs may run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) queue: String,
    pub(crate) concurrency: usize,
}

/// All settings. Durations are checked by [`Config::check`].
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) concurrency: usize,
    pub(crate) batch: usize,
    pub(crate) prefetch: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) retry_base_wait: Duration,
    pub(crate) lost_base_wait: Duration,
    pub(crate) max_lost: i32,
    pub(crate) lease: Duration,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stop_wait: Duration,
    pub(crate) shutdown_grace: Duration,
    pub(crate) completed_retention: Duration,
    pub(crate) cancelled_retention: Duration,
    pub(crate) stats_retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            name: gethostname::gethostname().to_string_lossy().into_owned(),
            concurrency: 10,
            batch: 1000,
            // Longer than a claim and an end take, so that slots do not wait for them; shorter than anybody notices.
            prefetch: Duration::from_millis(50),
            poll_interval: Duration::from_secs(5),
            retry_base_wait: Duration::from_secs(1),
            lost_base_wait: Duration::from_secs(10),
            max_lost: 3,
            // Long enough for a failover or a garbage-collected host, short enough for a deploy that went wrong.
            lease: Duration::from_secs(30),
            timeout: None,
            stop_wait: Duration::from_secs(5),
            // Kubernetes kills 30 s after SIGTERM: end before.
            shutdown_grace: Duration::from_secs(25),
            completed_retention: day,
            cancelled_retention: day,
            stats_retention: 30 * day,
        }
    }
}

const PREFETCH_PATIENCE: Duration = Duration::from_millis(250);
const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Config {
    /// Checks every setting against its bounds.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.name.contains('\0') {
            return Err(Error::configuration(
                "name of the worker contains NUL, which PostgreSQL cannot store: leave it out",
            ));
        }
        check_count("concurrency", self.concurrency, 100_000)?;
        check_count("batch", self.batch, 10_000)?;
        let ms = Duration::from_millis;
        check_length("prefetch", self.prefetch, Duration::ZERO, ms(100))?;
        check_length("poll_interval", self.poll_interval, ms(10), YEAR)?;
        check_length(
            "retry_base_wait",
            self.retry_base_wait,
            Duration::ZERO,
            YEAR,
        )?;
        check_length("lost_base_wait", self.lost_base_wait, Duration::ZERO, YEAR)?;
        // A third of it must hold a reconnect and a round trip: the heartbeat gives up and connects anew after that.
        check_length("lease", self.lease, ms(500), YEAR)?;
        check_length("stop_wait", self.stop_wait, Duration::ZERO, YEAR)?;
        check_length("shutdown_grace", self.shutdown_grace, Duration::ZERO, YEAR)?;
        check_length(
            "completed_retention",
            self.completed_retention,
            Duration::ZERO,
            100 * YEAR,
        )?;
        check_length(
            "cancelled_retention",
            self.cancelled_retention,
            Duration::ZERO,
            100 * YEAR,
        )?;
        if let Some(timeout) = self.timeout {
            check_length("timeout", timeout, ms(1), YEAR)?;
        }
        if !(1..=1000).contains(&self.max_lost) {
            return Err(Error::configuration(format!(
                "max_lost of the worker is {}: it must be 1 to 1000",
                self.max_lost
            )));
        }
        Ok(())
    }

    /// How long a handler may go on after it was told to stop. Never longer than half a lease: a whole lease after its
    /// deadline the others take the job.
    pub(crate) fn stop_wait(&self) -> Duration {
        self.stop_wait.min(self.lease / 2)
    }

    /// How long a job that was claimed ahead may wait before it is given back: several times what it was claimed for. Never
    /// long enough that the others take it at its deadline, which the database counts from the claim.
    pub(crate) fn prefetch_patience(&self) -> Duration {
        PREFETCH_PATIENCE.min(self.lease / 8)
    }

    pub(crate) fn keeps_completed(&self) -> bool {
        !self.completed_retention.is_zero()
    }

    /// How often the worker's row is renewed, and the longest that one try may take: two tries that are refused at once,
    /// or one that is answered by nothing, do not cost the lease.
    pub(crate) fn beat_interval(&self) -> Duration {
        self.lease / 3
    }

    /// How often the jobs of dead workers are looked for.
    pub(crate) fn reap_interval(&self) -> Duration {
        self.lease / 6
    }
}

/// Decides which queues are served, with which concurrency.
///
/// `only`: the queues named by `only_queues`; `set`: those named by `queue`; `handled`: kind and queue of each typed handler.
pub(crate) fn lanes(
    concurrency: usize,
    only: Option<&[String]>,
    set: &[Lane],
    handled: &[(&str, Option<&'static str>)],
) -> Result<Vec<Lane>, Error> {
    let mut lanes: Vec<Lane> = Vec::new();
    for lane in set {
        check_name("queue", &lane.queue)
            .map_err(|error| Error::configuration(error.to_string()))?;
        check_count(
            &format!("concurrency of queue {:?}", lane.queue),
            lane.concurrency,
            100_000,
        )?;
        if lanes.iter().any(|have| have.queue == lane.queue) {
            return Err(Error::configuration(format!(
                "queue {:?} is set twice: keep one of the two calls",
                lane.queue
            )));
        }
        lanes.push(lane.clone());
    }
    let served = only.map(<[String]>::to_vec).unwrap_or_else(|| {
        let typed = handled
            .iter()
            .map(|(_, queue)| queue.unwrap_or("default").to_owned());
        set.iter()
            .map(|lane| lane.queue.clone())
            .chain(typed)
            .collect()
    });
    for queue in served {
        check_name("queue", &queue).map_err(|error| Error::configuration(error.to_string()))?;
        if !lanes.iter().any(|lane| lane.queue == queue) {
            lanes.push(Lane { queue, concurrency });
        }
    }
    if let Some(only) = only {
        if let Some(lane) = set.iter().find(|lane| !only.contains(&lane.queue)) {
            return Err(Error::configuration(format!(
                "queue {:?} is set, but only_queues does not have it: add it there or drop the setting",
                lane.queue
            )));
        }
        for (kind, queue) in handled {
            if let Some(queue) = queue.filter(|queue| !only.iter().any(|have| have == queue)) {
                return Err(Error::configuration(format!(
                    "kind {kind:?} is handled, but its queue {queue:?} is not served: add the queue to only_queues or drop the handler"
                )));
            }
        }
    }
    if lanes.is_empty() {
        return Err(Error::configuration(
            "the worker serves no queue: name at least one in only_queues",
        ));
    }
    Ok(lanes)
}

fn check_count(what: &str, value: usize, most: usize) -> Result<(), Error> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "{what} of the worker is {value}: it must be 1 to {most}"
    )))
}

fn check_length(what: &str, value: Duration, least: Duration, most: Duration) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "{what} of the worker is {value:?}: it must be {least:?} to {most:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(queue: &str, concurrency: usize) -> Lane {
        Lane {
            queue: queue.to_owned(),
            concurrency,
        }
    }

    #[test]
    fn the_queue_of_a_handled_type_is_served_by_default() {
        let lanes = lanes(10, None, &[], &[("receipt", Some("mail")), ("email", None)]).unwrap();
        assert_eq!(lanes, [lane("mail", 10), lane("default", 10)]);
    }

    #[test]
    fn a_handled_type_whose_queue_is_excluded_is_an_error_that_names_both() {
        let error = lanes(
            10,
            Some(&["default".to_owned()]),
            &[],
            &[("receipt", Some("mail"))],
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("\"receipt\"") && error.to_string().contains("\"mail\""),
            "{error}"
        );
    }

    #[test]
    fn settings_of_no_use_are_errors() {
        assert!(lanes(10, Some(&[]), &[], &[]).is_err());
        assert!(lanes(10, None, &[lane("mail", 0)], &[]).is_err());
        assert!(lanes(10, None, &[lane("", 1)], &[]).is_err());
        assert!(lanes(10, None, &[lane("a", 1), lane("a", 2)], &[]).is_err());
        assert!(lanes(10, Some(&["a".to_owned()]), &[lane("b", 1)], &[]).is_err());
    }

    #[test]
    fn every_setting_out_of_bounds_is_an_error() {
        let broken: [fn(&mut Config); 6] = [
            |config| config.concurrency = 0,
            |config| config.batch = 0,
            |config| config.poll_interval = Duration::ZERO,
            |config| config.lease = Duration::from_millis(1),
            |config| config.timeout = Some(Duration::ZERO),
            |config| config.max_lost = 0,
        ];
        for change in broken {
            let mut config = Config::default();
            change(&mut config);
            assert!(config.check().is_err());
        }
        assert!(Config::default().check().is_ok());
    }
}
