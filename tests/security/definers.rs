//! Functions that run with their owner's rights do for others what they are for, and nothing else.

use super::*;

/// Makes a bait: a table of one's own that fires a function of ours as its trigger, with a value whose conversion runs code
/// of one's own choice. If the trigger may be made, that code runs as the owner of the function.
fn bait(function: &str, column: &str, target: &str, cast: &str) -> String {
    format!(
        "SET pgqueue.looked = 'pgqueue.public 1';
         CREATE TYPE pg_temp.trap AS (x integer);
         CREATE FUNCTION pg_temp.spring(pg_temp.trap) RETURNS {target} LANGUAGE plpgsql AS
             $$ BEGIN DELETE FROM public.pgqueue_jobs; RETURN '1'; END $$;
         CREATE CAST (pg_temp.trap AS {target}) WITH FUNCTION pg_temp.spring(pg_temp.trap) {cast};
         CREATE TEMP TABLE bait ({column} pg_temp.trap, run_at timestamptz);
         CREATE TRIGGER bait AFTER INSERT ON bait FOR EACH ROW EXECUTE FUNCTION public.{function}();
         INSERT INTO bait VALUES (ROW(1), now())"
    )
}

#[test]
fn a_stranger_cannot_borrow_the_owners_rights_by_a_trigger_of_his_own() {
    let db = TestDatabase::migrated();
    db.execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('email', '{}')");
    let stranger = format!("stranger_{}", std::process::id());
    db.execute(&format!("CREATE ROLE {stranger}"));

    for (function, column, target, cast) in [
        ("pgqueue_jobs_wake", "queue", "text", ""), // by `||`, which asks for the text of any value
        ("pgqueue_jobs_died", "id", "bigint", "AS IMPLICIT"), // by `=`, which looks for a bigint
    ] {
        let mut conn = db.sync();
        conn.batch_execute(&format!("SET ROLE {stranger}")).unwrap();
        let refused = conn.batch_execute(&bait(function, column, target, cast));

        assert_eq!(
            db.number("SELECT count(*) FROM pgqueue_jobs"),
            1,
            "{function}"
        );
        let message = refused.expect_err(function).to_string();
        assert!(
            message.starts_with("permission denied for function") && message.ends_with(function),
            "{message}"
        );
    }
    db.execute(&format!("DROP ROLE {stranger}"));
}

#[test]
fn every_function_that_runs_with_its_owners_rights_has_been_looked_at() {
    let db = TestDatabase::migrated();

    let definers = db.texts(
        "SELECT p.proname || ', for everybody: ' || has_function_privilege('pg_monitor', p.oid, 'EXECUTE')
         FROM pg_proc AS p
         WHERE p.proname LIKE 'pgqueue\\_%' AND p.prosecdef
         ORDER BY p.proname",
    );

    assert_eq!(
        definers,
        [
            "pgqueue_jobs_died, for everybody: false",
            "pgqueue_jobs_wake, for everybody: false",
            "pgqueue_next_ids, for everybody: true", // takes numbers of a sequence
            "pgqueue_wake_queue, for everybody: true", // notifies, which everybody may do
        ]
    );
}
