//! Workers, PostgreSQL, audit, metrics and health checks.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use pgqueue_core::health::{self, Level};
use pgqueue_dashboard::{Access, DashboardBuilder, Permissions};
use pgqueue_suite::TestDatabase;
use reqwest::StatusCode;

use crate::site::{Site, send};

#[actix_web::test]
async fn a_worker_whose_lease_ran_out_is_shown_as_stale() {
    let site = Site::seeded().await;

    let list = site.get("/workers").await;
    let id = site
        .database
        .number("SELECT id FROM pgqueue_workers WHERE expires_at < now()");
    let one = site.get(&format!("/workers/{id}")).await;

    assert_eq!(list.status, StatusCode::OK);
    assert!(list.text.contains("2 live, 1 stale"), "{}", list.text);
    assert!(one.text.contains("Its lease ran out"), "{}", one.text);
    assert_eq!(site.get("/workers/999").await.status, StatusCode::NOT_FOUND);
    let empty = Site::empty().await.get("/workers").await;
    assert!(empty.text.contains("No worker is registered"));
}

#[actix_web::test]
async fn a_worker_lists_what_it_runs() {
    let site = Site::seeded().await;
    let id = site
        .database
        .number("SELECT min(claimed_by) FROM pgqueue_jobs WHERE state = 'running'");
    let job = site.database.number(&format!(
        "SELECT min(id) FROM pgqueue_jobs WHERE state = 'running' AND claimed_by = {id}"
    ));

    let page = site.get(&format!("/workers/{id}")).await;

    assert!(page.text.contains(&format!("href=\"/jobs/{job}\"")));
    assert!(page.text.contains(&format!("href=\"/jobs?q=worker:{id}\"")));
}

#[actix_web::test]
async fn a_transaction_that_holds_vacuum_back_is_named_by_its_process() {
    let site = Site::seeded().await;
    let mut holder = site.database.sync();
    holder
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) AS \"secret 4711\" FROM pgqueue_queues")
        .unwrap();
    let pid: i32 = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
        "pg_backend_pid()",
    ))
    .get_result(&mut holder)
    .unwrap();

    let page = site.get("/postgres").await;

    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(
        page.text.contains(&format!("transaction {pid}")),
        "{}",
        page.text
    );
    assert!(
        !page.text.contains("4711"),
        "values of queries are not shown"
    );
}

#[test]
fn the_report_sees_the_plan_of_claims_and_an_index_that_is_gone() {
    let database = TestDatabase::migrated();
    let mut conn = database.sync();
    let of = |report: &health::Report, part: &str| {
        let found = report.findings.iter().filter(|found| found.part == part);
        found.map(|found| found.level).max()
    };

    let before = health::report(&mut conn).unwrap();
    database.execute("DROP INDEX pgqueue_jobs_dequeue");
    let after = health::report(&mut conn).unwrap();

    assert_eq!(of(&before, "claim"), Some(Level::Good), "{before:#?}");
    assert_eq!(of(&before, "indexes"), Some(Level::Good), "{before:#?}");
    assert_eq!(of(&before, "migrations"), Some(Level::Good), "{before:#?}");
    assert_eq!(of(&after, "claim"), Some(Level::Bad), "{after:#?}");
    let fix = after
        .findings
        .iter()
        .find(|found| found.part == "indexes")
        .unwrap();
    assert!(
        fix.fix
            .as_deref()
            .unwrap()
            .contains("CREATE INDEX CONCURRENTLY")
    );
}

#[test]
fn the_report_misses_each_index_of_ours_that_is_gone() {
    let database = TestDatabase::migrated();
    let mut conn = database.sync();
    let ours = "SELECT indexname::text AS text FROM pg_indexes \
        WHERE tablename LIKE 'pgqueue%' AND indexname NOT LIKE '%\\_pkey' ORDER BY 1";
    let indexes = database.texts(ours);

    for index in &indexes {
        conn.batch_execute(&format!("BEGIN; DROP INDEX {index}"))
            .unwrap();
        let report = health::report(&mut conn).unwrap();
        conn.batch_execute("ROLLBACK").unwrap();

        let missing = format!("The index {index} is missing");
        let mut found = report.findings.iter();
        assert!(
            found.any(|found| found.sentence.starts_with(&missing)),
            "{missing}"
        );
    }
    assert!(indexes.len() >= 10, "{indexes:?}");
}

#[tokio::test]
async fn a_role_without_rights_gets_the_parts_that_it_may_see() {
    let database = TestDatabase::migrated();
    let role = format!("weak_{}", std::process::id());
    database.execute(&format!("CREATE ROLE {role}"));
    let mut conn = database.asynchronous().await;
    diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, &format!("SET ROLE {role}"))
        .await
        .unwrap();

    let report = health::report_async(&mut conn).await.unwrap();

    let says = |text: &str| {
        let mut found = report.findings.iter();
        found.any(|found| found.sentence.contains(text))
    };
    assert!(
        says("may not see what sessions of other roles do"),
        "{report:#?}"
    );
    assert!(says("could not be read"), "{report:#?}");
    assert!(report.server.is_some(), "{report:#?}");
    drop(conn);
    database.execute(&format!("DROP ROLE {role}"));
}

#[actix_web::test]
async fn the_audit_goes_back_page_by_page_and_by_filter() {
    let site = Site::seeded().await;
    site.database.execute(
        "INSERT INTO pgqueue_audit (jobs, actor, action, reason, details)
         SELECT 7, 'mallory', 'purge', '<script>alert(1)</script>', '{}' FROM generate_series(1, 60)",
    );

    let newest = site.get("/audit").await;
    let of_alice = site.get("/audit?actor=alice").await;
    let wrong = site.get("/audit?job=x").await;

    assert!(
        !newest.text.contains("<script>alert"),
        "reasons are escaped"
    );
    assert!(newest.text.contains("rel=\"next\""));
    assert!(of_alice.text.contains(">alice</th>") && !of_alice.text.contains("mallory</th>"));
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn metrics_are_lines_that_prometheus_reads() {
    let site = Site::seeded().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (queue, kind, payload) VALUES (E'a\"b\\\\c\\nd', 'k', '{}')",
    );

    let answer = site.get("/metrics").await;

    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    for line in answer.text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.starts_with("pgqueue_"), "{line}");
        assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
    }
    assert!(
        answer
            .text
            .contains(r#"pgqueue_jobs{queue="a\"b\\c\nd",state="pending"} 1"#),
        "{}",
        answer.text
    );
    assert!(answer.text.contains("pgqueue_workers{lease=\"stale\"} 1"));
}

#[actix_web::test]
async fn open_health_checks_answer_without_a_sign_in_and_tell_nothing_more() {
    let nobody =
        async |_: &actix_web::dev::ServiceRequest| Err(pgqueue_dashboard::Denied::Forbidden);
    let open = Site::of(
        TestDatabase::migrated(),
        move |builder: DashboardBuilder| builder.access(nobody).open_health_checks(),
    )
    .await;
    let unmigrated = Site::of(TestDatabase::empty(), |builder: DashboardBuilder| {
        builder.insecure_open_to_everybody().open_health_checks()
    })
    .await;

    let (up, ready) = (open.get("/healthz").await, open.get("/readyz").await);
    let missing = unmigrated.get("/readyz").await;

    assert_eq!((up.status, up.text.as_str()), (StatusCode::OK, "ok\n"));
    assert_eq!(
        (ready.status, ready.text.as_str()),
        (StatusCode::OK, "ok\n")
    );
    assert_eq!(missing.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(missing.text, "unavailable\n");
    assert_eq!(open.get("/metrics").await.status, StatusCode::FORBIDDEN);
}

#[actix_web::test]
async fn who_may_only_view_reads_no_audit_and_changes_nothing() {
    let viewer =
        async |_: &actix_web::dev::ServiceRequest| Ok(Access::new("vera", Permissions::VIEW));
    let site = Site::of(
        TestDatabase::migrated(),
        move |builder: DashboardBuilder| builder.access(viewer),
    )
    .await;

    for path in ["/audit", "/api/v1/audit"] {
        assert_eq!(site.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    for path in ["/api/v1/jobs/purge", "/api/v1/queues/mail/pause"] {
        let refused = site.post(path, &[]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            refused
                .header("content-type")
                .starts_with("application/problem+json")
        );
    }
}

#[actix_web::test]
async fn what_an_edit_changed_in_a_payload_is_told_only_to_who_may_see_payloads() {
    let database = TestDatabase::migrated();
    database.execute(
        "INSERT INTO pgqueue_audit (job_id, jobs, actor, action, details) VALUES (1, 1, 'alice', 'edit', '{\"before\": \"old address\"}')",
    );
    let site = Site::of(database, |builder| {
        builder.access(async |request: &actix_web::dev::ServiceRequest| {
            let all = request.headers().contains_key("x-all");
            let hidden = Permissions::VIEW | Permissions::AUDIT;
            Ok(Access::new(
                "carol",
                if all { Permissions::all() } else { hidden },
            ))
        })
    })
    .await;

    for path in ["/audit", "/api/v1/audit"] {
        let narrow = site.get(path).await;
        let all = send(
            site.request(reqwest::Method::GET, path)
                .header("x-all", "1"),
        )
        .await;

        assert!(
            narrow.text.contains("alice") && !narrow.text.contains("old address"),
            "{path}"
        );
        assert!(all.text.contains("old address"), "{path}");
    }
}
