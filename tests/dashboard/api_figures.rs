//! What programs are told of the whole: the overview, timelines, one cause.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::api::parsed;
use crate::site::Site;

#[actix_web::test]
async fn the_overview_tells_what_is_wrong_in_words_and_in_facts() {
    let site = Site::seeded().await;

    let overview = parsed(&site.get("/api/v1/overview?exact=dead").await);

    let health = &overview["health"];
    let parts = health["parts"].as_array().unwrap().iter();
    let text: String = parts.map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!(health["text"], text.as_str());
    assert_eq!(health["paused_queues"], json!(["reports"]));
    assert!(text.contains("“reports” is paused while jobs wait in it"));
    assert_eq!(
        health["unserved_queues"].as_array().unwrap().len(),
        0,
        "{health}"
    );
    assert!(health["died_last_hour"].as_i64().unwrap() > 0);
    let dead = site
        .database
        .number("SELECT count(*) FROM pgqueue_jobs WHERE state = 'dead'");
    let counted = &overview["states"]["dead"];
    assert_eq!(
        (&counted["at_least"], &counted["exact"]),
        (&json!(dead), &json!(true))
    );
    assert!(counted["counted_at"].is_string(), "{counted}");
    let oldest = site
        .database
        .number("SELECT id FROM pgqueue_jobs WHERE state = 'pending' ORDER BY run_at, id LIMIT 1");
    assert_eq!(overview["oldest_waiting"][0]["id"], oldest);
    assert_eq!(overview["oldest_waiting"][0]["queue_is_paused"], true);
    assert_eq!(overview["live_workers"], 2);
}

#[actix_web::test]
async fn a_timeline_has_the_steps_of_its_span_and_scope() {
    let site = Site::seeded().await;
    let completed = |timeline: &Value| -> i64 {
        let steps = timeline["steps"].as_array().unwrap().iter();
        steps.map(|step| step["completed"].as_i64().unwrap()).sum()
    };

    let all = parsed(&site.get("/api/v1/timeline").await);
    let mails = parsed(&site.get("/api/v1/timeline?queue=mail").await);
    let receipts = parsed(&site.get("/api/v1/timeline?kind=send_receipt").await);
    let nothing = parsed(
        &site
            .get("/api/v1/timeline?queue=mail&kind=sync_account")
            .await,
    );
    let day = parsed(&site.get("/api/v1/timeline?span=24h").await);

    assert_eq!(
        (&all["span"], &all["step_seconds"]),
        (&json!("1h"), &json!(60))
    );
    assert_eq!(day["step_seconds"], 900);
    assert!(completed(&day) > completed(&all) && completed(&all) > completed(&mails));
    assert_eq!(completed(&mails), completed(&receipts));
    assert_eq!(nothing["steps"], json!([]));
    assert!(all["steps"][0]["run_ms"]["p95"].as_f64().unwrap() > 0.0);
    let wrong = site.get("/api/v1/timeline?span=2h").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("15m, 1h, 6h"), "{}", wrong.text);
}

#[actix_web::test]
async fn a_cause_has_its_whole_message_and_its_newest_jobs() {
    let site = Site::seeded().await;
    let cause = parsed(&site.get("/api/v1/causes").await)["causes"][0].clone();

    let path = format!("/api/v1/causes/{}", cause["cause"].as_str().unwrap());
    let told = parsed(&site.get(&path).await);

    assert_eq!(told["cause"]["pattern"], cause["pattern"]);
    assert_eq!(told["jobs"][0]["id"], cause["sample"]);
    assert_eq!(told["jobs"][0]["last_error"], told["message"]);
    for unknown in ["1", "nonsense"] {
        let answer = site.get(&format!("/api/v1/causes/{unknown}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{unknown}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
}
