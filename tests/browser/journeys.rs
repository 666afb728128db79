//! What somebody comes for, from the first page to the last.

use pgqueue_core::{Context, Job, JobState, Outcome, Worker};
use pgqueue_suite::site::Site;
use pgqueue_suite::wait_until;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::browser::{Browser, key};

#[derive(Debug, Serialize, Deserialize)]
struct Ship {
    order_id: i64,
}

impl Job for Ship {
    const KIND: &'static str = "ship";
}

/// A site with one job, which is dead because the warehouse was closed.
async fn with_a_dead_job() -> (Site, i64) {
    let site = Site::empty().await;
    let job = Ship { order_id: 42 }.enqueue(&mut site.database.sync());
    let refuse =
        async |_: Ship, _: Context| Ok::<_, String>(Outcome::dead("the warehouse is closed"));
    let worker = Worker::builder(site.database.url()).handle(refuse).build();
    worker.unwrap().run_until_empty().await.unwrap();
    (site, job.unwrap().id)
}

/// Starts a worker whose handlers end when the gate is opened.
fn open_warehouse(site: &Site) -> watch::Sender<bool> {
    let (gate, opened) = watch::channel(false);
    let ship = move |_: Ship, _: Context| {
        let mut opened = opened.clone();
        async move { opened.wait_for(|open| *open).await.map(|_| ()) }
    };
    let worker = Worker::builder(site.database.url()).handle(ship).build();
    actix_web::rt::spawn(worker.unwrap().run(std::future::pending::<()>()));
    gate
}

/// Goes from the overview by the inbox of the dead and the cause to the job.
async fn find_the_dead_job(browser: &Browser, id: i64) {
    browser.go("/").await;
    browser.click("nav a", "Dead").await;
    browser.wait_for("h1", "Dead jobs").await;
    browser.click("tbody th a", "warehouse is closed").await;
    browser.wait_for("h2", "Newest jobs").await;
    browser.click("tbody th a", "ship").await;
    browser.wait_for("h1", &format!("ship {id}")).await;
    browser.wait_for("td", "the warehouse is closed").await;
}

#[actix_web::test]
async fn a_dead_job_is_found_requeued_and_seen_to_complete() {
    let (site, id) = with_a_dead_job().await;
    let gate = open_warehouse(&site);
    let browser = Browser::open(site.address).await;
    find_the_dead_job(&browser, id).await;

    browser.click("button", "Requeue").await;
    browser.wait_for(".head .state", "running").await;
    browser.run("window.mark = 'the same page'").await;
    gate.send(true).unwrap();

    browser.wait_for(".head .state", "completed").await;
    assert_eq!(browser.run("return window.mark").await, "the same page");
    assert_eq!(site.database.job(id).state, JobState::Completed);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[actix_web::test]
async fn without_javascript_a_dead_job_is_found_requeued_and_seen_to_complete() {
    let (site, id) = with_a_dead_job().await;
    let gate = open_warehouse(&site);
    gate.send(true).unwrap();
    let browser = Browser::without_javascript(site.address).await;
    find_the_dead_job(&browser, id).await;

    browser.click("button", "Requeue").await;
    site.database.wait_for_state(id, JobState::Completed).await;
    browser.go(&format!("/jobs/{id}")).await;

    assert_eq!(browser.text(".head .state").await, "completed");
}

/// Purges the cause that the inbox lists, looks at what is left, and takes it back.
async fn purge_and_undo(browser: &Browser, site: &Site) {
    browser.go("/").await;
    browser.click("nav a", "Dead").await;
    browser.click("a", "Purge this cause").await;
    browser.wait_for("h1", "Purge 1 job?").await;
    browser.click("button", "Purge 1 job").await;
    browser.wait_for("h1", "Purge: operation").await;
    site.database.wait_for_count(JobState::Dead, 0).await;

    let path = site
        .database
        .texts("SELECT '/bulk/' || max(id) FROM pgqueue_bulk_operations");
    browser.go(&path[0]).await;
    browser.wait_for(".head .state", "finished").await;
    browser.click("button", "Undo").await;
    site.database.wait_for_count(JobState::Dead, 1).await;
}

#[actix_web::test]
async fn a_purged_cause_is_taken_back() {
    let (site, id) = with_a_dead_job().await;
    let browser = Browser::open(site.address).await;

    purge_and_undo(&browser, &site).await;

    browser.wait_for(".head .state", "undone").await;
    assert_eq!(site.database.job(id).errors.len(), 1, "with its history");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[actix_web::test]
async fn without_javascript_a_purged_cause_is_taken_back() {
    let (site, id) = with_a_dead_job().await;
    let browser = Browser::without_javascript(site.address).await;

    purge_and_undo(&browser, &site).await;

    assert_eq!(site.database.job(id).state, JobState::Dead);
}

#[actix_web::test]
async fn without_javascript_a_large_purge_is_confirmed_by_its_number() {
    let site = Site::empty().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) \
         SELECT 'ship', '{}', 'dead', now() - interval '1 s' FROM generate_series(1, 101)",
    );
    let browser = Browser::without_javascript(site.address).await;
    browser.go("/jobs?q=state:dead").await;

    browser.click("a", "Purge all").await;
    browser.wait_for("h1", "Purge 101 jobs?").await;
    browser.wait_for("label", "Type 101 to confirm").await;
    browser.click("button", "Purge 101 jobs").await;
    browser.wait_for("h1", "Purge 101 jobs?").await; // the browser asks for the number
    browser.click("#typed", "").await;
    browser.press(&["1", "0", "1"]).await;
    browser.click("button", "Purge 101 jobs").await;

    browser.wait_for("h1", "Purge: operation").await;
    site.database.wait_for_count(JobState::Dead, 0).await;
}

#[actix_web::test]
async fn a_cause_is_requeued_in_three_clicks() {
    let (site, id) = with_a_dead_job().await;
    let browser = Browser::open(site.address).await;
    browser.go("/").await;

    browser.click("nav a", "Dead").await;
    browser.click("a", "Requeue this cause").await;
    browser.click("button", "Requeue 1 job").await;

    site.database.wait_for_state(id, JobState::Pending).await;
}

#[actix_web::test]
async fn without_a_mouse_jobs_are_selected_and_requeued() {
    let (site, id) = with_a_dead_job().await;
    let browser = Browser::open(site.address).await;
    browser.go("/").await;

    browser.press(&["g", "j"]).await;
    browser.wait_for("h1", "Jobs").await;
    browser.press(&["j", "x"]).await;
    browser.wait_for("[data-selected]", "1").await;
    browser.press(&[key::TAB, key::ENTER]).await;

    site.database.wait_for_state(id, JobState::Pending).await;
}

#[actix_web::test]
async fn a_key_leads_to_requeue_and_another_does_it() {
    let (site, id) = with_a_dead_job().await;
    let browser = Browser::open(site.address).await;
    browser.go("/jobs").await;

    browser.press(&["r", "j", "x"]).await;
    browser.wait_for("[data-selected]", "1").await;
    browser.press(&["r"]).await;
    assert_eq!(browser.text(":focus").await, "Requeue");
    assert_eq!(site.database.job(id).state, JobState::Dead);
    browser.press(&[key::ENTER]).await;

    site.database.wait_for_state(id, JobState::Pending).await;
}

#[actix_web::test]
async fn without_a_mouse_dead_jobs_are_gone_through_and_requeued() {
    let (site, _) = with_a_dead_job().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, finished_at) \
         SELECT 'ship', '{\"order_id\": 7}', 'dead', 4, clock_timestamp() FROM generate_series(1, 2)",
    );
    let browser = Browser::open(site.address).await;
    browser.go("/jobs?q=state:dead").await;

    browser.press(&["j", key::ENTER]).await;
    browser.wait_for("h1", "ship 3").await;
    browser.press(&["n"]).await;
    browser.wait_for("h1", "ship 2").await;
    browser.press(&["r", key::ENTER]).await;
    browser.wait_for(".head .state", "pending").await;
    browser.press(&["n"]).await;
    browser.wait_for("h1", "ship 1").await;
    browser.press(&["p"]).await;
    browser.wait_for("h1", "ship 3").await;
    browser.press(&["u"]).await;

    browser.wait_for("h1", "Jobs").await;
    assert_eq!(browser.all("tbody tr").await.len(), 2);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[actix_web::test]
async fn the_search_is_reached_by_a_key_from_every_page() {
    let site = Site::empty().await;
    let browser = Browser::open(site.address).await;
    for (path, script) in [
        (
            "/workers",
            "new KeyboardEvent('keydown', { key: '/', bubbles: true })",
        ),
        (
            "/jobs",
            "new KeyboardEvent('keydown', { key: 'k', ctrlKey: true, bubbles: true })",
        ),
    ] {
        browser.go(path).await;
        browser
            .run(&format!("document.body.dispatchEvent({script})"))
            .await;

        wait_until("the search has the focus", async || {
            browser.all("#q:focus").await.len() == 1
        })
        .await;
    }
}

#[actix_web::test]
async fn without_javascript_columns_are_chosen() {
    let (site, _) = with_a_dead_job().await;
    let browser = Browser::without_javascript(site.address).await;
    browser.go("/jobs?q=state:dead").await;

    browser.click("#columns summary", "Columns").await;
    browser.click("#columns label", "Took").await;
    browser.click("#columns label", "Payload").await;
    browser.click("#columns button", "Save").await;

    browser.wait_for("thead", "Took").await;
    assert!(!browser.text("thead").await.contains("Payload"));
    assert_eq!(browser.text(".chip.on code").await, "state:dead");
}

#[actix_web::test]
async fn without_a_mouse_a_row_is_opened() {
    let (site, id) = with_a_dead_job().await;
    let browser = Browser::open(site.address).await;
    browser.go("/jobs").await;

    browser.press(&["j", key::ENTER]).await;

    browser.wait_for("h1", &format!("ship {id}")).await;
}

#[actix_web::test]
async fn preferences_are_kept_with_and_without_javascript() {
    let site = Site::empty().await;
    let with = Browser::open(site.address).await;
    choose_dark(&with).await;
    drop(with);

    let without = Browser::without_javascript(site.address).await;
    choose_dark(&without).await;
    assert_eq!(without.text("#live").await, "", "no script has run");
}

async fn choose_dark(browser: &Browser) {
    browser.go("/settings").await;
    browser.click("label", "dark").await;
    browser.click("button", "Save").await;

    browser.wait_for(".notice", "Saved").await;
    assert_eq!(browser.all("html[data-theme=dark]").await.len(), 1);
}

#[actix_web::test]
async fn keys_lead_through_the_site() {
    let site = Site::seeded().await;
    let browser = Browser::open(site.address).await;
    browser.go("/").await;

    browser.press(&["?"]).await;
    browser.wait_for("dialog[open]", "next, previous row").await;
    browser.press(&[key::ESCAPE]).await;
    browser.press(&["g", "s"]).await;
    browser.wait_for("h1", "Settings").await;
    browser.press(&["g", "o"]).await;
    browser.wait_for("h1", "Overview").await;
    browser.press(&[key::TAB]).await;
    assert_eq!(browser.text(":focus").await, "Skip to the content");
    browser.press(&[key::ENTER, key::TAB]).await;
    assert_eq!(
        browser
            .run("return document.activeElement.closest('header.side')")
            .await,
        Value::Null
    );
}

#[actix_web::test]
async fn the_key_for_searching_selects_the_old_filter_so_that_typing_replaces_it() {
    let site = Site::seeded().await;
    let browser = Browser::open(site.address).await;
    let job = site.database.number("SELECT min(id) FROM pgqueue_jobs");
    browser.go("/jobs?q=state:dead").await;

    let digits = job.to_string();
    let typed: Vec<String> = digits.chars().map(String::from).collect();
    browser.press(&["/"]).await;
    browser
        .press(&typed.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    browser.press(&[key::ENTER]).await;

    browser.wait_for("h1", &digits).await;
}
