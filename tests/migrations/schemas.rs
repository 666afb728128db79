//! Schemas of any name, tenants beside each other, and what is refused with advice.

use pgqueue_core::{Worker, migrate, migrate_async};
use pgqueue_suite::TestDatabase;

use super::{DOWN, OURS, VERSION, assert_works, refusal, use_schema};

#[tokio::test]
async fn a_schema_may_have_any_name() {
    let longest = "x".repeat(63);
    let names = [
        "tenant one",
        "Tenant",
        r#"quoted "name""#,
        "it's",
        "back\\slash",
        "100% %I %1$s",
        "$ddl$",
        "ünïcödé 队列 😀",
        "a.b",
        longest.as_str(),
    ];
    for name in names {
        let db = TestDatabase::empty();
        use_schema(&db, name);

        migrate_async(&mut db.asynchronous().await).await.unwrap();

        assert_works(&db).await;
        let elsewhere = "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgqueue%' AND relnamespace <> current_schema()::regnamespace";
        assert_eq!(
            db.number(&elsewhere.replace("current_schema()", "quote_ident(current_schema())")),
            0,
            "{name}"
        );
        db.execute(DOWN);
        assert_eq!(db.number(OURS), 0, "{name}");
    }
}

#[test]
fn a_schema_whose_name_would_break_our_functions_is_refused() {
    let db = TestDatabase::empty();
    use_schema(&db, "dollar$body$dollar");

    let message = refusal(migrate(&mut db.sync()));

    assert!(
        message.contains("Use a schema without $body$ in its name"),
        "{message}"
    );
}

#[tokio::test]
async fn down_for_a_tenant_spares_the_queue_its_search_path_goes_on_to() {
    let db = TestDatabase::migrated();
    db.execute("CREATE SCHEMA tenant");
    let before = db.number(OURS);

    db.execute(&format!("SET search_path = tenant, public; {DOWN}"));

    assert_eq!(db.number(OURS), before);
    assert_works(&db).await;
}

#[tokio::test]
async fn a_tenant_whose_search_path_falls_through_is_refused_with_both_names() {
    let db = TestDatabase::migrated();
    db.execute("CREATE SCHEMA \"Tenant 7\"");
    db.set_default("search_path = \"Tenant 7\", public");

    let sync = refusal(migrate(&mut db.sync()));
    let asynchronous = refusal(migrate_async(&mut db.asynchronous().await).await);

    for message in [sync, asynchronous] {
        assert!(message.contains(r#"schema "Tenant 7""#), "{message}");
        assert!(message.contains(r#"schema "public""#), "{message}");
        assert!(
            message.contains(r#"Set search_path to "Tenant 7" alone"#),
            "{message}"
        );
    }
    assert_eq!(
        db.number(
            "SELECT count(*) FROM pg_class WHERE relnamespace = '\"Tenant 7\"'::regnamespace"
        ),
        0
    );
}

#[tokio::test]
async fn a_tenant_beside_public_gets_a_queue_of_its_own() {
    let db = TestDatabase::migrated();
    use_schema(&db, "tenant");

    migrate(&mut db.sync()).unwrap();

    assert_works(&db).await;
    assert_eq!(db.number("SELECT count(*) FROM public.pgqueue_jobs"), 0);
    assert_eq!(db.number("SELECT count(*) FROM tenant.pgqueue_jobs"), 2);
}

#[test]
fn a_search_path_without_a_schema_is_refused_with_advice() {
    let db = TestDatabase::empty();
    db.set_default("search_path = nowhere");

    let message = refusal(migrate(&mut db.sync()));

    assert!(
        message.contains("no schema of the search_path exists"),
        "{message}"
    );
    assert!(message.contains("Create the schema"), "{message}");
}

#[tokio::test]
async fn a_ledger_without_its_tables_is_reported() {
    let db = TestDatabase::migrated();
    db.execute("DROP TABLE pgqueue_jobs");

    let sync = refusal(migrate(&mut db.sync()));
    let asynchronous = refusal(migrate_async(&mut db.asynchronous().await).await);

    for message in [sync, asynchronous] {
        assert!(
            message.contains(
                "pgqueue_migrations says that the tables are there, but pgqueue_jobs is missing"
            ),
            "{message}"
        );
        assert!(message.contains("down.sql"), "{message}");
    }
}

#[test]
fn a_table_of_our_name_that_the_ledger_does_not_know_is_refused_with_advice() {
    let db = TestDatabase::empty();
    db.execute("CREATE TABLE pgqueue_jobs (id int)");

    let message = refusal(migrate(&mut db.sync()));

    assert!(
        message.contains("a pgqueue_jobs that pgqueue_migrations does not know of"),
        "{message}"
    );
    assert!(
        message.contains("rename it or use another schema"),
        "{message}"
    );
}

#[tokio::test]
async fn the_advice_for_a_ledger_without_its_tables_helps() {
    let db = TestDatabase::migrated();
    db.execute("DROP TABLE pgqueue_jobs");

    db.execute(DOWN);

    migrate(&mut db.sync()).unwrap();
    assert_works(&db).await;
}

#[tokio::test]
async fn a_worker_names_the_missing_migration_and_the_call() {
    let db = TestDatabase::empty();
    let handled = |_, _| async { Ok::<_, String>(()) };
    let worker = Worker::builder(db.url())
        .handle_kind("email", handled)
        .build()
        .unwrap();

    let message = refusal(worker.run_until_empty().await);

    assert!(message.contains(VERSION), "{message}");
    assert!(message.contains("pgqueue_core::migrate"), "{message}");
}
