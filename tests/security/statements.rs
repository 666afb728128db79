//! Every statement of the crate is part of some role's work, and that role may run it.
//!
//! EXPLAIN runs nothing and asks for every right of the statement. The rights to functions are asked when it runs; the tests of
//! each role's whole part see to those.

use std::collections::BTreeSet;
use std::fs;

use super::*;

/// Which statements are whose part. Those of the viewer are the operator's, too.
const PARTS: [(&str, &[&str]); 4] = [
    ("shop_web", &["enqueue", "enqueue_keyed", "enqueue_keyless"]),
    (
        "shop_worker",
        &[
            "ask_to_repoll",
            "beat",
            "cancel_requests",
            "claim",
            "claim_suspect",
            "clear_marks",
            "complete_in",
            "complete_in_delete",
            "drain_hasten",
            "drain_put_back",
            "empty_trash",
            "enqueue",
            "enqueue_keyed",
            "enqueue_keyless",
            "expire_workers",
            "finish",
            "finish_delete",
            "flush_stats",
            "fold_stats",
            "ledger",
            "look_ahead",
            "lost",
            "progress",
            "prune_cancelled",
            "prune_completed",
            "prune_stats",
            "read_back",
            "reconcile",
            "register",
            "rescue",
            "rescue_overdue",
            "set_marks",
            "unlocked",
            "unregister",
        ],
    ),
    ("shop_support", SEES),
    (
        "shop_admin",
        &[
            "clone",
            "edit",
            "pause",
            "resume",
            "reveal",
            "undo_purge",
            "undo_requeue",
        ],
    ),
];

const SEES: &[&str] = &[
    "active",
    "audit",
    "became",
    "causes",
    "count_state",
    "documents",
    "ended",
    "estimates",
    "health_holders",
    "health_ids",
    "health_indexes",
    "health_locks",
    "health_server",
    "health_tables",
    "job",
    "job_audit",
    "kind_stats",
    "ledger",
    "oldest_waiting",
    "pause_changes",
    "queue_activity",
    "summaries",
    "timeline",
    "why",
    "worker_jobs",
    "workers",
];

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pgqueue-core/src/sql");

/// Asks the server whether a role may run a statement.
fn may_run(roles: &Roles, db: &TestDatabase, login: &str, statement: &str) -> Result<(), String> {
    let text = fs::read_to_string(format!("{FOLDER}/{statement}.sql")).unwrap();
    let binds = (1..=20).rev().find(|n| text.contains(&format!("${n}::")));
    let nulls = vec!["NULL"; binds.unwrap_or(0)].join(", ");
    let arguments = if nulls.is_empty() {
        String::new()
    } else {
        format!("({nulls})")
    };
    let explained = format!(
        "SET LOCAL plan_cache_mode = force_generic_plan; PREPARE asked AS {text}; EXPLAIN EXECUTE asked {arguments}; DEALLOCATE asked"
    );
    roles
        .try_as(db, login, &explained)
        .map_err(|error| format!("{login} may not run {statement}: {error}"))
}

#[test]
fn each_role_may_run_the_statements_of_its_part() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "statements");
    let also = PARTS
        .into_iter()
        .chain([("shop_admin", SEES), ("shop_deploy", &["migration_lock"])]);

    let refusals: Vec<String> = also
        .flat_map(|(login, part)| part.iter().map(move |statement| (login, statement)))
        .filter_map(|(login, statement)| may_run(&roles, &db, login, statement).err())
        .collect();

    assert_eq!(refusals, [""; 0]);
    roles.drop(&db);
}

#[test]
fn each_statement_is_part_of_some_roles_work() {
    let files = fs::read_dir(FOLDER).unwrap();
    let names = files.filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".sql").map(str::to_owned)
    });

    let known: BTreeSet<String> = PARTS
        .iter()
        .flat_map(|(_, part)| part.iter())
        .chain(&["migration_lock"]) // the owner's
        .map(|&name| name.to_owned())
        .collect();

    assert_eq!(names.collect::<BTreeSet<_>>(), known);
}
