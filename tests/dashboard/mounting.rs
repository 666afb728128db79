//! Where the dashboard may be mounted, and what every answer carries.

use pgqueue_dashboard::DashboardBuilder;
use pgqueue_suite::TestDatabase;
use reqwest::{Method, StatusCode};

use crate::site::{Site, send};

#[actix_web::test]
async fn links_begin_with_the_path_of_the_mount() {
    let site = Site::of(TestDatabase::migrated(), |builder| {
        builder.path("/admin/jobs").insecure_open_to_everybody()
    })
    .await;

    for path in ["/admin/jobs", "/admin/jobs/"] {
        let page = site.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(
            page.text.contains("href=\"/admin/jobs/settings\""),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn a_form_of_another_origin_changes_nothing() {
    let site = Site::of(
        TestDatabase::migrated(),
        DashboardBuilder::insecure_open_to_everybody,
    )
    .await;
    let form = [("theme", "dark"), ("offset", "0"), ("refresh", "2")];

    let refused = send(
        site.request(Method::POST, "/settings")
            .header("origin", "https://evil.example")
            .form(&form),
    )
    .await;
    let accepted = site.post("/settings", &form).await;

    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(
        refused.text.contains("https://evil.example"),
        "it says what it saw"
    );
    assert_eq!(accepted.status, StatusCode::SEE_OTHER);
    assert_eq!(accepted.location(), "/settings");
}
