//! Every statement on jobs, prepared on an empty table and metered on a full one.

use std::collections::BTreeSet;
use std::fs;

use pgqueue_suite::TestDatabase;
use tokio_postgres::Client;

use super::load::{empty_and_analysed, load};
use super::meter::{Bill, SQL, Session, connect, meter, nodes, prepare, rows, statement};

const STATEMENTS: &str = concat!(
    include_str!("../../pgqueue-core/src/sql.rs"),
    include_str!("../../pgqueue-core/src/sql/operators.rs"),
    include_str!("../../pgqueue-core/src/sql/stats.rs"),
);

/// One statement with arguments that suit [`load`].
struct Case {
    file: &'static str,
    session: Session,
    arguments: &'static str,
    /// How many rows it answers after the load.
    rows: usize,
    /// Most buffers beside those for the rows it answers.
    buffers: i64,
}

impl Case {
    /// Is true when Diesel is told not to keep the prepared statement.
    fn is_planned_each_time(&self) -> bool {
        STATEMENTS.contains(&format!("\"{}.sql\", planned_each_time,", self.file))
    }
}

/// Most buffers for a row that is answered: the heap, six indexes of some levels, and once more for their new entries.
const BUFFERS_A_ROW: i64 = 60;

/// How often statistics are taken from 300 rows only, of which few or none are of a rare state: a plan that turns on such luck
/// shows itself here, and not once in a hundred runs.
const POOR_SAMPLES: usize = 8;

fn cases() -> Vec<Case> {
    use Session::{Claim, Engine, Host};
    let case = |file, session, arguments, rows, buffers| Case {
        file,
        session,
        arguments,
        rows,
        buffers,
    };
    vec![
        case(
            "claim",
            Claim,
            "'{default}', '{10}', array_fill('-infinity'::timestamptz, '{10}'), array_fill(0::bigint, '{10}'), '{email}', 10, 1, 1, NULL, '{5}', 1000000",
            10,
            100,
        ),
        case(
            "claim_suspect",
            Claim,
            "'{default}', '{email}', 1, 1, NULL",
            1,
            50,
        ),
        case("look_ahead", Claim, "'{default,future}', '{email}'", 1, 200),
        case(
            "finish",
            Engine,
            "'{300001,300002}', '{1,1}', '{completed,pending}', '{NULL,1 s}', '{0,0}', ARRAY[NULL, '{}']::jsonb[], '{NULL,NULL}'",
            2,
            50,
        ),
        case("finish_delete", Engine, "'{300001,300002}', '{1,1}'", 2, 50),
        case("unlocked", Engine, "'{300001,300002,300003}'", 3, 50),
        case("read_back", Host, "'{300001,300002,300003}'", 3, 50),
        case("complete_in", Host, "300001, 1, '{}'", 1, 50),
        case("complete_in_delete", Host, "300001, 1", 1, 50),
        case("progress", Host, "300001, 1, '{}'", 1, 50),
        case("lost", Engine, "'30 s'", 1, 500),
        case("rescue", Engine, "'{7,8}', 3, 10, 50", 50, 100),
        // These look at all running jobs, or at all of one worker. That is their purpose: not at any other job.
        case("rescue_overdue", Engine, "'30 s', 50", 50, 15_000),
        case("reconcile", Engine, "1, 10, '{300100,300200}'", 52, 200),
        case("cancel_requests", Engine, "1", 1, 200),
        case("prune_completed", Engine, "'11 h', 100", 100, 100),
        case("prune_cancelled", Engine, "'11 h', 100", 100, 100),
        case("summaries", Host, "'{300001,300002,300003}'", 3, 50),
        case("job", Host, "300001", 1, 50),
        case("documents", Host, "'{300001,300002,300003}'", 3, 50),
        // Visits up to 1,001 jobs that are ahead in the line.
        case("why", Host, "299999", 1, 1_500),
        // A version that no row has; `lists` meters one that is changed.
        case(
            "edit",
            Host,
            "300001, '0', '{}', 'mail', 1, NULL, NULL, false, '{token}', NULL, NULL",
            0,
            50,
        ),
        case("clone", Host, "300001, NULL, NULL", 1, 100),
        case("reveal", Host, "300001, NULL, NULL", 1, 50),
        // Its jobs are all of one state. It looks up 20, and would 1,000.
        case("became", Host, "7, 1000", 1, 150),
        case("undo_requeue", Host, "7, 500", 1, 1_500),
        case("undo_purge", Host, "8, 500", 1, 1_500),
        // Counts up to 10,000 jobs of each of two states, and of the third by index alone.
        case("active", Host, "10000", 1, 25_000),
        // On statistics of an empty table it sorts all running jobs, of which there are no more than workers take.
        case("active", Host, "1000", 1, 15_000),
        // Counts up to 10,000 jobs of each of three states, and reads each for its queue. On statistics of an empty table it
        // sorts all of a state, which only the host could forbid; autovacuum corrects them within a minute.
        case("ended", Host, "10000", 1, 35_000),
        case("oldest_waiting", Host, "10", 10, 500),
        case("estimates", Host, "", 5, 500),
        case("workers", Host, "500, 1000, NULL", 1, 200),
        case("worker_jobs", Host, "1, 50", 50, 200),
        // Each of 15,000 dead jobs once by index alone, and the newest 200 of each cause once more.
        case("causes", Host, "50, 10000, NULL", 3, 20_000),
        case("causes", Host, "1, 10000, 2", 1, 7_000),
        // The count stops within the day: each hour by itself, none of them beyond 1,000 jobs.
        case("causes", Host, "50, 1000, NULL", 3, 25_000),
        case(
            "enqueue",
            Host,
            "'default', 'email', '{}', 5, NULL, NULL, 3, 'key 7', NULL, NULL",
            1,
            100,
        ),
        case(
            "enqueue_keyless",
            Host,
            "'{default,default,default}', NULL, ARRAY['{}', '{}', '{}']::jsonb[], '{5,4,5}', NULL, NULL, NULL, NULL, NULL, \
             NULL, 'email', NULL, NULL, NULL, 3, NULL, NULL",
            3,
            100,
        ),
        case(
            "enqueue_keyed",
            Host,
            "NULL, NULL, ARRAY['{}', '{}', '{}']::jsonb[], NULL, NULL, NULL, NULL, NULL, NULL, \
             'default', 'email', 5, NULL, NULL, 3, NULL, NULL, '{key 6,key 7,new}'",
            3,
            150,
        ),
    ]
}

fn execute(case: &Case) -> String {
    let arguments = if case.arguments.is_empty() {
        String::new()
    } else {
        format!("({})", case.arguments)
    };
    format!("EXECUTE \"{}\"{arguments}", case.file)
}

/// Tells what is wrong with a bill, if anything is.
fn complaint(case: &Case, bill: &Bill) -> Option<String> {
    let limit = case.buffers + BUFFERS_A_ROW * i64::try_from(bill.rows).unwrap();
    let sorts = nodes(&bill.plan).iter().any(|node| node.contains("Sort"));
    let wrong = [
        (bill.rows != case.rows, "rows"),
        (bill.sequential_scans > 0, "sequential scans"),
        (bill.buffers > limit, "buffers"),
        (bill.fetched > limit, "rows fetched"),
        (case.session == Session::Claim && sorts, "sorts"),
    ];
    let wrong: Vec<&str> = wrong
        .into_iter()
        .filter_map(|(is, what)| is.then_some(what))
        .collect();
    let Bill {
        rows,
        buffers,
        sequential_scans,
        fetched,
        plan,
    } = bill;
    (!wrong.is_empty()).then(|| {
        format!(
            "{}: {}; {rows} rows, {buffers} buffers, {sequential_scans} sequential scans, {fetched} rows fetched by {plan:#}",
            case.file,
            wrong.join(", ")
        )
    })
}

/// Opens a session for each statement and prepares it there, in a plan mode other than the session's own if one is named.
async fn sessions(db: &TestDatabase, of: &[Session], mode: Option<&str>) -> Vec<(Case, Client)> {
    let mut prepared = Vec::new();
    for case in cases()
        .into_iter()
        .filter(|case| of.contains(&case.session))
    {
        let client = connect(db, case.session).await;
        if let Some(mode) = mode {
            let set = format!("SET plan_cache_mode = {mode}");
            client.batch_execute(&set).await.unwrap();
        }
        if !case.is_planned_each_time() {
            prepare(&client, case.file).await;
            settle(&client, &case).await;
        }
        prepared.push((case, client));
    }
    prepared
}

/// Runs a statement often enough for PostgreSQL to settle on a plan. In one transaction: so its key is taken from the
/// second time on, and the function that looks again settles on its plan.
async fn settle(client: &Client, case: &Case) {
    client.batch_execute("BEGIN").await.unwrap();
    for _ in 0..8 {
        rows(client, &execute(case)).await;
    }
    client.batch_execute("ROLLBACK").await.unwrap();
}

async fn assert_all_stay_cheap(of: &[Session], mode: Option<&str>) {
    let (db, loader) = empty_and_analysed().await;
    let prepared = sessions(&db, of, mode).await;
    load(&loader).await;

    let stale = complaints(prepared.iter().filter(|(case, _)| case.file != "ended")).await;
    loader.batch_execute("ANALYZE pgqueue_jobs").await.unwrap();
    let fresh = complaints(&prepared).await;
    loader
        .batch_execute("SET default_statistics_target = 1")
        .await
        .unwrap();
    let mut guessed = Vec::new();
    for _ in 0..POOR_SAMPLES {
        loader.batch_execute("ANALYZE pgqueue_jobs").await.unwrap();
        guessed.extend(complaints(&prepared).await);
    }

    assert!(
        stale.is_empty(),
        "planned on empty tables: {}",
        stale.join("\n")
    );
    assert!(
        fresh.is_empty(),
        "planned on full tables: {}",
        fresh.join("\n")
    );
    assert!(
        guessed.is_empty(),
        "planned by a sample of 300 rows: {}",
        guessed.join("\n")
    );
}

async fn complaints(prepared: impl IntoIterator<Item = &(Case, Client)>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (case, client) in prepared {
        if case.is_planned_each_time() {
            client.batch_execute("DEALLOCATE ALL").await.unwrap();
            prepare(client, case.file).await;
        }
        let bill = meter(client, &execute(case)).await;
        complaints.extend(complaint(case, &bill));
    }
    complaints
}

#[test]
fn every_statement_on_jobs_has_a_case_here() {
    let touches_jobs = |name: &String| {
        let text = statement(name);
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("--"))
            .collect();
        ["pgqueue_jobs", "pgqueue_enqueue_again", "pgqueue_requeue"]
            .iter()
            .any(|ours| text.contains(ours))
    };
    let on_jobs: BTreeSet<String> = fs::read_dir(SQL)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .filter(|name| !matches!(name.as_str(), "operators" | "stats")) // Rust
        .filter(|name| name != "ledger") // it asks the catalogue for the table's name
        .filter(|name| name != "count_state") // its purpose is to visit all of a state
        .filter(|name| !name.starts_with("drain_")) // for the few jobs of a host's test
        .filter(touches_jobs)
        .collect();

    let covered: BTreeSet<String> = cases().iter().map(|case| case.file.to_owned()).collect();

    assert_eq!(on_jobs, covered);
}

#[tokio::test]
async fn no_statement_of_the_engine_reads_the_jobs_it_is_not_about() {
    assert_all_stay_cheap(&[Session::Engine, Session::Claim], None).await;
}

#[tokio::test]
async fn no_generic_plan_of_a_claim_or_on_a_connection_of_the_host_reads_the_jobs_it_is_not_about()
{
    assert_all_stay_cheap(&[Session::Host, Session::Claim], Some("force_generic_plan")).await;
}

#[tokio::test]
async fn no_custom_plan_of_a_claim_or_on_a_connection_of_the_host_reads_the_jobs_it_is_not_about() {
    assert_all_stay_cheap(&[Session::Host, Session::Claim], Some("force_custom_plan")).await;
}

#[tokio::test]
async fn no_plan_that_postgresql_chooses_on_a_connection_of_the_host_reads_the_jobs_it_is_not_about()
 {
    assert_all_stay_cheap(&[Session::Host], Some("auto")).await;
}

#[tokio::test]
async fn a_requeue_finds_its_jobs_by_id_whenever_it_was_planned() {
    let (db, loader) = empty_and_analysed().await;
    let host = connect(&db, Session::Host).await;
    host.batch_execute("PREPARE requeue AS SELECT r.id FROM pgqueue_requeue($1::bigint[]) AS r")
        .await
        .unwrap();
    for _ in 0..8 {
        rows(&host, "EXECUTE requeue ('{1,2,3}')").await;
    }
    load(&loader).await;

    let bill = meter(&host, "EXECUTE requeue ('{1000001,1000002,1000003}')").await;

    assert_eq!((bill.rows, bill.sequential_scans), (3, 0), "{bill:#?}");
    assert!(bill.buffers < 300, "{bill:#?}");
}

#[tokio::test]
async fn a_batch_of_ends_looks_up_each_job_whatever_was_analysed() {
    for jobs in [1_000, 20_000] {
        let (db, loader) = empty_and_analysed().await;
        loader
            .batch_execute(&format!(
                "INSERT INTO pgqueue_jobs (kind, payload) SELECT 'email', '{{}}' FROM generate_series(1, {jobs});
                 ANALYZE pgqueue_jobs;
                 UPDATE pgqueue_jobs SET state = 'running', claimed_by = 1, claim_batch = 1, attempt = 1, fencing_token = 1,
                     started_at = now() WHERE id <= 900"
            ))
            .await
            .unwrap();
        let ends = connect(&db, Session::Engine).await;
        let ids: Vec<String> = (1..=900).map(|id| id.to_string()).collect();
        let of_each = |value: &str| format!("array_fill({value}, '{{900}}')");
        let keys = format!("'{{{}}}', {}", ids.join(","), of_each("1::bigint"));
        let finish = format!(
            "EXECUTE finish ({keys}, {}, {}, {}, {}, {})",
            of_each("'completed'::text"),
            of_each("NULL::interval"),
            of_each("0"),
            of_each("NULL::jsonb"),
            of_each("NULL::jsonb")
        );
        prepare(&ends, "finish").await;
        prepare(&ends, "finish_delete").await;
        for sql in [finish, format!("EXECUTE finish_delete ({keys})")] {
            let bill = meter(&ends, &sql).await;
            assert_eq!(
                (bill.rows, bill.sequential_scans),
                (900, 0),
                "{jobs} jobs: {bill:#?}"
            );
            assert!(bill.fetched <= 2 * 900, "{jobs} jobs: {bill:#?}");
        }
    }
}
