//! Queues that are broken in one place each: the checker must find every one.
//!
//! The worker under test is the one that is released. A proxy breaks its statements under way, or the database is changed: so
//! no code of a bug is in the crate. Where a race is rare, the window is widened by a sleep, as a fail point would.

use std::time::Duration;

use pgqueue_suite::proxy::statements::*;
use pgqueue_suite::proxy::{Rewrite, Rewrites};

use crate::checker::Rule::{self, *};
use crate::faults::Mix;
use crate::report::Report;
use crate::soak::{self, Least, Settings};

/// A bug.
#[derive(Debug, Clone)]
pub(crate) struct Bug {
    /// What is changed in the statements under way.
    rewrites: &'static [Rewrite],
    /// What is changed in the database.
    pub(crate) sql: &'static str,
    /// The faults that it shows under.
    pub(crate) mix: Mix,
    /// How long they come.
    length: Duration,
}

const NONE: Bug = Bug {
    rewrites: &[],
    sql: "",
    mix: Mix::Storm,
    length: Duration::from_secs(42),
};

impl Bug {
    /// Gives what breaks the statements.
    pub(crate) fn rewrites(&self) -> Rewrites {
        Rewrites::new(self.rewrites.iter().copied())
    }
}

const fn rewrite(of: &'static str, from: &'static str, to: &'static str) -> Rewrite {
    Rewrite { of, from, to }
}

/// How often a bug may hide: a race takes luck.
const TRIES: u64 = 5;
/// How long it takes at most to find one that shows.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a queue with a bug in it, and checks that one of the rules is found broken.
async fn assert_found(bug: Bug, rules: &[Rule]) {
    let mut reports = Vec::new();
    for number in 0..TRIES {
        let report = run(bug.clone(), number).await;
        let mut violations = report.violations.iter();
        if violations.any(|found| rules.contains(&found.rule)) {
            assert!(report.took < LIMIT, "{report}");
            return;
        }
        reports.push(report.to_string());
    }
    panic!("none of {rules:?} in {reports:#?}");
}

/// Checks that the rules hold for the queue as it is, under the same faults and for the same time as for one with a bug.
async fn assert_nothing_found(mix: Mix) {
    let report = run(Bug { mix, ..NONE }, 0).await;
    assert_eq!(report.violations, [], "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_stopped_break_no_rule_without_a_bug() {
    assert_nothing_found(Mix::Zombies).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_are_not_answered_break_no_rule_without_a_bug() {
    assert_nothing_found(Mix::Losses).await;
}

/// Runs it for less than a minute.
#[expect(clippy::print_stderr, reason = "the figures are what one runs it for")]
async fn run(bug: Bug, number: u64) -> Report {
    let is_rewritten = !bug.rewrites.is_empty();
    let seed = crate::number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let settings = Settings {
        seed: seed + number,
        length: bug.length,
        least: Least::default(),
        outages_every: Duration::MAX,
        restarts_to_promotion: 1,
        bug: Some(bug),
    };
    let report = soak::run(settings).await;
    let test = std::thread::current();
    let (test, took) = (test.name().unwrap_or_default(), report.took.as_secs_f64());
    eprintln!("{test}, try {}, in {took:.1} s: {report}", number + 1);
    assert_eq!(report.rewritten() > 0, is_rewritten, "the bug was there");
    report
}

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident breaks $rules:expr, $bug:expr;)+) => {
        $(
            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                const BUG: Bug = $bug;
                assert_found(BUG, &$rules).await;
            }
        )+
    };
}

bugs! {
    an_end_without_a_fence_is_found breaks [OwnEnd], Bug {
        rewrites: &[rewrite(FINISH, "  AND j.fencing_token = e.token\n", "")],
        mix: Mix::Zombies,
        ..NONE
    };

    /// Attempts go back to zero when a job is requeued: then an old run has the number of a new one.
    an_attempt_as_the_fence_is_found breaks [OwnEnd], Bug {
        rewrites: &[rewrite(
            FINISH,
            "j.fencing_token = e.token",
            "j.attempt = (SELECT c.after_attempt FROM changes AS c WHERE c.job = e.id AND c.after_token = e.token AND c.after_state = 'running' LIMIT 1)",
        )],
        sql: "CREATE INDEX ON changes (job)",
        mix: Mix::Zombies,
        ..NONE
    };

    a_completion_in_a_transaction_without_a_fence_is_found breaks [EffectOnce, OwnEnd], Bug {
        rewrites: &[rewrite(COMPLETE, "j.fencing_token = $2::bigint", "$2::bigint IS NOT NULL")],
        mix: Mix::Zombies,
        ..NONE
    };

    a_claim_that_locks_nothing_is_found breaks [LegalMoves], Bug {
        rewrites: &[rewrite(CLAIM, "FOR UPDATE SKIP LOCKED", "")],
        ..NONE
    };

    /// The limit holds for each run of the subquery, and a nested loop runs it once a row.
    a_claim_by_a_subquery_in_in_is_found breaks [ClaimFits], Bug {
        rewrites: &[rewrite(
            CLAIM,
            "WHERE j.id = ANY (ARRAY(SELECT picked.id FROM picked WHERE NOT picked.is_left))",
            "WHERE j.state = 'pending' AND j.id IN (
                SELECT due.id
                FROM pgqueue_jobs AS due
                WHERE due.state = 'pending' AND due.queue = ANY ($1::text[]) AND due.kind = ANY ($5::text[]) AND due.run_at <= now() AND due.lost = 0
                ORDER BY due.run_at, due.id
                LIMIT (SELECT greatest(min(room.slots), 1) FROM unnest($10::integer[]) AS room(slots))
                FOR UPDATE SKIP LOCKED
            )",
        )],
        ..NONE
    };

    /// A row that changed meanwhile is looked at again, but the workers are those of before.
    a_rescue_by_an_anti_join_is_found breaks [LeaseRespected], Bug {
        rewrites: &[rewrite(
            RESCUE,
            "claimed_by = ANY ($1::bigint[])",
            "claimed_by <> ALL (ARRAY[]::bigint[]) AND $1::bigint[] IS NOT NULL AND (SELECT pg_sleep(0.3)::text) IS NOT NULL
                AND NOT EXISTS (SELECT FROM pgqueue_workers AS w WHERE w.id = j.claimed_by)",
        )],
        ..NONE
    };

    a_rescue_before_the_lease_has_run_out_is_found breaks [LeaseRespected], Bug {
        rewrites: &[rewrite(EXPIRE, "expires_at < clock_timestamp()", "expires_at < clock_timestamp() + interval '1.5 seconds'")],
        ..NONE
    };

    a_queue_without_a_rescue_is_found breaks [RunningHasOwner], Bug {
        rewrites: &[rewrite(EXPIRE, "expires_at < clock_timestamp()", "false")],
        ..NONE
    };

    a_session_that_stays_in_a_transaction_is_found breaks [NoIdleTransaction], Bug {
        rewrites: &[rewrite(
            "SET default_transaction_isolation",
            "SET default_transaction_isolation",
            "BEGIN; SET default_transaction_isolation",
        )],
        mix: Mix::Losses,
        ..NONE
    };

    a_loss_that_is_forgotten_is_found breaks [LossesAreCounted], Bug {
        rewrites: &[rewrite(RESCUE, "lost = least(j.lost, 2147483646) + 1", "lost = j.lost")],
        ..NONE
    };

    a_queue_without_reconcile_is_found breaks [CommittedRuns, Drains], Bug {
        rewrites: &[rewrite(RECONCILE, "j.claimed_by = $1::bigint", "j.claimed_by = $1::bigint AND false")],
        mix: Mix::Losses,
        // It shows once nobody takes the jobs of a worker that lives.
        length: Duration::from_secs(25),
        ..NONE
    };

    a_release_that_burns_an_attempt_is_found breaks [AttemptsAreClaims], Bug {
        rewrites: &[rewrite(FINISH, "attempt = j.attempt - e.refund", "attempt = j.attempt")],
        ..NONE
    };

    a_trigger_that_does_not_notify_is_found breaks [WakesUp], Bug {
        sql: "CREATE OR REPLACE FUNCTION pgqueue_wake_queue(queue text, due timestamptz) RETURNS void LANGUAGE plpgsql AS 'BEGIN END'",
        mix: Mix::Losses,
        ..NONE
    };

    a_requeue_that_resets_the_token_is_found breaks [TokenByOne], Bug {
        sql: "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('pgqueue_requeue(bigint[])'::regprocedure), 'lost = 0,', 'lost = 0, fencing_token = 0,'); END $$",
        ..NONE
    };

    an_insert_that_does_not_look_at_unique_keys_is_found breaks [UniqueKey], Bug {
        rewrites: &[rewrite(
            "-- Enqueues",
            "ON CONFLICT (queue, unique_key) WHERE unique_key IS NOT NULL AND state IN ('pending', 'running') DO NOTHING",
            "",
        )],
        sql: "DROP INDEX pgqueue_jobs_unique",
        ..NONE
    };

    a_job_that_vanishes_is_found breaks [CommittedRuns, UniqueKey], Bug {
        sql: "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql SET session_replication_role = replica AS
                $$ BEGIN DELETE FROM pgqueue_jobs WHERE id = NEW.id; RETURN NULL; END $$;
            CREATE TRIGGER lose AFTER INSERT ON pgqueue_jobs FOR EACH ROW WHEN (NEW.id % 100 = 0) EXECUTE FUNCTION lose()",
        ..NONE
    };

    a_job_without_the_data_beside_it_is_found breaks [AtomicEnqueue], Bug {
        sql: "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
            CREATE TRIGGER lose BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.intent % 100 = 0) EXECUTE FUNCTION lose()",
        ..NONE
    };
}
