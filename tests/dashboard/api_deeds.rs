//! What programs do to one job and to operations by the API, and what they are told.

use actix_web::dev::ServiceRequest;
use pgqueue_core::JobState;
use pgqueue_dashboard::{Access, DashboardBuilder, Permissions};
use pgqueue_suite::{TestDatabase, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::{parsed, post};
use crate::site::{Site, send};

/// Serves to somebody with these permissions.
async fn site_for(permissions: Permissions) -> Site {
    Site::of(TestDatabase::migrated(), |builder: DashboardBuilder| {
        builder.access(async move |_: &ServiceRequest| Ok(Access::new("eve", permissions)))
    })
    .await
}

/// Inserts a job with a secret and a number that no float holds, and gives its id.
fn job_with_secret(site: &Site) -> i64 {
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, metadata) VALUES ('job', \
         '{\"n\": 12345678901234567890.10, \"api_token\": \"x9a\"}', '{\"tags\": [\"t\"], \"cookie\": \"x9b\"}')",
    );
    site.database.number("SELECT max(id) FROM pgqueue_jobs")
}

fn audited(site: &Site, id: i64, action: &str) -> i64 {
    site.database.number(&format!(
        "SELECT count(*) FROM pgqueue_audit WHERE job_id = {id} AND action = '{action}' AND reason = 'a test'"
    ))
}

#[actix_web::test]
async fn a_job_has_its_documents_with_every_digit_and_without_secrets_until_they_are_revealed() {
    let site = Site::empty().await;
    let id = job_with_secret(&site);
    let path = format!("/api/v1/jobs/{id}");

    let shown = site.get(&path).await;
    let listed = site.get("/api/v1/jobs").await;
    let revealed = post(
        &site,
        &format!("{path}/reveal"),
        &json!({ "reason": " a test " }),
    )
    .await;

    assert!(shown.text.contains("\"n\": 12345678901234567890.10"));
    assert_eq!(parsed(&shown)["job"]["hidden"], 2);
    assert!(!shown.text.contains("x9") && !listed.text.contains("x9"));
    assert!(revealed.text.contains("\"x9a\"") && revealed.text.contains("\"x9b\""));
    assert!(revealed.text.contains("\"n\": 12345678901234567890.10"));
    assert_eq!(audited(&site, id, "reveal"), 1);
    let deeds = &parsed(&site.get(&path).await)["deeds"];
    assert_eq!(deeds[0]["action"], "reveal");
}

#[actix_web::test]
async fn without_the_permission_a_job_has_no_documents_and_no_details_of_edits() {
    let site = site_for(Permissions::VIEW | Permissions::EDIT).await;
    let id = job_with_secret(&site);
    let path = format!("/api/v1/jobs/{id}");
    site.database.execute(&format!(
        "INSERT INTO pgqueue_audit (job_id, jobs, actor, action, details) VALUES ({id}, 1, 'zoe', 'edit', '{{\"before\": {{\"payload\": {{\"n\": 7}}}}}}')"
    ));

    let shown = parsed(&site.get(&path).await);
    let version = &shown["job"]["version"];
    let body = json!({ "version": version, "payload": {} });

    for document in ["payload", "metadata", "progress", "output"] {
        assert_eq!(shown["job"][document], Value::Null, "{document}");
    }
    assert_eq!(shown["deeds"][0]["details"], Value::Null);
    let edited = post(&site, &format!("{path}/edit"), &body).await;
    assert_eq!(edited.status, StatusCode::FORBIDDEN);
    let revealed = post(&site, &format!("{path}/reveal"), &json!({})).await;
    assert_eq!(revealed.status, StatusCode::FORBIDDEN);
    let searched = site.get("/api/v1/jobs?q=args.n=7").await;
    assert_eq!(searched.status, StatusCode::FORBIDDEN);
}

#[actix_web::test]
async fn an_edit_changes_what_it_names_of_the_version_that_was_shown() {
    let site = Site::empty().await;
    let id = job_with_secret(&site);
    let path = format!("/api/v1/jobs/{id}");
    let version = parsed(&site.get(&path).await)["job"]["version"].clone();
    let send_text = async |text: String| {
        let origin = format!("http://{}", site.address);
        let request = site.request(Method::POST, &format!("{path}/edit"));
        let request = request.header("content-type", "application/json");
        send(request.header("origin", origin).body(text)).await
    };

    let edited = send_text(format!(
        r#"{{"version": {version}, "payload": {{"n": 0.30000000000000000001}}, "queue": "mail", "priority": 1, "max_retries": 9,
            "run_at": "2031-01-02T03:04:05Z", "reason": "a test"}}"#
    ))
    .await;
    let late = send_text(format!(r#"{{"version": {version}, "priority": 2}}"#)).await;
    let now = parsed(&edited)["job"]["version"].clone();
    let nothing = send_text(format!(r#"{{"version": {now}, "payload": null}}"#)).await;
    let now = parsed(&nothing)["job"]["version"].clone();
    let dots = send_text(format!(
        r#"{{"version": {now}, "payload": {{"api_token": "••••••"}}}}"#
    ))
    .await;
    let typo = send_text(format!(r#"{{"version": {now}, "prioritee": 1}}"#)).await;
    let long = send_text(format!("\"{}\"", "é".repeat(1_000_000))).await;

    assert!(edited.text.contains("0.30000000000000000001"));
    let job = &parsed(&edited)["job"];
    assert_eq!(
        (&job["queue"], &job["priority"], &job["max_retries"]),
        (&json!("mail"), &json!(1), &json!(9))
    );
    assert_eq!(job["run_at"], "2031-01-02T03:04:05Z");
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert_eq!(late.header("content-type"), "application/problem+json");
    assert_eq!(
        site.database
            .texts("SELECT payload::text FROM pgqueue_jobs"),
        ["null"]
    );
    assert_eq!(dots.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(typo.status, StatusCode::BAD_REQUEST);
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
    assert!(long.text.len() < 3_000 && long.text.contains("éé…"));
    assert_eq!(audited(&site, id, "edit"), 1);
    let missing = post(&site, "/api/v1/jobs/999/edit", &json!({ "version": "1" })).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn an_edit_requeues_a_dead_job_and_a_clone_copies_it() {
    let site = Site::seeded().await;
    let id = site
        .database
        .number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead' AND unique_key IS NULL");
    let path = format!("/api/v1/jobs/{id}");
    let version = parsed(&site.get(&path).await)["job"]["version"].clone();

    let cloned = parsed(
        &post(
            &site,
            &format!("{path}/clone"),
            &json!({ "reason": "a test" }),
        )
        .await,
    );
    let body = json!({ "version": version, "requeue": true, "reason": "a test" });
    let edited = parsed(&post(&site, &format!("{path}/edit"), &body).await);

    assert_eq!(edited["job"]["state"], "pending");
    let copy = parsed(&site.get(&format!("/api/v1/jobs/{}", cloned["id"])).await);
    assert_eq!(copy["job"]["cloned_from"], id);
    assert_eq!(audited(&site, id, "edit and requeue"), 1);
    let missing = post(&site, "/api/v1/jobs/999999/clone", &json!({})).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn an_operation_keeps_to_its_preview() {
    let site = Site::seeded().await;
    let preview = parsed(
        &site
            .get("/api/v1/operations/preview?action=purge&filter=state:dead")
            .await,
    );
    let before = site.database.count(JobState::Dead);
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at, errors) VALUES ('late', '1', 'dead', 1, now(), '[]')",
    );

    let body = json!({
        "filter": preview["filter"],
        "cutoff": preview["cutoff"],
        "jobs": preview["jobs"],
        "reason": "  ",
    });
    let half = json!({ "filter": "state:dead", "cutoff": preview["cutoff"] });
    let half = post(&site, "/api/v1/operations/purge", &half).await;
    let started = parsed(&post(&site, "/api/v1/operations/purge", &body).await);

    assert_eq!(half.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        preview["jobs"],
        json!({ "at_least": before, "exact": true })
    );
    assert_eq!(preview["needs"], "PURGE");
    assert_eq!(preview["sample"].as_array().unwrap().len(), 5);
    let path = format!("/api/v1/operations/{}", started["id"]);
    wait_until("the purge is finished", async || {
        parsed(&site.get(&path).await)["state"] == "finished"
    })
    .await;
    assert_eq!(site.database.count(JobState::Dead), 1);
    let told = parsed(&site.get(&path).await);
    assert_eq!(told["expected"], before);
    assert_eq!(told["reason"], Value::Null);
}

#[actix_web::test]
async fn an_operation_is_paused_resumed_stopped_and_undone() {
    let site = Site::seeded().await;
    let before = site.database.count(JobState::Dead);
    let body = json!({ "filter": "state:dead kind:notify_warehouse", "rate": 5 });
    let started = parsed(&post(&site, "/api/v1/operations/purge", &body).await);
    let path = format!("/api/v1/operations/{}", started["id"]);
    let control = async |verb: &str| post(&site, &format!("{path}/{verb}"), &Value::Null).await;
    wait_until("the purge has begun", async || {
        site.database.count(JobState::Dead) < before
    })
    .await;

    let paused = parsed(&control("pause").await);
    let again = control("pause").await;
    let resumed = parsed(&control("resume").await);
    let stopped = parsed(&control("stop").await);
    let undone = control("undo").await;

    assert_eq!(paused["state"], "paused");
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(resumed["state"], "running");
    assert_eq!(stopped["state"], "cancelled");
    assert_eq!(undone.status, StatusCode::OK, "{}", undone.text);
    wait_until("the purge is undone", async || {
        parsed(&site.get(&path).await)["state"] == "undone"
    })
    .await;
    assert_eq!(site.database.count(JobState::Dead), before);
    let missing = post(&site, "/api/v1/operations/999/pause", &Value::Null).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn who_may_not_purge_cannot_control_a_purge() {
    let site = site_for(Permissions::VIEW | Permissions::REQUEUE).await;
    site.database.execute(
        "INSERT INTO pgqueue_bulk_operations (cutoff, expected, expected_exactly, verb, actor, filter, place, state)
         VALUES (now(), 1, true, 'purge', 'zoe', '{}', '{\"course\": 0, \"after\": null}', 'paused')",
    );

    for verb in ["pause", "resume", "stop", "undo"] {
        let path = format!("/api/v1/operations/1/{verb}");
        let refused = post(&site, &path, &Value::Null).await;

        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{verb}");
        assert!(refused.text.contains("PURGE"), "{}", refused.text);
    }
}

#[actix_web::test]
async fn reasons_are_cleaned_as_those_of_forms_are() {
    let site = Site::seeded().await;
    let body = json!({ "state": "dead", "reason": format!(" a\u{0}b{} ", "c".repeat(600)) });
    parsed(&post(&site, "/api/v1/jobs/requeue", &body).await);
    let body = json!({ "reason": " \u{0}why " });
    parsed(&post(&site, "/api/v1/queues/mail/pause", &body).await);

    let kept = site
        .database
        .texts("SELECT reason FROM pgqueue_audit WHERE actor = 'anybody' ORDER BY id LIMIT 1");
    assert_eq!(kept, [format!("ab{}", "c".repeat(498))]);
    let kept = site
        .database
        .texts("SELECT reason FROM pgqueue_audit WHERE actor = 'anybody' AND action = 'pause'");
    assert_eq!(kept, ["why"]);
}
