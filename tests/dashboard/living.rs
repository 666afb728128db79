//! What changes by itself, and what a browser has chosen.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use crate::site::{Site, send};

#[actix_web::test]
async fn a_stream_ends_when_the_dashboard_is_told_to() {
    let site = Site::seeded().await;
    let stream = site.request(Method::GET, "/events").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");

    site.dashboard.shutdown();

    let ended = tokio::time::timeout(Duration::from_secs(30), stream.text()).await;
    assert!(ended.unwrap().unwrap().starts_with("retry: 3000"));
    assert_eq!(
        site.get("/events").await.status,
        StatusCode::NO_CONTENT,
        "and no new one begins"
    );
}

#[actix_web::test]
async fn what_a_page_shows_is_what_the_database_has() {
    let site = Site::empty().await;
    assert!(!site.get("/").await.text.contains("parcels"));

    site.database.execute(
        "INSERT INTO pgqueue_jobs (queue, kind, payload) VALUES ('parcels', 'send', '{}')",
    );

    pgqueue_suite::wait_until("the overview shows the queue", async || {
        site.get("/").await.text.contains("parcels")
    })
    .await;
}

#[actix_web::test]
async fn an_operator_sees_at_once_what_he_did_to_jobs_that_had_ended() {
    let site = Site::empty().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (queue, kind, payload, state, finished_at)
         VALUES ('parcels', 'send', '{}', 'dead', now())",
    );
    let dead = async || {
        let queues = site.get("/api/v1/queues").await.text;
        let queues: serde_json::Value = serde_json::from_str(&queues).unwrap();
        assert!(queues["counted_at"].as_str() <= queues["at"].as_str());
        queues["queues"][0]["dead"]["at_least"].as_i64()
    };
    let is_empty = async || site.get("/dead").await.text.contains("Nothing is dead");
    assert_eq!((dead().await, is_empty().await), (Some(1), false));

    let id = site.database.jobs()[0].id;
    let requeued = site.post(&format!("/jobs/{id}/requeue"), &[]).await;

    assert_eq!(requeued.status, StatusCode::SEE_OTHER);
    assert_eq!((dead().await, is_empty().await), (Some(0), true));
}

#[actix_web::test]
async fn preferences_come_back_with_the_cookie_and_nonsense_is_the_default() {
    let site = Site::empty().await;
    let themed = async |cookie: &str| {
        send(
            site.request(Method::GET, "/settings")
                .header("cookie", cookie),
        )
        .await
        .text
    };

    let chosen = site
        .post(
            "/settings",
            &[("theme", "dark"), ("offset", "330"), ("refresh", "15")],
        )
        .await;
    let cookie = chosen
        .headers
        .get_all("set-cookie")
        .iter()
        .find(|cookie| cookie.to_str().unwrap().starts_with("pgqueue_preferences"));
    let cookie = cookie.unwrap().to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );

    let page = themed(cookie.split(';').next().unwrap()).await;
    assert!(
        page.contains("data-theme=\"dark\"")
            && page.contains("data-refresh=\"15\"")
            && page.contains("data-keys=\"false\"")
    );
    for nonsense in [
        "pgqueue_preferences=<script>.9999999.3.x",
        "pgqueue_preferences=",
        "pgqueue_notice=zz",
        "pgqueue_notice=f",
    ] {
        assert!(
            themed(nonsense).await.contains("data-theme=\"auto\""),
            "{nonsense}"
        );
    }
}

#[actix_web::test]
async fn a_notice_is_shown_once_and_escaped() {
    let site = Site::empty().await;
    let hex: String = "<b>done</b>"
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();

    let page = send(
        site.request(Method::GET, "/settings")
            .header("cookie", format!("pgqueue_notice={hex}")),
    )
    .await;

    assert!(
        page.text.contains("&#60;b&#62;done&#60;/b&#62;"),
        "{}",
        page.text
    );
    let cleared = page
        .headers
        .get_all("set-cookie")
        .iter()
        .any(|cookie| cookie.to_str().unwrap().starts_with("pgqueue_notice=;"));
    assert!(cleared);
}
