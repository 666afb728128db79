//! What each role is refused, by trying it: the matrix tells of rights, this of deeds.

use super::*;

/// Tries each statement as a role, and gives those that were not refused for want of a right.
fn let_through<'a>(
    roles: &Roles,
    db: &TestDatabase,
    login: &str,
    deeds: &[&'a str],
) -> Vec<&'a str> {
    let was_let_through = |deed: &&&str| {
        let Err(message) = roles.try_as(db, login, deed) else {
            return true;
        };
        !message.contains("permission denied") && !message.contains("must be owner")
    };
    deeds.iter().filter(was_let_through).copied().collect()
}

/// Makes a database with one job and the roles.
fn with_a_job(test: &str) -> (TestDatabase, Roles) {
    let db = TestDatabase::migrated();
    let roles = Roles::of(&db, test);
    db.execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('email', '{\"to\": \"ann\"}')");
    (db, roles)
}

#[test]
fn nobody_but_the_owner_changes_what_is_there_or_reaches_beyond_the_rows() {
    let (db, roles) = with_a_job("reach");
    let deeds = [
        "TRUNCATE pgqueue_jobs",
        "DROP TABLE pgqueue_jobs",
        "ALTER TABLE pgqueue_jobs ADD COLUMN mine text",
        "ALTER TABLE pgqueue_jobs DISABLE TRIGGER ALL",
        "CREATE TRIGGER mine AFTER INSERT ON pgqueue_jobs EXECUTE FUNCTION pgqueue_jobs_wake()",
        "CREATE TABLE mine (id bigint)",
        "CREATE FUNCTION mine() RETURNS text RETURN 'x'",
        "INSERT INTO pgqueue_migrations (version) VALUES ('29991231000001')",
        "SELECT setval('pgqueue_jobs_id_seq', 1)",
    ];

    for login in ["shop_web", "shop_worker", "shop_support", "shop_admin"] {
        let mut conn = roles.connect(&db, login);
        let migrated = pgqueue_core::migrate(&mut conn);

        assert_eq!(let_through(&roles, &db, login, &deeds), [""; 0], "{login}");
        let message = migrated.expect_err(login).to_string();
        assert!(message.contains("permission denied"), "{login}: {message}");
    }
    roles.drop(&db);
}

#[test]
fn a_producer_reads_no_payload_and_changes_no_job_that_is_there() {
    let (db, roles) = with_a_job("producer_reads");
    let deeds = [
        "SELECT payload FROM pgqueue_jobs",
        "SELECT errors, output, metadata FROM pgqueue_jobs",
        "SELECT to_jsonb(j) FROM pgqueue_jobs AS j",
        "INSERT INTO pgqueue_jobs (kind, payload) VALUES ('email', '{}') RETURNING payload",
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) VALUES ('email', '{}', 'dead', now())",
        "INSERT INTO pgqueue_jobs (kind, payload, created_at) VALUES ('email', '{}', '2000-01-01')",
        "INSERT INTO pgqueue_jobs (id, kind, payload) VALUES (1, 'email', '{}') ON CONFLICT (id) DO UPDATE SET payload = '{}'",
        "UPDATE pgqueue_jobs SET run_at = now()",
        "DELETE FROM pgqueue_jobs",
        "SELECT id FROM pgqueue_jobs FOR UPDATE",
        "SELECT pgqueue_requeue(ARRAY[1])",
        "SELECT pgqueue_wake_queue('default', now())",
        "SELECT * FROM pgqueue_workers",
        "SELECT * FROM pgqueue_audit",
        "SELECT job FROM pgqueue_trash",
        "INSERT INTO pgqueue_queues (name, paused_at) VALUES ('default', now())",
    ];

    assert_eq!(let_through(&roles, &db, "shop_web", &deeds), [""; 0]);
    roles.drop(&db);
}

#[test]
fn a_worker_does_not_change_what_a_job_is_nor_write_the_audit_nor_pause_a_queue() {
    let (db, roles) = with_a_job("worker_changes");
    let deeds = [
        "UPDATE pgqueue_jobs SET payload = '{}'",
        "UPDATE pgqueue_jobs SET kind = 'other'",
        "UPDATE pgqueue_jobs SET queue = 'other'",
        "UPDATE pgqueue_jobs SET max_retries = 9",
        "UPDATE pgqueue_jobs SET cancel_requested_at = now()",
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) VALUES ('email', '{}', 'completed', now())",
        "INSERT INTO pgqueue_audit (jobs, actor, action, details) VALUES (0, 'ann', 'pause', '{}')",
        "SELECT * FROM pgqueue_audit",
        "SELECT job FROM pgqueue_trash",
        "INSERT INTO pgqueue_queues (name, paused_at) VALUES ('default', now())",
        "INSERT INTO pgqueue_bulk_operations (cutoff, expected, expected_exactly, verb, actor, filter, place) \
         VALUES (now(), 1, true, 'purge', 'ann', '{}', '{}')",
        "UPDATE pgqueue_workers SET name = 'other'",
    ];

    assert_eq!(let_through(&roles, &db, "shop_worker", &deeds), [""; 0]);
    roles.drop(&db);
}

#[test]
fn a_viewer_writes_nothing() {
    let (db, roles) = with_a_job("viewer_writes");
    let tables = db.texts(
        "SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relkind = 'r' AND c.relname LIKE 'pgqueue\\_%'",
    );
    let deeds: Vec<String> = tables
        .iter()
        .flat_map(|table| {
            [
                format!("DELETE FROM {table}"),
                format!("INSERT INTO {table} DEFAULT VALUES"),
                format!("LOCK TABLE {table} IN EXCLUSIVE MODE"),
                format!("SELECT * FROM {table} FOR UPDATE"),
            ]
        })
        .collect();
    let mut deeds: Vec<&str> = deeds.iter().map(String::as_str).collect();
    deeds.extend([
        "SELECT pgqueue_next_ids(1)",
        "SELECT nextval('pgqueue_jobs_id_seq')",
        "SELECT pgqueue_requeue(ARRAY[1])",
    ]);

    assert_eq!(let_through(&roles, &db, "shop_support", &deeds), [""; 0]);
    roles.drop(&db);
}

#[test]
fn an_operator_cannot_change_the_audit_nor_choose_when_something_was_done() {
    let (db, roles) = with_a_job("operator_audit");
    let deeds = [
        "UPDATE pgqueue_audit SET actor = 'nobody'",
        "DELETE FROM pgqueue_audit",
        "INSERT INTO pgqueue_audit (jobs, actor, action, details, at) VALUES (0, 'ann', 'pause', '{}', '2000-01-01')",
        "DELETE FROM pgqueue_bulk_operations",
        "DELETE FROM pgqueue_workers",
        "UPDATE pgqueue_stats SET completed = 0",
        "UPDATE pgqueue_wake SET wanted = false",
    ];

    assert_eq!(let_through(&roles, &db, "shop_admin", &deeds), [""; 0]);
    roles.drop(&db);
}
