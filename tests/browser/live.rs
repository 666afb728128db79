//! Pages that change by themselves, and when they do not.

use std::time::Duration;

use actix_web::{App, HttpServer, rt};
use local_postgres::{LocalPostgres, Shutdown};
use pgqueue_dashboard::{Dashboard, DashboardBuilder};
use pgqueue_suite::site::Site;
use pgqueue_suite::{TestDatabase, wait_until};

use crate::audit::keep;
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

const DIE: &str = "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at) \
    SELECT 'ship', '{}', 'dead', 4, clock_timestamp() FROM generate_series(1, 12)";

/// Where the rows of a list are, with what their boxes and links say.
async fn rows(browser: &Browser) -> String {
    let script = "return [...document.querySelectorAll('tbody tr')].map((row) => \
        `${row.id} at ${row.getBoundingClientRect().top} ${row.querySelector('input').checked}`).join();";
    browser.run(script).await.as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn new_jobs_are_counted_and_move_no_row() {
    let site = Site::empty().await;
    site.database.execute(DIE);
    let browser = Browser::open(site.address).await;
    browser.go("/jobs?q=state:dead").await;
    let before = rows(&browser).await;

    site.database.execute(DIE);

    browser.wait_for("#news", "12 newer: show").await;
    assert_eq!(rows(&browser).await, before);
    browser.click("#news a", "show").await;
    browser.wait_for("tbody", "24").await;
    assert_eq!(browser.all("tbody tr").await.len(), 24);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[actix_web::test]
async fn rows_are_brought_up_to_date_around_what_is_ticked_focused_and_open() {
    let site = Site::empty().await;
    site.database.execute(DIE);
    let browser = Browser::open(site.address).await;
    browser.go("/jobs?q=state:dead").await;
    browser.click("#columns summary", "Columns").await;
    browser.press(&["j", "j", "x"]).await;
    browser.wait_for("[data-selected]", "1").await;
    let before = rows(&browser).await;

    site.database.execute(
        "UPDATE pgqueue_jobs SET state = 'pending', finished_at = NULL WHERE id = 11; DELETE FROM pgqueue_jobs WHERE id = 10",
    );
    browser.wait_for("#job-11 .state", "pending").await;
    browser.wait_for("#news", "1 no longer dead, 1 gone").await;
    hear(&browser, 2).await;

    assert_eq!(rows(&browser).await, before);
    assert!(before.contains("job-11 at") && before.contains("true"));
    assert_eq!(browser.all("#job-11.current :focus").await.len(), 1);
    assert_eq!(browser.all("#columns[open]").await.len(), 1);
    assert_eq!(browser.all("#job-10.gone").await.len(), 1);
    assert_eq!(browser.text("#live").await, "live");
}

#[actix_web::test]
async fn a_page_that_nobody_sees_asks_for_nothing_and_catches_up_when_it_is_seen() {
    let site = Site::empty().await;
    let browser = Browser::open(site.address).await;
    browser.go("/").await;
    browser.minimize().await;
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
    browser.restore().await;
    browser.wait_for("main", "newcomers").await;
}

/// How the banner stands in the window: whether all of it is seen, wherever the page was scrolled to.
const IN_VIEW: &str = "const banner = document.getElementById('stale').getBoundingClientRect(); \
    return banner.height > 0 && banner.top >= 0 && banner.bottom <= innerHeight;";

#[actix_web::test]
async fn an_open_page_says_in_view_that_the_database_does_not_answer_until_it_does() {
    let server = LocalPostgres::start().unwrap();
    let database = TestDatabase::migrated_on(&server);
    let site = Site::of(database, DashboardBuilder::insecure_open_to_everybody).await;
    let browser = Browser::open(site.address).await;
    browser.resize(1280, 300).await;
    browser.go("/").await;
    browser.wait_for("#live", "live").await;
    assert!(browser.text("#stale").await.is_empty());
    browser.run("scrollTo(0, 9999)").await;

    server.stop(Shutdown::Fast).unwrap();

    let why = "The database does not answer.";
    browser.wait_for("#stale", why).await;
    let said = browser.text("#stale").await;
    assert!(
        said.starts_with("Not up to date: shown as of ") && said.contains(" s ago. "),
        "{said}"
    );
    assert_eq!(browser.run(IN_VIEW).await, true);
    keep("outage", &browser.picture().await);

    server.start_again().unwrap();

    browser.wait_for("#live", "live").await;
    assert!(browser.text("#stale").await.is_empty());
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
