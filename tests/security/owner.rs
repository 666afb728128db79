//! The owner makes the tables, and brings them up to date.

use super::*;

#[test]
fn the_owner_migrates_an_empty_schema_and_all_of_it_is_his() {
    let db = TestDatabase::empty();
    let roles = Roles::before_the_tables(&db, "owner_new");
    let mut conn = roles.connect(&db, "shop_deploy");

    pgqueue_core::migrate(&mut conn).unwrap();
    roles.grant(&db);
    pgqueue_core::migrate(&mut conn).unwrap();

    assert_eq!(owners(&db), [roles.name("jobs_owner")]);
    assert_eq!(db.number("SELECT count(*) FROM pgqueue_migrations"), 2);
    roles.drop(&db);
}

#[test]
fn tables_that_somebody_else_made_become_the_owners() {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, "owner_old");
    let mut conn = roles.connect(&db, "shop_deploy");

    pgqueue_core::migrate(&mut conn).unwrap();
    conn.batch_execute(
        "ALTER TABLE pgqueue_jobs ADD COLUMN next_version text; DROP TABLE pgqueue_trash",
    )
    .unwrap();

    assert_eq!(owners(&db), [roles.name("jobs_owner")]);
    roles.drop(&db);
}

#[test]
fn who_is_no_superuser_runs_the_script_as_a_member_of_the_owner() {
    let db = TestDatabase::empty();
    let roles = Roles {
        test: format!("owner_managed_{}", std::process::id()),
    };
    // As the first user of a managed server: it may make roles, and the database is its own.
    let admin = roles.name("admin");
    db.execute(&format!(
        "CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD 'change-me'; ALTER SCHEMA public OWNER TO {admin}"
    ));
    let mut conn = roles.connect(&db, "admin");
    pgqueue_core::migrate(&mut conn).unwrap();
    let (_, rest) = DOCS.split_once("the first thing to run is `").unwrap();
    let (first, _) = rest.split_once('`').unwrap();

    conn.batch_execute(&roles.named(first)).unwrap();
    conn.batch_execute(&roles.named(GRANTS)).unwrap();

    assert_eq!(owners(&db), [roles.name("jobs_owner")]);
    conn.batch_execute(&roles.named(GRANTS))
        .expect("it may be run again");
    db.execute("ALTER SCHEMA public OWNER TO postgres");
    for role in NAMES.iter().filter(|name| name.starts_with("jobs_")) {
        let role = roles.name(role);
        db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    }
    db.execute(&format!("DROP OWNED BY {admin} CASCADE; DROP ROLE {admin}"));
}

/// Names those whom anything of ours belongs to.
fn owners(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT DISTINCT pg_get_userbyid(o.owner)::text
         FROM (
             SELECT c.relowner FROM pg_class AS c WHERE c.relname LIKE 'pgqueue\\_%'
             UNION ALL
             SELECT p.proowner FROM pg_proc AS p WHERE p.proname LIKE 'pgqueue\\_%'
         ) AS o(owner)",
    )
}
