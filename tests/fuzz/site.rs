//! What a browser or a program sends to the dashboard: filters, places, times, forms, documents.

use std::cell::RefCell;

use pgqueue_suite::site::{Answer, Site, send};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{fuzz, large_json};

/// Percent-encodes a text for an address.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Checks that somebody was told what is wrong with his input, rather than that something broke.
fn is_no_failure(what: &str, answer: &Answer) {
    assert!(
        !answer.status.is_server_error(),
        "{what}: {} {}",
        answer.status,
        answer.text
    );
    let is_problem = answer.header("content-type") == "application/problem+json";
    assert!(
        !is_problem || answer.text.len() < 20_000,
        "{what} is answered by what was sent"
    );
}

#[test]
fn a_filter_is_refused_with_advice_or_is_understood_the_same_when_it_is_written_out() {
    let system = actix_web::rt::System::new();
    let site = system.block_on(Site::seeded());
    let preview = |text: &str| {
        let filter = encoded(text);
        let path = format!("/api/v1/operations/preview?action=purge&filter={filter}");
        system.block_on(site.get(&path))
    };
    // The filter written out, and which jobs it finds.
    let read = |answer: &Answer| {
        let mut told: Value = serde_json::from_str(&answer.text).unwrap();
        let filter = told["filter"].as_str().unwrap().to_owned();
        (filter, [told["jobs"].take(), told["sample"].take()])
    };

    fuzz!("filters", |text: &str| {
        let text: String = text.chars().take(1200).collect(); // longer addresses are no filters

        let answer = preview(&text);
        is_no_failure(&text, &answer);
        let page = system.block_on(site.get(&format!("/jobs?q={}", encoded(&text))));
        is_no_failure(&text, &page);

        if answer.status == StatusCode::OK {
            let (once, found) = read(&answer);
            let again = preview(&once);
            assert_eq!(again.status, StatusCode::OK, "{once}: {}", again.text);
            assert_eq!(read(&again), (once, found), "{text}");
        }
    });
}

#[test]
fn no_address_breaks_a_page() {
    let system = actix_web::rt::System::new();
    let site = system.block_on(Site::seeded());

    fuzz!("addresses", |text: &str| {
        let text: String = text.chars().take(1000).collect();
        let value = encoded(&text);
        for path in [
            format!("/api/v1/jobs?cursor={value}"),
            format!("/jobs?at={value}&cursor={value}"),
            format!("/api/v1/timeline?span={value}&queue={value}"),
            format!("/api/v1/audit?before={value}&actor={value}"),
            format!("/queue?name={value}"),
            format!("/kind?name={value}"),
            format!("/dead/{value}"),
            format!("/export.csv?q=state:dead&limit={value}"),
        ] {
            is_no_failure(&path, &system.block_on(site.get(&path)));
        }
    });
}

/// Sends a body as a page or a program of the same origin would.
async fn post(site: &Site, path: &str, kind: &str, body: String) -> Answer {
    let origin = format!("http://{}", site.address);
    let request = site.request(Method::POST, path).header("origin", origin);
    send(request.header("content-type", kind).body(body)).await
}

/// Gives large payloads as a program and as a form sends them to be edited, and as they are.
fn large_bodies() -> impl Iterator<Item = String> {
    large_json().into_iter().flat_map(|json| {
        [
            format!(r#"{{"version": "VERSION", "payload": {json}}}"#),
            format!("version=VERSION&queue=mail&priority=3&max_retries=5&run_at=&run_at_was=&payload={json}"),
            json,
        ]
    })
}

#[test]
fn no_body_of_a_form_or_of_a_program_breaks_an_action() {
    let system = actix_web::rt::System::new();
    let site = system.block_on(Site::empty());
    site.database.execute(
        "INSERT INTO pgqueue_jobs (id, kind, payload) OVERRIDING SYSTEM VALUE VALUES (7, 'job', '{\"n\": 1}')",
    );
    let version = site
        .database
        .texts("SELECT xmin::text FROM pgqueue_jobs WHERE id = 7");
    let version = RefCell::new(version[0].clone());

    fuzz!("bodies", large_bodies(), |text: &str| {
        let body = text.replace("VERSION", &version.borrow());
        let start: String = body.chars().take(500).collect();
        for path in ["/jobs/7/edit", "/bulk/run_now", "/settings", "/queue/pause"] {
            let kind = "application/x-www-form-urlencoded";
            let answer = system.block_on(post(&site, path, kind, body.clone()));
            is_no_failure(&format!("{path} {start:?}"), &answer);
        }
        for path in [
            "/api/v1/jobs/7/edit",
            "/api/v1/jobs/run-now",
            "/api/v1/operations/run-now",
        ] {
            let answer = system.block_on(post(&site, path, "application/json", body.clone()));
            is_no_failure(&format!("{path} {start:?}"), &answer);
        }
        let now = site
            .database
            .texts("SELECT xmin::text FROM pgqueue_jobs WHERE id = 7");
        version.replace(now[0].clone());
    });
}
