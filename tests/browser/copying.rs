//! What "Copy as" hides until it is opened: it is accessible and fits, too.

use pgqueue_suite::site::Site;

use crate::audit::{keep, overflow, violations};
use crate::browser::Browser;

#[actix_web::test]
async fn what_can_be_copied_is_accessible_and_fits_when_it_is_open() {
    let site = Site::seeded().await;
    let browser = Browser::open(site.address).await;
    browser.never_refresh().await;
    let id = site
        .database
        .number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead'");
    let mut faults = Vec::new();

    for (name, path) in [
        ("list", "/jobs?q=state:dead+queue:mail+finished<6h"),
        ("job", &format!("/jobs/{id}")),
    ] {
        browser.go(path).await;
        browser.settle().await;
        browser
            .run("for (const one of document.querySelectorAll('details')) one.open = true")
            .await;
        for width in [1280, 320] {
            browser.resize(width, 900).await;
            faults.extend(overflow(&browser).await);
            for scheme in ["light", "dark"] {
                browser.prefer(scheme).await;
                faults.extend(violations(&browser).await);
                let picture = browser.picture().await;
                keep(&format!("copied-{name}-{width}-{scheme}"), &picture);
            }
        }
    }

    assert!(faults.is_empty(), "{faults:#?}");
}
