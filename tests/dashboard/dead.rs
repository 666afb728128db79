//! The dead inbox: causes with their counts, and the means to act on exactly one.

use pgqueue_core::stats;
use pgqueue_dashboard::{Access, DashboardBuilder, Permissions};
use pgqueue_suite::TestDatabase;
use reqwest::StatusCode;

use crate::site::Site;

const HOSTILE: &str = "</title><script>alert(1)</script><img src=x onerror=alert(2)> {{7*7}}";

/// Lets a job die of this message.
fn die(database: &TestDatabase, message: &str) {
    database.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at, errors)
         VALUES ('<b>kind</b>', '{{}}', 'dead', now(), jsonb_build_array(jsonb_build_object('kind', 'error', 'message', $m${message}$m$)))"
    ));
}

fn only_cause(database: &TestDatabase) -> i64 {
    let causes = stats::causes(&mut database.sync(), 10).unwrap();
    assert_eq!(causes.len(), 1);
    causes[0].cause
}

/// The row of a cause.
fn row(page: &str, cause: i64) -> &str {
    let start = page.find(&format!("<tr id=\"cause-{cause}\">")).unwrap();
    let length = page[start..].find("</tr>").unwrap();
    &page[start..start + length]
}

#[actix_web::test]
async fn the_inbox_has_a_row_for_each_cause_with_its_count_and_links() {
    let site = Site::seeded().await;
    let causes = stats::causes(&mut site.database.sync(), 100).unwrap();
    assert_eq!(causes.len(), 4, "the seed has four causes");

    let page = site.get("/dead").await;

    assert_eq!(page.status, StatusCode::OK);
    for cause in &causes {
        let row = row(&page.text, cause.cause);
        let filter = format!("filter=state%3Adead+cause%3A{}\"", cause.cause);
        assert!(
            row.contains(&format!("/bulk/preview?action=requeue&#38;{filter}")),
            "{row}"
        );
        assert!(
            row.contains(&format!("/bulk/preview?action=purge&#38;{filter}")),
            "{row}"
        );
        assert!(
            row.contains(&format!("href=\"/dead/{}\"", cause.cause)),
            "{row}"
        );
        assert!(
            row.contains(&format!("<strong>{}</strong>", cause.jobs)),
            "{row}"
        );
        assert!(row.contains("<svg class=\"chart spark\""), "{row}");
    }
}

#[actix_web::test]
async fn the_links_of_a_cause_lead_to_its_jobs_and_to_a_preview() {
    let site = Site::empty().await;
    die(&site.database, "refused");
    let cause = only_cause(&site.database);
    let filter = format!("state%3Adead+cause%3A{cause}");

    let list = site.get(&format!("/jobs?q={filter}")).await;
    let preview = site
        .get(&format!("/bulk/preview?action=requeue&filter={filter}"))
        .await;

    assert!(list.text.contains("<tr id=\"job-"), "{}", list.text);
    assert_eq!(preview.status, StatusCode::OK, "{}", preview.text);
}

#[actix_web::test]
async fn causes_are_sorted_by_the_last_death_or_by_the_most() {
    let site = Site::empty().await;
    for message in ["the frequent", "the frequent", "the recent"] {
        die(&site.database, message);
    }
    let at = |page: &str| {
        (
            page.find(">the frequent<").unwrap(),
            page.find(">the recent<").unwrap(),
        )
    };

    let by_time = site.get("/dead").await.text;
    let by_count = site.get("/dead?sort=count").await.text;

    let (frequent, recent) = at(&by_time);
    assert!(recent < frequent);
    let (frequent, recent) = at(&by_count);
    assert!(frequent < recent);
}

#[actix_web::test]
async fn the_page_of_a_cause_tells_of_it_and_lists_its_newest_jobs() {
    let site = Site::empty().await;
    for number in 1..=30 {
        die(&site.database, &format!("order {number} was refused"));
    }
    die(&site.database, "something else");
    let causes = stats::causes(&mut site.database.sync(), 10).unwrap();
    let refused = causes
        .iter()
        .find(|cause| cause.jobs.at_least == 30)
        .unwrap();

    let page = site.get(&format!("/dead/{}", refused.cause)).await.text;

    assert!(page.contains("order &#60;n&#62; was refused"), "{page}");
    assert!(page.contains("<span class=\"value\">30</span>"), "{page}");
    assert!(
        page.contains("order 30 was refused"),
        "the newest message, whole"
    );
    assert_eq!(page.matches("<tr id=\"job-").count(), 25);
    assert!(!page.contains("something else"));
}

#[actix_web::test]
async fn hostile_errors_and_names_are_shown_as_text() {
    let site = Site::empty().await;
    die(&site.database, HOSTILE);
    let cause = only_cause(&site.database);

    for path in ["/dead".to_owned(), format!("/dead/{cause}")] {
        let page = site.get(&path).await.text;

        assert!(page.contains("onerror=alert"), "{path} shows it: {page}");
        assert!(
            !page.contains("<script>alert") && !page.contains("<img"),
            "{path}: {page}"
        );
        assert!(!page.contains("<b>kind"), "{path}: {page}");
    }
}

#[actix_web::test]
async fn a_cause_that_nobody_died_of_is_not_found() {
    let site = Site::seeded().await;

    for cause in ["1", "-1", "9999999999999999999", "x", "%3Cscript%3E"] {
        let page = site.get(&format!("/dead/{cause}")).await;

        assert_eq!(page.status, StatusCode::NOT_FOUND, "{cause}");
        assert!(
            page.text.contains("no dead job has this cause"),
            "{cause}: {}",
            page.text
        );
    }
}

#[actix_web::test]
async fn who_may_not_act_sees_why_instead_of_links() {
    let database = TestDatabase::migrated();
    die(&database, "refused");
    let cause = only_cause(&database);
    let viewer =
        async |_: &actix_web::dev::ServiceRequest| Ok(Access::new("vera", Permissions::VIEW));
    let site = Site::of(database, |builder: DashboardBuilder| builder.access(viewer)).await;

    for path in ["/dead".to_owned(), format!("/dead/{cause}")] {
        let page = site.get(&path).await.text;

        assert!(!page.contains("/bulk/preview?"), "{path}: {page}");
        assert!(
            page.contains("disabled title=\"This takes the permission REQUEUE"),
            "{path}"
        );
        assert!(
            page.contains("that takes the permissions REQUEUE and PURGE"),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn an_inbox_without_jobs_says_what_would_be_there() {
    let site = Site::empty().await;

    let page = site.get("/dead").await.text;

    assert!(
        page.contains("Nothing is dead") && page.contains("appear here by cause"),
        "{page}"
    );
    assert!(!page.contains("<table"), "{page}");
}

#[actix_web::test]
async fn a_job_that_died_without_a_message_is_a_cause_to_act_on() {
    let site = Site::empty().await;
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, finished_at) VALUES ('email', '{}', 'dead', now())",
    );
    let cause = only_cause(&site.database);

    let inbox = site.get("/dead").await.text;
    let page = site.get(&format!("/dead/{cause}")).await.text;

    assert!(inbox.contains("died without a message"), "{inbox}");
    assert!(page.contains("No message was kept"), "{page}");
}
