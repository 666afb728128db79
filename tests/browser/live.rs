//! Pages that change by themselves, and when they do not.

use std::time::Duration;

use actix_web::{App, HttpServer, rt};
use pgqueue_dashboard::Dashboard;
use pgqueue_suite::site::Site;
use pgqueue_suite::{TestDatabase, wait_until};

use crate::browser::Browser;

const ENQUEUE: &str =
    "INSERT INTO pgqueue_jobs (queue, kind, payload) VALUES ('newcomers', 'sync_account', '{}')";

/// Waits until the page has heard from the stream so often from now on.
async fn hear(browser: &Browser, ticks: u64) {
    let before = heard(browser).await;
    wait_until("the stream ticks", async || {
        heard(browser).await >= before + ticks
    })
    .await;
}

async fn heard(browser: &Browser) -> u64 {
    browser.run("return window.ticks;").await.as_u64().unwrap()
}

#[actix_web::test]
async fn a_page_shows_what_is_new_without_being_loaded_again() {
    let site = Site::empty().await;
    let browser = Browser::open(site.address).await;
    browser.go("/").await;
    browser.run("window.mark = 'the same page'").await;

    site.database.execute(ENQUEUE);

    browser.wait_for("main", "newcomers").await;
    assert_eq!(browser.run("return window.mark").await, "the same page");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_page_stays_as_it_is_while_text_is_selected() {
    let site = Site::empty().await;
    let browser = Browser::open(site.address).await;
    browser.go("/").await;
    browser
        .run("getSelection().selectAllChildren(document.querySelector('h1'))")
        .await;

    site.database.execute(ENQUEUE);
    hear(&browser, 2).await;
    assert!(!browser.text("main").await.contains("newcomers"));

    browser.run("getSelection().removeAllRanges()").await;
    browser.wait_for("main", "newcomers").await;
}

#[actix_web::test]
async fn a_page_that_nobody_sees_asks_for_nothing_and_catches_up_when_it_is_seen() {
    let site = Site::empty().await;
    let browser = Browser::open(site.address).await;
    browser.go("/").await;
    let tab = browser.cover().await;
    browser.show(&tab).await;
    wait_until("the page is hidden", async || {
        browser.run("return document.hidden").await == true
    })
    .await;
    let asked = browser
        .run("return performance.getEntriesByType('resource').length")
        .await;

    site.database.execute(ENQUEUE);
    // Three times the interval at which it would have asked.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        browser
            .run("return performance.getEntriesByType('resource').length")
            .await,
        asked
    );

    browser
        .devtools("Page.bringToFront", serde_json::json!({}))
        .await;
    browser.wait_for("main", "newcomers").await;
}

#[actix_web::test]
async fn a_server_that_ends_does_not_wait_for_open_pages() {
    let database = TestDatabase::migrated();
    let dashboard = Dashboard::builder(database.url())
        .insecure_open_to_everybody()
        .build()
        .unwrap();
    let served = dashboard.clone();
    let patience = 40;
    let server = HttpServer::new(move || App::new().service(served.clone()))
        .workers(1)
        .shutdown_timeout(patience)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let browser = Browser::open(server.addrs()[0]).await;
    let server = server.run();
    let handle = server.handle();
    rt::spawn(server);
    browser.go("/").await;
    hear(&browser, 1).await;

    dashboard.shutdown();
    let stopped = tokio::time::timeout(Duration::from_secs(patience / 2), handle.stop(true)).await;

    assert!(
        stopped.is_ok(),
        "it waits for a stream until its patience is over"
    );
}
