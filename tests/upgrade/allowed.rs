//! What a migration may do once a version has been released: add. Programs of the version before still run while it is
//! applied and after, so nothing that they name may go, move, or come to want more of them.
//!
//! The migrations that make up the first release are free; [`FIRST_RELEASE`] is the newest of them.

use std::fs;

/// The newest migration of the first release. It stays as it is from that release on.
const FIRST_RELEASE: &str = "20261124000001";
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");

/// What takes something away from programs of the version before, or asks of them what they cannot know.
const FORBIDDEN: [&str; 16] = [
    "DROP TABLE",
    "DROP COLUMN",
    "DROP FUNCTION",
    "DROP TRIGGER",
    "DROP SCHEMA",
    "DROP DEFAULT",
    "RENAME",
    "SET NOT NULL",
    "SET DATA TYPE",
    "TRUNCATE",
    // ON CONFLICT asks for a unique one by its columns; estimates and health ask for others by name.
    "DROP INDEX",
    "DROP CONSTRAINT",
    // The version before does not keep to them.
    "ADD CONSTRAINT",
    "ADD CHECK",
    "ADD UNIQUE",
    "CREATE UNIQUE INDEX",
];

/// Gives what a migration does that it may not.
fn breaches(up: &str) -> Vec<String> {
    let code = up
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join(" ").to_uppercase();
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found: Vec<String> = FORBIDDEN
        .iter()
        .filter(|forbidden| code.contains(*forbidden))
        .map(|forbidden| (*forbidden).to_owned())
        .collect();
    let clauses = code.split([',', ';']);
    found.extend(
        clauses
            .filter(|clause| changes_a_type(clause) || must_be_filled(clause))
            .map(str::to_owned),
    );
    found
}

/// `ALTER [COLUMN] name TYPE …`
fn changes_a_type(clause: &str) -> bool {
    let words: Vec<&str> = clause.split(' ').collect();
    let alters = words
        .iter()
        .rposition(|word| *word == "ALTER" || *word == "COLUMN");
    alters.is_some_and(|at| words.get(at + 2) == Some(&"TYPE"))
}

/// A new column that inserts of the version before would leave empty.
fn must_be_filled(clause: &str) -> bool {
    clause.contains("ADD COLUMN") && clause.contains("NOT NULL") && !clause.contains("DEFAULT")
}

#[test]
fn migrations_after_the_first_release_only_add() {
    for entry in fs::read_dir(MIGRATIONS).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if name.split('_').next().unwrap() <= FIRST_RELEASE {
            continue;
        }

        let breaches = breaches(&fs::read_to_string(folder.join("up.sql")).unwrap());

        assert!(breaches.is_empty(), "{name}: {breaches:?}");
    }
}

#[test]
fn the_migration_that_plays_the_next_version_is_of_the_allowed_kind() {
    assert_eq!(breaches(crate::NEXT), [""; 0]);
}

#[test]
fn what_would_break_programs_of_the_version_before_is_found() {
    let broken = [
        "ALTER TABLE pgqueue_jobs DROP COLUMN cause;",
        "drop table pgqueue_trash;",
        "ALTER TABLE pgqueue_jobs\n    RENAME kind TO task;",
        "ALTER TABLE pgqueue_jobs ALTER COLUMN attempt TYPE bigint;",
        "ALTER TABLE pgqueue_jobs ADD COLUMN a text, ALTER lost TYPE bigint;",
        "ALTER TABLE pgqueue_jobs ALTER COLUMN output SET NOT NULL;",
        "ALTER TABLE pgqueue_jobs ADD COLUMN tenant text NOT NULL;",
        "DROP INDEX pgqueue_jobs_unique;",
        "drop index concurrently if exists pgqueue_jobs_dead;",
        "ALTER TABLE pgqueue_stats DROP CONSTRAINT pgqueue_stats_pkey;",
        "ALTER TABLE pgqueue_jobs ADD CONSTRAINT pgqueue_jobs_short CHECK (length(kind) < 9);",
        "ALTER TABLE pgqueue_jobs\n    ADD CONSTRAINT pgqueue_jobs_once UNIQUE (kind);",
        "ALTER TABLE pgqueue_jobs ADD CHECK (lost < 9);",
        "ALTER TABLE pgqueue_jobs ADD UNIQUE (kind);",
        "CREATE UNIQUE INDEX pgqueue_jobs_once ON pgqueue_jobs (kind);",
    ];
    let sound = [
        "-- DROP TABLE is not what this does\nSELECT 1;",
        "ALTER TABLE pgqueue_jobs ADD COLUMN tenant text NOT NULL DEFAULT '';",
        "CREATE TABLE pgqueue_tenants (name text NOT NULL, type text NOT NULL);",
        "CREATE INDEX pgqueue_jobs_tenant ON pgqueue_jobs (tenant);",
        "CREATE TABLE pgqueue_tenants (name text, CONSTRAINT pgqueue_tenants_once UNIQUE (name));",
    ];

    for up in broken {
        assert_eq!(breaches(up).len(), 1, "{up}: {:?}", breaches(up));
    }
    for up in sound {
        assert_eq!(breaches(up), [""; 0], "{up}");
    }
}
