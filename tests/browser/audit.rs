//! Every page, on a desk and on a phone, light and dark: accessible by axe-core, within its content security policy, not
//! wider than the window. Its pictures are in `target/screenshots`.

use std::path::Path;

use pgqueue_dashboard::DashboardBuilder;
use pgqueue_suite::site::Site;
use pgqueue_suite::{TestDatabase, wait_until};
use serde_json::Value;

use crate::browser::Browser;
use crate::pages;

/// axe-core 4.14.1 of npm, under the Mozilla Public License 2.0, unchanged. No crate of ours contains it.
const AXE: &str = include_str!("axe.min.js");
/// Rules of WCAG 2.2 A and AA, and what axe calls good practice besides.
const RULES: &str = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']";
/// A desk; a phone, as narrow as WCAG 1.4.10 asks for.
const WIDTHS: [u32; 2] = [1280, 320];

/// Opens a page in every width and both themes, and gives what is wrong with it.
async fn look(browser: &Browser, name: &str, path: &str) -> Vec<String> {
    browser.go(path).await;
    browser.settle().await;
    let mut faults: Vec<_> = browser.complaints().await;
    // A page that tells of a problem has its status, which Chromium puts on the console.
    faults.retain(|fault| !fault.contains("Failed to load resource") || !fault.contains(path));
    faults.extend(look_here(browser, name).await);
    faults
        .iter()
        .map(|fault| format!("{path}: {fault}"))
        .collect()
}

/// Looks at the page that is open, in every width and both themes.
async fn look_here(browser: &Browser, name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for width in WIDTHS {
        browser.resize(width, 900).await;
        faults.extend(overflow(browser).await);
        for scheme in ["light", "dark"] {
            browser.prefer(scheme).await;
            let found = violations(browser).await;
            faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("{width} {scheme}: {fault}")),
            );
            keep(
                &format!("{name}-{width}-{scheme}"),
                &browser.picture().await,
            );
        }
    }
    faults
}

/// Asks axe-core what is wrong with the page as it is now.
pub(crate) async fn violations(browser: &Browser) -> Vec<String> {
    if browser.run("return typeof window.axe").await == "undefined" {
        browser.run(AXE).await;
    }
    let script = format!(
        "const found = await axe.run(document, {{ runOnly: {RULES}, resultTypes: ['violations'] }}); \
         return found.violations.flatMap(({{ id, nodes }}) => nodes.map((node) => \
             `${{id}}: ${{node.html.slice(0, 160)}} ${{node.failureSummary}}`));"
    );
    match browser.run_async(&script).await {
        Value::Array(found) => found.iter().map(ToString::to_string).collect(),
        other => panic!("axe-core failed: {other}"),
    }
}

/// Tells what makes the page scroll sideways, if it does.
pub(crate) async fn overflow(browser: &Browser) -> Option<String> {
    let script = "if (document.scrollingElement.scrollWidth <= innerWidth) return null; \
        const wide = [...document.querySelectorAll('main *, header *, footer *')]\
            .filter((one) => one.getBoundingClientRect().right > innerWidth + 1); \
        return `${document.scrollingElement.scrollWidth} wide in ${innerWidth}: ` + \
            wide.slice(0, 5).map((one) => one.outerHTML.slice(0, 120)).join(' | ');";
    browser.run(script).await.as_str().map(str::to_owned)
}

pub(crate) fn keep(name: &str, picture: &[u8]) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
}

fn name(set: &str, path: &str) -> String {
    let plain = |char: char| {
        if char.is_ascii_alphanumeric() {
            char
        } else {
            '-'
        }
    };
    format!("{set}{}", path.chars().map(plain).collect::<String>())
}

async fn look_at_all(site: &Site, set: &str, paths: impl IntoIterator<Item = String>) {
    let browser = Browser::open(site.address).await;
    // What changes under its eyes, axe-core may call a fault.
    browser.never_refresh().await;
    let mut faults = Vec::new();
    for path in paths {
        faults.extend(look(&browser, &name(set, &path), &path).await);
    }

    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[actix_web::test]
async fn every_page_of_a_used_database_is_accessible_and_fits() {
    let site = Site::seeded().await;
    let pages = pages::of(&site).await;

    look_at_all(&site, "seeded", pages).await;
}

#[actix_web::test]
async fn every_page_of_an_empty_database_is_accessible_and_fits() {
    let site = Site::empty().await;
    let pages = pages::of(&site).await;

    look_at_all(&site, "empty", pages).await;
}

#[actix_web::test]
async fn every_page_that_tells_of_a_problem_is_accessible_and_fits() {
    let site = Site::of(TestDatabase::migrated(), |builder| {
        builder
            .environment("production")
            .read_only(true)
            .insecure_open_to_everybody()
    })
    .await;
    let paths = [
        "/nope",
        "/jobs/999999999",
        "/jobs/none",
        "/jobs?state=nope",
        "/jobs?after=nope",
    ];
    look_at_all(&site, "problem", paths.map(str::to_owned)).await;

    let unmigrated = Site::of(
        TestDatabase::empty(),
        DashboardBuilder::insecure_open_to_everybody,
    )
    .await;
    look_at_all(
        &unmigrated,
        "unmigrated",
        ["/".to_owned(), "/jobs".to_owned()],
    )
    .await;
}

#[actix_web::test]
async fn a_list_with_every_column_open_details_and_news_is_accessible_and_fits() {
    let site = Site::seeded().await;
    let browser = Browser::open(site.address).await;
    browser.never_refresh().await;
    browser.go("/jobs").await;
    browser.click("#columns summary", "Columns").await;
    for column in ["Priority", "Created", "Took", "Worker", "Unique key"] {
        browser.click("#columns label", column).await;
    }
    browser.click("#columns button", "Save").await;
    browser.wait_for(".notice", "Saved").await;
    let list = "/jobs?q=state:dead+kind:notify_warehouse&size=25";
    browser.go(list).await;
    let from = browser
        .run("return document.getElementById('news').dataset.from")
        .await;
    site.database.execute(
        "UPDATE pgqueue_jobs SET state = 'running', claimed_by = 1, finished_at = NULL, started_at = now() \
         WHERE id = (SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead' AND kind = 'notify_warehouse'); \
         INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) \
         SELECT 'notify_warehouse', '{}', 'dead', now() FROM generate_series(1, 12)",
    );

    let mut faults = look(&browser, "columns", list).await;
    faults.extend(look(&browser, "news", from.as_str().unwrap()).await);
    browser.click("#columns summary", "Columns").await;
    faults.extend(violations(&browser).await);
    keep("columns-open", &browser.picture().await);
    browser.resize(1280, 900).await;
    keep("columns-open-wide", &browser.picture().await);

    assert_eq!(faults, Vec::<String>::new());
}

#[actix_web::test]
async fn forms_with_a_mistake_and_what_became_of_jobs_are_accessible_and_fit() {
    let site = Site::seeded().await;
    let browser = Browser::open(site.address).await;
    browser.never_refresh().await;
    site.database
        .execute("INSERT INTO pgqueue_jobs (kind, payload) VALUES ('job', '{\"a\": 1}')");
    let job = site.database.number("SELECT max(id) FROM pgqueue_jobs");

    browser.go(&format!("/jobs/{job}/edit")).await;
    browser
        .run("document.getElementById('payload').value = '{\"a\": '")
        .await;
    browser.click("button", "Save").await;
    browser.wait_for("#payload-mistake", "not JSON").await;
    assert_eq!(browser.all("#payload:focus").await.len(), 1);
    assert_eq!(look_here(&browser, "edit-mistake").await, [""; 0]);

    browser
        .go("/bulk/preview?action=purge&filter=state:dead")
        .await;
    browser.click("#typed", "").await;
    browser.press(&["7"]).await;
    browser.click("form button.danger", "Purge").await;
    browser.wait_for("#typed-mistake", "was typed").await;
    assert_eq!(look_here(&browser, "purge-mistake").await, [""; 0]);

    browser
        .go("/bulk/preview?action=requeue&filter=state:dead")
        .await;
    browser.click("label", "only; then wait").await;
    browser.click("form button.primary", "Requeue").await;
    // The seed has a paused one, too.
    let ours = "FROM pgqueue_bulk_operations WHERE actor = 'anybody'";
    wait_until("the canary waits", async || {
        let paused = format!("SELECT count(*) {ours} AND state = 'paused'");
        site.database.number(&paused) == 1
    })
    .await;
    let id = site.database.number(&format!("SELECT max(id) {ours}"));
    browser.go(&format!("/bulk/{id}")).await;
    browser.wait_for("#became", "10 pending").await;
    assert_eq!(look_here(&browser, "became").await, [""; 0]);
}

#[actix_web::test]
async fn the_list_of_keys_is_accessible() {
    let site = Site::empty().await;
    let browser = Browser::open(site.address).await;
    browser.go("/settings").await;

    browser.press(&["?"]).await;
    browser.wait_for("dialog[open] h2", "Keys").await;

    assert_eq!(violations(&browser).await, Vec::<String>::new());
}

#[actix_web::test]
async fn the_audit_finds_faults_that_are_there() {
    let site = Site::empty().await;
    let browser = Browser::open(site.address).await;
    browser.go("/settings").await;

    browser
        .run(
            "document.querySelector('main').innerHTML = \
                 '<h1>Faults</h1><input><img src=\"http://elsewhere.invalid/x.png\">'; \
             document.querySelector('h1').setAttribute('style', 'width: 5000px');",
        )
        .await;
    browser.settle().await;

    let found = violations(&browser).await.join(" ");
    assert!(
        found.contains("label") && found.contains("image-alt"),
        "{found}"
    );
    assert!(browser.complaints().await.join(" ").contains("img-src"));
    browser
        .run("document.querySelector('h1').style.width = '5000px'")
        .await;
    assert!(overflow(&browser).await.is_some());
}
