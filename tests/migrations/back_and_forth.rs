//! Twice, by Diesel's own harness, by hand, back and forth: whatever the order, the end is the same.

use diesel_migrations::MigrationHarness;
use pgqueue_core::{MIGRATIONS, NewJob, migrate, migrate_async};
use pgqueue_suite::TestDatabase;
use serde_json::json;

use super::{DOWN, OURS, UP, assert_works, jobs_oid};

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    let db = TestDatabase::empty();
    migrate(&mut db.sync()).unwrap();
    NewJob::new("email", json!({}))
        .enqueue(&mut db.sync())
        .unwrap();
    let (oid, objects) = (jobs_oid(&db), db.number(OURS));

    migrate(&mut db.sync()).unwrap();
    migrate_async(&mut db.asynchronous().await).await.unwrap();

    assert_eq!((jobs_oid(&db), db.number(OURS)), (oid, objects));
    assert_eq!(db.jobs().len(), 1);
}

#[tokio::test]
async fn diesels_harness_finds_everything_done_after_migrate() {
    let db = TestDatabase::empty();
    migrate(&mut db.sync()).unwrap();
    let oid = jobs_oid(&db);

    db.sync().run_pending_migrations(MIGRATIONS).unwrap();

    assert_eq!(jobs_oid(&db), oid);
    assert!(!db.sync().has_pending_migration(MIGRATIONS).unwrap());
    assert_works(&db).await;
}

#[tokio::test]
async fn migrate_finds_everything_done_after_diesels_harness() {
    let db = TestDatabase::empty();
    db.sync().run_pending_migrations(MIGRATIONS).unwrap();
    let oid = jobs_oid(&db);

    migrate(&mut db.sync()).unwrap();
    migrate_async(&mut db.asynchronous().await).await.unwrap();

    assert_eq!(jobs_oid(&db), oid);
    assert_works(&db).await;
}

#[tokio::test]
async fn a_revert_leaves_nothing_behind_and_up_again_works() {
    let db = TestDatabase::empty();
    db.sync().run_pending_migrations(MIGRATIONS).unwrap();
    NewJob::new("email", json!({}))
        .enqueue(&mut db.sync())
        .unwrap();

    db.sync().revert_all_migrations(MIGRATIONS).unwrap();

    assert_eq!(db.number(OURS), 0);
    db.sync().run_pending_migrations(MIGRATIONS).unwrap();
    assert_works(&db).await;
}

#[tokio::test]
async fn down_by_hand_leaves_nothing_behind_and_migrate_again_works() {
    let db = TestDatabase::migrated();
    assert!(db.number(OURS) > 0);

    db.execute(DOWN);

    assert_eq!(db.number(OURS), 0);
    migrate(&mut db.sync()).unwrap();
    assert_works(&db).await;
}

#[tokio::test]
async fn up_by_hand_counts_as_migrated() {
    let db = TestDatabase::empty();
    db.execute(UP);
    let oid = jobs_oid(&db);

    migrate(&mut db.sync()).unwrap();

    assert_eq!(jobs_oid(&db), oid);
    assert_works(&db).await;
}

#[test]
fn down_where_nothing_is_changes_nothing() {
    let db = TestDatabase::empty();

    db.execute(DOWN);

    assert_eq!(db.number(OURS), 0);
}

#[test]
fn a_ledger_of_the_host_is_not_touched() {
    let db = TestDatabase::empty();
    db.execute(
        "CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp NOT NULL DEFAULT now());
         INSERT INTO __diesel_schema_migrations VALUES ('00000000000000', '2020-01-01'), ('20261122000001', '2026-11-22')",
    );
    db.execute("CREATE TABLE before AS SELECT * FROM __diesel_schema_migrations");

    migrate(&mut db.sync()).unwrap();

    let changed = "SELECT count(*) FROM __diesel_schema_migrations AS now FULL JOIN before USING (version, run_on)
                   WHERE now IS NULL OR before IS NULL";
    assert_eq!(db.number(changed), 0);
    assert_ne!(
        jobs_oid(&db),
        0,
        "the host's own migration of the same version did not pass for ours"
    );
}

#[test]
fn migrate_leaves_no_ledger_of_diesel() {
    let db = TestDatabase::migrated();

    assert_eq!(
        db.number("SELECT count(*) FROM pg_class WHERE relname = '__diesel_schema_migrations'"),
        0
    );
}
