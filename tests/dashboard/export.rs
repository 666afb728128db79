//! Exports of all that match: complete, without secrets and formulas, and never short without a sign.

use std::collections::BTreeSet;

use actix_web::dev::ServiceRequest;
use pgqueue_dashboard::{Access, DashboardBuilder, Permissions};
use pgqueue_suite::{TestDatabase, wait_until};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::site::Site;

/// Fills more pages than one with dead jobs, and puts others beside them.
fn fill(site: &Site) {
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at, errors)
         SELECT CASE n % 3 WHEN 0 THEN 'third' ELSE 'other' END, jsonb_build_object('n', n), 'dead', 1, now() - n % 7 * interval '1 s', '[{\"message\": \"x\"}]'
         FROM generate_series(1, 1300) AS n",
    );
    site.database
        .execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('third', '1')");
}

/// Fills the table with more than the buffers between server and client hold.
fn fill_with_weight(site: &Site) {
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload) SELECT 'heavy', to_jsonb(repeat('x', 1000000)) FROM generate_series(1, 80)",
    );
}

fn ids(site: &Site, condition: &str) -> BTreeSet<i64> {
    let ids = format!("SELECT id::text FROM pgqueue_jobs WHERE {condition}");
    let ids = site.database.texts(&ids);
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn table(text: &str) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.records().map(Result::unwrap).collect()
}

async fn open(site: &Site, path: &str) -> Response {
    site.request(Method::GET, path).send().await.unwrap()
}

#[actix_web::test]
async fn an_export_has_every_job_that_matches_once() {
    let site = Site::empty().await;
    fill(&site);
    for (filter, condition) in [
        ("", "true"),
        ("state:dead", "state = 'dead'"),
        ("state:dead+kind:third", "state = 'dead' AND kind = 'third'"),
        ("state:running", "false"),
    ] {
        let wanted = ids(&site, condition);

        let json = site.get(&format!("/export.ndjson?q={filter}")).await;
        let csv = site.get(&format!("/export.csv?q={filter}")).await;

        let of_json = lines(&json.text);
        assert_eq!(of_json.len(), wanted.len(), "{filter}");
        let of_json: BTreeSet<i64> = of_json
            .iter()
            .map(|job| job["id"].as_i64().unwrap())
            .collect();
        assert_eq!(of_json, wanted, "{filter}");
        let of_csv = table(&csv.text);
        assert_eq!(of_csv.len(), wanted.len(), "{filter}");
        let of_csv: BTreeSet<i64> = of_csv.iter().map(|job| job[0].parse().unwrap()).collect();
        assert_eq!(of_csv, wanted, "{filter}");
        assert_eq!(json.header("content-type"), "application/x-ndjson");
        assert_eq!(
            csv.header("content-disposition"),
            "attachment; filename=\"jobs.csv\""
        );
    }
}

#[actix_web::test]
async fn documents_are_exported_with_every_digit_and_without_secrets() {
    let site = Site::empty().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, metadata) VALUES ('job', \
         '{\"n\": 12345678901234567890.10, \"text\": \"a, \\\"b\\\"\\nc\", \"api_token\": \"x9a\"}', '{\"cookie\": \"x9b\"}')",
    );

    let json = site.get("/export.ndjson").await.text;
    let csv = site.get("/export.csv").await.text;

    assert!(!json.contains("x9") && !csv.contains("x9"));
    assert!(json.contains("\"n\": 12345678901234567890.10"), "{json}");
    let row = &table(&csv)[0];
    assert!(row[16].contains("\"n\": 12345678901234567890.10"), "{csv}");
    let payload: Value = serde_json::from_str(&row[16]).unwrap();
    assert_eq!(payload["text"], "a, \"b\"\nc");
    assert_eq!(payload["api_token"], "••••••");
    assert_eq!(lines(&json)[0]["output"], Value::Null);
}

#[actix_web::test]
async fn without_the_permission_an_export_has_no_documents() {
    let site = Site::of(TestDatabase::migrated(), |builder: DashboardBuilder| {
        builder.access(async |_: &ServiceRequest| Ok(Access::new("eve", Permissions::VIEW)))
    })
    .await;
    fill(&site);

    let json = lines(&site.get("/export.ndjson?q=state:dead").await.text);
    let csv = site.get("/export.csv?q=state:dead").await.text;

    assert_eq!((json.len(), table(&csv).len()), (1300, 1300));
    assert!(json[0].get("payload").is_none());
    assert!(
        csv.lines()
            .next()
            .unwrap()
            .ends_with(",unique_key,last_error")
    );
    for path in ["/export.csv?q=args.n=1", "/export.ndjson?q=args.n=1"] {
        assert_eq!(site.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[actix_web::test]
async fn no_cell_is_a_formula() {
    let site = Site::empty().await;
    for start in ["=", "+", "-", "@", "\t", "\r", "\n"] {
        site.database.execute(&format!(
            "INSERT INTO pgqueue_jobs (kind, queue, unique_key, payload, state, attempt, finished_at, errors)
             VALUES (E'{start}kind', E'{start}queue', E'{start}key', '-1', 'dead', 1, now(), jsonb_build_array(jsonb_build_object('message', E'{start}cmd|''/c calc''!A0')))",
        ));
    }

    let rows = table(&site.get("/export.csv").await.text);

    assert_eq!(rows.len(), 7);
    let cells = rows.iter().flatten();
    let formulas = cells.filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
    assert_eq!(formulas.count(), 0, "{rows:?}");
    assert!(rows.iter().any(|row| &row[15] == "'=cmd|'/c calc'!A0"));
    assert!(rows.iter().all(|row| &row[16] == "'-1"));
}

#[actix_web::test]
async fn an_export_that_is_not_all_says_so_in_its_last_line() {
    let site = Site::empty().await;
    fill(&site);

    let json = lines(&site.get("/export.ndjson?limit=600").await.text);
    let csv = table(&site.get("/export.csv?limit=600").await.text);
    let all = lines(&site.get("/export.ndjson?limit=1301").await.text);

    assert_eq!((json.len(), csv.len()), (601, 601));
    let said = "cut after 600 jobs: narrow the filter for the rest";
    assert_eq!(json[600]["cut"], said);
    assert_eq!(&csv[600][0], said);
    assert_eq!(all.len(), 1301);
    assert!(all[1300]["id"].is_i64());
    for limit in ["0", "1000001"] {
        let refused = site.get(&format!("/export.csv?limit={limit}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{limit}");
    }
    let mistaken = site.get("/export.csv?q=moon:full").await;
    assert_eq!(mistaken.status, StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn a_failure_midway_breaks_the_transfer_off() {
    for path in ["/export.ndjson", "/export.csv"] {
        let site = Site::empty().await;
        fill_with_weight(&site);
        let mut export = open(&site, path).await;
        assert_eq!(export.status(), StatusCode::OK);
        assert!(export.chunk().await.unwrap().is_some());

        site.database
            .execute("ALTER TABLE pgqueue_jobs RENAME TO gone");

        assert!(breaks_off(export).await, "{path} ended as if it were whole");
    }
}

#[actix_web::test]
async fn a_dashboard_that_ends_breaks_its_exports_off() {
    let site = Site::empty().await;
    fill_with_weight(&site);
    let mut export = open(&site, "/export.ndjson").await;
    assert!(export.chunk().await.unwrap().is_some());

    site.dashboard.shutdown();

    assert!(breaks_off(export).await, "it ended as if it were whole");
}

async fn breaks_off(mut export: Response) -> bool {
    loop {
        match export.chunk().await {
            Ok(Some(_)) => {}
            end => return end.is_err(),
        }
    }
}

#[actix_web::test]
async fn an_export_whose_client_goes_away_ends() {
    let site = Site::empty().await;
    fill_with_weight(&site);
    let mut exports = Vec::new();
    for _ in 0..4 {
        exports.push(open(&site, "/export.ndjson").await);
    }

    let one_more = site.get("/export.csv").await;
    drop(exports);

    assert_eq!(one_more.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(one_more.header("retry-after"), "30");
    wait_until("there is room for another export", async || {
        open(&site, "/export.csv?limit=1").await.status() == StatusCode::OK
    })
    .await;
}
