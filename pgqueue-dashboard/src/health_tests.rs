//! The sentence of the overview, condition by condition.

use std::time::Duration;

use chrono::Utc;
use pgqueue_core::stats::{Count, KindStats, QueueStats};

use crate::health::{Health, Level, health};

fn exactly(at_least: i64) -> Count {
    Count {
        at_least,
        exact: true,
    }
}

fn queue(name: &str) -> QueueStats {
    let mut queue = QueueStats::empty(name);
    queue.workers = 1;
    queue
}

fn waiting(name: &str, seconds: u64) -> QueueStats {
    let mut queue = queue(name);
    queue.due = exactly(3);
    queue.oldest_due = Some(Duration::from_secs(seconds));
    queue
}

fn died(kind: &str, dead: i64) -> KindStats {
    let mut stats = KindStats::empty("default", kind);
    stats.dead = dead;
    stats
}

fn sentence(health: &Health) -> String {
    health.parts.iter().map(|part| part.text.as_str()).collect()
}

fn links(health: &Health) -> Vec<&str> {
    health
        .parts
        .iter()
        .filter_map(|part| part.link.as_deref())
        .collect()
}

#[test]
fn all_is_well_when_nothing_is_late_and_nothing_died() {
    let told = health(
        &[queue("mail"), waiting("default", 5)],
        &[died("a", 0)],
        None,
    );
    assert_eq!(told.level, Level::Good);
    assert_eq!(
        sentence(&told),
        "Everything runs: nothing is late, and nothing died in the last hour."
    );
}

#[test]
fn an_empty_database_is_not_called_late() {
    let told = health(&[], &[], None);
    assert_eq!(told.level, Level::Good);
    assert_eq!(
        sentence(&told),
        "Nothing was ever enqueued here, and no worker is registered."
    );
}

#[test]
fn a_late_queue_is_named_with_how_late_it_is() {
    let told = health(
        &[waiting("mail", 120), waiting("b", 70), queue("c")],
        &[],
        None,
    );
    assert_eq!(told.level, Level::Warn);
    assert_eq!(sentence(&told), "2 of 3 queues are late, “mail” by 2 min.");
    assert_eq!(links(&told), ["/queues", "/queue?name=mail"]);
}

#[test]
fn a_queue_that_is_very_late_is_bad() {
    assert_eq!(
        health(&[waiting("mail", 1000)], &[], None).level,
        Level::Bad
    );
}

#[test]
fn deaths_lead_to_the_dead_and_to_the_only_kind() {
    let one = health(&[queue("mail")], &[died("send", 41)], None);
    let caused = health(&[queue("mail")], &[died("send", 41)], Some(3));
    let two = health(&[queue("mail")], &[died("send", 1), died("sync", 2)], None);
    assert_eq!(one.level, Level::Warn);
    assert_eq!(
        sentence(&one),
        "Jobs died 41 times in the last hour, of kind “send”."
    );
    assert_eq!(links(&one), ["/dead", "/kind?name=send"]);
    assert_eq!(
        sentence(&caused),
        "Jobs died 41 times in the last hour, of kind “send” and 3 causes."
    );
    assert_eq!(
        sentence(&two),
        "Jobs died 3 times in the last hour, of 2 kinds."
    );
}

#[test]
fn due_jobs_that_no_worker_serves_are_bad_and_told_first() {
    let mut reports = waiting("reports", 5000);
    reports.workers = 0;
    let told = health(&[waiting("mail", 90), reports], &[], None);
    assert_eq!(told.level, Level::Bad);
    assert_eq!(
        sentence(&told),
        "No live worker serves queue “reports”; 1 of 2 queues is late, “mail” by 1 min 30 s."
    );
}

#[test]
fn a_pause_is_told_only_while_jobs_wait_and_never_as_lateness() {
    let mut paused = waiting("reports", 5000);
    paused.paused_at = Some(Utc::now());
    let mut empty = queue("idle");
    empty.paused_at = Some(Utc::now());
    let told = health(&[paused, empty], &[], None);
    assert_eq!(told.level, Level::Warn);
    assert_eq!(
        sentence(&told),
        "Queue “reports” is paused while jobs wait in it."
    );
}

#[test]
fn many_queues_are_named_in_part() {
    let queues: Vec<QueueStats> = ["a", "b", "c", "d", "e"]
        .map(|name| {
            let mut queue = waiting(name, 5);
            queue.workers = 0;
            queue
        })
        .to_vec();
    assert_eq!(
        sentence(&health(&queues, &[], None)),
        "No live worker serves queues “a”, “b”, “c” and 2 more."
    );
}
