//! What somebody comes for, from the first page to the last.

use pgqueue_suite::site::Site;

use crate::browser::{Browser, key};

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
        serde_json::Value::Null
    );
}
