//! What "Copy as" gives works elsewhere: SQL in PostgreSQL, commands in a shell, Rust in a program.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use pgqueue_core::JobState;
use pgqueue_core::admin::Done;
use pgqueue_dashboard::{PasswordHash, Permissions};
use pgqueue_suite::{TestDatabase, wait_until};
use reqwest::StatusCode;
use serde_json::Value;

use crate::site::{Answer, Site};

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// Takes a text to copy from a page, as a reader sees it.
fn copied(page: &Answer, id: &str) -> String {
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let element = format!("<pre id=\"copy-{id}\"");
    let (_, rest) = page.text.split_once(&element).expect(&page.text);
    let (_, rest) = rest.split_once('>').unwrap();
    let text = rest.split_once("</pre>").unwrap().0;
    text.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&")
}

async fn list(site: &Site, filter: &str) -> Answer {
    site.get(&format!("/jobs?q={}", encoded(filter))).await
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Finds the ids of a filter in the order of the list, as the API does.
async fn found(site: &Site, filter: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut place = String::new();
    loop {
        let path = format!("/api/v1/jobs?q={}&size=1000{place}", encoded(filter));
        let page = site.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{filter}: {}", page.text);
        let page: Value = serde_json::from_str(&page.text).unwrap();
        let jobs = page["jobs"].as_array().unwrap().iter();
        ids.extend(jobs.map(|job| job["id"].to_string()));
        let Some(older) = page["older"].as_str() else {
            return ids;
        };
        place = format!("&cursor={older}");
    }
}

/// Adds jobs with names that end a quotation in one language or another.
fn add_odd_jobs(site: &Site) {
    site.database.execute(
        r#"INSERT INTO pgqueue_jobs (queue, kind, payload, unique_key, metadata, state, attempt, finished_at, claimed_by, started_at, errors)
        SELECT 'it''s "q" \ é', $$'; DROP TABLE pgqueue_jobs; --$$, jsonb_build_object('a b', jsonb_build_object('c''d\', jsonb_build_array('x', $$v"'\$$))),
            CASE n WHEN 1 THEN $$k\'$$ END, jsonb_build_object('tags', jsonb_build_array('it''s \', '"t"')), s.state, 3,
            CASE WHEN s.state NOT IN ('pending', 'running') THEN now() - n * interval '40 min' END,
            CASE s.state WHEN 'running' THEN 9 END, CASE s.state WHEN 'running' THEN now() END,
            jsonb_build_array(jsonb_build_object('message', $$O'Clock \d "x"$$))
        FROM generate_series(1, 3) AS n, unnest('{pending,dead,running,completed,cancelled}'::text[]) WITH ORDINALITY AS s(state, place)
        WHERE n > 1 OR s.place = 1"#,
    );
}

#[actix_web::test]
async fn the_sql_of_a_filter_finds_the_same_jobs_in_the_same_order() {
    let site = Site::seeded().await;
    add_odd_jobs(&site);
    let cause = site
        .database
        .number("SELECT cause FROM pgqueue_jobs WHERE state = 'dead' ORDER BY id LIMIT 1");
    let worker = site
        .database
        .number("SELECT claimed_by FROM pgqueue_jobs WHERE state = 'running' ORDER BY id LIMIT 1");
    let mut conn = site.database.sync();

    for filter in [
        "",
        "state:dead",
        "state:pending",
        "state:running",
        "state:completed",
        "state:cancelled",
        "queue:mail",
        "state:pending queue:mail",
        r#"queue:"it's \"q\" \\ é""#,
        r#"kind:"'; DROP TABLE pgqueue_jobs; --""#,
        r#"key:"k\\'""#,
        "tag:import",
        r#"tag:"it's \\""#,
        r#"tag:"\"t\"" state:dead"#,
        "tag:batch-1 state:pending",
        &format!("worker:{worker}"),
        &format!("state:running worker:{worker}"),
        "worker:9 state:dead",
        &format!("cause:{cause}"),
        &format!("state:dead cause:{cause}"),
        "error:\"CONNECTION refused\"",
        r#"error:"o'clock \\\\d""#,
        r#"args."a b"."c'd\\".1="v\"'\\""#,
        "args.order_id=500007",
        "args.order_id=500007 kind:send_receipt",
        "id:1,2,3,999999",
        "id:1,2,3 state:completed",
        "id:-1",
        // No job was made about then, so that none passes the time between the list and the SQL.
        "created<26h",
        "created>1690m",
        "state:dead finished<1d",
        "state:dead finished>37h",
        "finished>2w",
        "finished<4000000000w",
        "created>2020-01-01 created>1690m",
        "created<2020-01-01T10:11:12.123456",
        "attempts>=3 state:dead kind:notify_warehouse",
    ] {
        let sql = copied(&list(&site, filter).await, "sql");
        let wanted = found(&site, filter).await;

        for setting in ["on", "off"] {
            conn.batch_execute(&format!("SET standard_conforming_strings = {setting}"))
                .unwrap();
            let statement = format!(
                "SELECT id::text AS id FROM ({}) AS copied",
                sql.trim_end_matches(';')
            );
            let ids: Vec<Id> = diesel::sql_query(&statement).load(&mut conn).unwrap();
            let ids: Vec<String> = ids.into_iter().map(|row| row.id).collect();
            assert_eq!(ids, wanted, "{filter}\n{sql}");
        }
    }
    for filter in [
        r#"queue:"it's \"q\" \\ é""#,
        r#"tag:"it's \\""#,
        r#"args."a b"."c'd\\".1="v\"'\\""#,
    ] {
        let many = found(&site, filter).await.len();
        assert_eq!(many, 11, "the odd jobs are found by {filter}");
    }
}

/// Runs a command as somebody who pasted it into a shell.
async fn run(command: &str) -> String {
    let mut shell = tokio::process::Command::new("sh");
    let done = shell.arg("-c").arg(command).output().await.unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[actix_web::test]
async fn the_commands_of_a_filter_list_and_requeue_its_jobs() {
    let site = Site::seeded().await;
    add_odd_jobs(&site);
    let filter = r#"state:dead queue:"it's \"q\" \\ é""#;
    let page = list(&site, filter).await;

    let listed: Value = serde_json::from_str(&run(&copied(&page, "curl")).await).unwrap();
    let started: Value = serde_json::from_str(&run(&copied(&page, "curl-action")).await).unwrap();

    assert_eq!(listed["jobs"].as_array().unwrap().len(), 2, "{listed}");
    let path = format!("/api/v1/operations/{}", started["id"]);
    wait_until("the requeue is finished", async || {
        site.get(&path).await.text.contains("\"finished\"")
    })
    .await;
    assert_eq!(found(&site, filter).await.len(), 0);
    let address = copied(&page, "address");
    assert!(
        address.starts_with(&format!("http://{}/jobs?q=state%3Adead", site.address)),
        "{address}"
    );
    assert!(
        run(&format!("curl '{address}'"))
            .await
            .contains("<h1>Jobs</h1>")
    );
}

#[actix_web::test]
async fn the_commands_of_a_job_show_it_and_act_on_it_as_its_state_leaves_it() {
    let site = Site::seeded().await;
    for (state, path, after) in [
        ("dead", "requeue", "pending"),
        ("running", "cancel", "running"),
    ] {
        let id = site.database.number(&format!(
            "SELECT max(id) FROM pgqueue_jobs WHERE state = '{state}' AND unique_key IS NULL AND cancel_requested_at IS NULL"
        ));
        let page = site.get(&format!("/jobs/{id}")).await;

        let shown: Value = serde_json::from_str(&run(&copied(&page, "curl")).await).unwrap();
        let command = copied(&page, "curl-action");
        let done: Value = serde_json::from_str(&run(&command).await).unwrap();

        assert_eq!(shown["job"]["id"], id);
        assert!(command.contains(&format!("/api/v1/jobs/{path}'")));
        let acted = done["changed"].as_i64().unwrap() + done["requested"].as_i64().unwrap();
        assert_eq!(acted, 1, "{done}");
        let job: Value =
            serde_json::from_str(&site.get(&format!("/api/v1/jobs/{id}")).await.text).unwrap();
        assert_eq!(job["job"]["state"], after, "{state}");
        let asked = !job["job"]["cancel_requested_at"].is_null();
        assert_eq!(asked, state == "running");
        let found = site.database.texts(&format!(
            "SELECT id::text FROM ({}) AS job",
            copied(&page, "sql").trim_end_matches(';')
        ));
        assert_eq!(found, [id.to_string()]);
    }
}

#[actix_web::test]
async fn a_command_names_the_user_and_no_password() {
    let hash = Argon2::default().hash_password(b"correct horse").unwrap();
    let hash = PasswordHash::parse(hash.to_string()).unwrap();
    let site = Site::of(TestDatabase::migrated(), |builder| {
        builder
            .basic("o'hara", hash, Permissions::all())
            .external_base("/tools")
            .trusted_origin("https://admin.example")
    })
    .await;
    site.database
        .execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('job', '1')");

    let request = site.request(reqwest::Method::GET, "/jobs?q=state:pending");
    let page = crate::site::send(request.basic_auth("o'hara", Some("correct horse"))).await;

    let address = "https://admin.example/tools/api/v1/jobs?q=state%3Apending";
    assert_eq!(
        copied(&page, "curl"),
        format!(r"curl -u 'o'\''hara' '{address}'")
    );
    assert!(!page.text.contains("correct horse"));
    let order = site.request(reqwest::Method::POST, "/api/v1/operations/run-now");
    let order = order.json(&serde_json::json!({ "filter": "state:pending" }));
    let started = crate::site::send(order.basic_auth("o'hara", Some("correct horse"))).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text);
    assert!(copied(&page, "curl-action").ends_with("/operations/run-now'"));
    assert!(copied(&page, "rust").contains(".by(\"o'hara\")"));
}

/// Filters with the code that the page gives for each, which is compiled here and run.
macro_rules! programs {
    ($conn:ident: $($name:ident $filter:literal;)*) => {
        $(#[expect(clippy::let_and_return, reason = "the code is as it is copied")]
        async fn $name(db: &TestDatabase) -> anyhow::Result<Done> {
            let mut $conn = db.asynchronous().await;
            Ok(include!(concat!("copied/", stringify!($name), ".rs")))
        })*

        const PROGRAMS: &[(&str, &str)] =
            &[$(($filter, include_str!(concat!("copied/", stringify!($name), ".rs"))),)*];

        async fn run_programs(db: &TestDatabase) -> Vec<u64> {
            vec![$($name(db).await.unwrap().changed,)*]
        }
    };
}

programs! { conn:
    dead_of_a_queue "state:dead queue:mail";
    many_terms r#"state:dead kind:notify_warehouse error:"refused" args.postcode=27498 attempts>=2 created<4w finished<3d finished>1s tag:x key:order:50 worker:3 cause:-5"#;
    odd_names r#"state:pending queue:"it's \"q\" \\ é" args."a b"."c'd\\".1="v\"'\\""#;
    absolute_times "state:completed created>2026-01-01 created<2026-02-03T04:05:06.789";
    named_by_id "id:1,2,999999";
    everything "";
}

#[actix_web::test]
async fn the_rust_code_of_a_filter_compiles_and_does_what_it_says() {
    let site = Site::seeded().await;
    add_odd_jobs(&site);
    site.database.execute(
        "UPDATE pgqueue_jobs SET run_at = now() + interval '1 h' WHERE state = 'pending' AND unique_key IS NULL",
    );
    for (filter, program) in PROGRAMS {
        let code = copied(&list(&site, filter).await, "rust");
        let written = format!("{{\n{code}\ndone\n}}\n");
        assert_eq!(written, *program, "the code of {filter:?}");
    }

    let changed = run_programs(&site.database).await;

    assert_eq!(changed[..4], [12, 0, 2, 0]);
    assert_eq!(changed[4], 2, "completed jobs are requeued by their ids");
    assert_eq!(site.database.count(JobState::Dead), 0);
}
