//! Where the dashboard may be mounted, and what every answer carries.

use actix_web::{App, HttpServer, rt, test, web};
use pgqueue_dashboard::{Dashboard, DashboardBuilder};
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
async fn two_dashboards_in_one_application_do_not_mix() {
    let database = TestDatabase::migrated();
    let built = |name: &str| {
        let builder = Dashboard::builder(database.url()).insecure_open_to_everybody();
        builder.environment(name).build().unwrap()
    };
    let (first, second) = (built("first"), built("second"));
    let server = HttpServer::new(move || {
        App::new()
            .service(web::scope("/a/jobs").service(first.clone()))
            .service(web::scope("/b").service(web::scope("/jobs").service(second.clone())))
            .route("/a/own", web::get().to(async || "the host's own"))
    })
    .workers(1)
    .disable_signals()
    .bind("127.0.0.1:0")
    .unwrap();
    let address = server.addrs()[0];
    rt::spawn(server.run());
    let get = async |path: &str| {
        send(reqwest::Client::new().get(format!("http://{address}{path}"))).await
    };

    for (base, name, other) in [
        ("/a/jobs", "first", "second"),
        ("/b/jobs", "second", "first"),
    ] {
        let page = get(&format!("{base}/settings")).await;
        assert!(
            page.text.contains(name) && !page.text.contains(other),
            "{base}"
        );
        assert!(
            page.text.contains(&format!("href=\"{base}/queues\"")),
            "{base}"
        );
        let style = page
            .text
            .split("rel=\"stylesheet\" href=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert_eq!(
            get(style).await.header("content-type"),
            "text/css; charset=utf-8"
        );
    }
    assert_eq!(get("/a/own").await.text, "the host's own");
}

#[actix_web::test]
async fn what_the_application_registers_after_the_dashboard_is_served() {
    let database = TestDatabase::migrated();
    let builder = Dashboard::builder(database.url()).insecure_open_to_everybody();
    let dashboard = builder.path("/admin/jobs").build().unwrap();
    let own = || web::get().to(async || "the host's own");
    let app = App::new()
        .service(dashboard)
        .service(web::scope("/shop").route("/cart", own()))
        .route("/admin/jobsites", own())
        .default_service(own());
    let app = test::init_service(app).await;
    let get = async |path: &str| {
        let request = test::TestRequest::get().uri(path).to_request();
        let text = test::call_and_read_body(&app, request).await;
        String::from_utf8(text.to_vec()).unwrap()
    };

    assert!(get("/admin/jobs/settings").await.contains("<html"));
    for path in ["/shop/cart", "/admin/jobsites", "/nowhere"] {
        assert_eq!(get(path).await, "the host's own", "{path}");
    }
}

#[actix_web::test]
async fn behind_a_proxy_that_strips_a_prefix_links_have_it() {
    let site = Site::of(TestDatabase::migrated(), |builder| {
        builder
            .path("/internal")
            .external_base("/tools/jobs/")
            .insecure_open_to_everybody()
    })
    .await;

    let page = site.get("/internal/settings").await;
    assert!(page.text.contains("href=\"/tools/jobs/settings\""));
    assert!(!page.text.contains("/internal"));
    let saved = site
        .post(
            "/internal/settings",
            &[("theme", "dark"), ("offset", "0"), ("refresh", "2")],
        )
        .await;
    assert_eq!(saved.location(), "/tools/jobs/settings");
    assert!(
        saved
            .headers
            .get_all("set-cookie")
            .iter()
            .all(|cookie| cookie.to_str().unwrap().contains("Path=/tools/jobs"))
    );
}

#[actix_web::test]
async fn a_forwarded_prefix_is_believed_only_if_somebody_said_so_and_only_if_it_is_a_path() {
    let trusting = Site::of(TestDatabase::migrated(), |builder| {
        let builder = builder.path("/jobs").insecure_open_to_everybody();
        builder.trust_forwarded_prefix()
    })
    .await;
    let wary = Site::of(TestDatabase::migrated(), |builder| {
        builder.path("/jobs").insecure_open_to_everybody()
    })
    .await;
    let through = async |site: &Site, prefix: &str| {
        let request = site.request(Method::GET, "/jobs/settings");
        send(request.header("x-forwarded-prefix", prefix)).await
    };

    for prefix in ["/tools", "/tools/", "/a/b-c", ""] {
        let page = through(&trusting, prefix).await;
        let link = format!("href=\"{}/jobs/queues\"", prefix.trim_end_matches('/'));
        assert!(page.text.contains(&link), "{prefix}");
    }
    for prefix in [
        "//evil.example",
        "https://evil.example",
        "/a/../b",
        "/a, /b",
        "/\"><script>",
        "/a\\b",
        "tools",
    ] {
        let page = through(&trusting, prefix).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{prefix}");
        assert!(page.text.contains("href=\"/jobs/assets/"), "{prefix}");
        assert!(!page.text.contains("<script>"), "{prefix}");
    }
    let page = through(&wary, "/tools").await;
    assert!(page.text.contains("href=\"/jobs/queues\"") && !page.text.contains("/tools"));
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
    let silent = send(site.request(Method::POST, "/settings").form(&form)).await;
    let accepted = site.post("/settings", &form).await;

    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(
        refused.text.contains("https://evil.example"),
        "it says what it saw"
    );
    assert_eq!(silent.status, StatusCode::FORBIDDEN);
    assert_eq!(accepted.status, StatusCode::SEE_OTHER);
    assert_eq!(accepted.location(), "/settings");
}

#[actix_web::test]
async fn every_answer_carries_the_security_headers_and_is_kept_by_no_cache() {
    let site = Site::of(
        TestDatabase::migrated(),
        DashboardBuilder::insecure_open_to_everybody,
    )
    .await;
    let long = format!("/settings?{}", "a".repeat(9000));

    for path in [
        "/",
        "/settings",
        "/nope",
        "/assets/0/app.css",
        long.as_str(),
    ] {
        let answer = site.get(path).await;
        let shown = &path[..path.len().min(20)];
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'"),
            "{shown}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            "nosniff",
            "{shown}"
        );
        assert_eq!(answer.header("x-frame-options"), "DENY", "{shown}");
        assert_eq!(answer.header("cache-control"), "no-store", "{shown}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{shown}");
    }
}

#[actix_web::test]
async fn a_problem_is_a_page_for_browsers_and_json_for_programs() {
    let site = Site::of(
        TestDatabase::migrated(),
        DashboardBuilder::insecure_open_to_everybody,
    )
    .await;

    let page = site.get("/nope").await;
    let json = send(
        site.request(Method::GET, "/nope")
            .header("accept", "application/json"),
    )
    .await;

    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("What to do:") && page.text.contains(page.header("x-request-id")));
    assert_eq!(json.header("content-type"), "application/problem+json");
    let problem: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!(
        (problem["status"].as_u64(), problem["title"].as_str()),
        (Some(404), Some("Not found"))
    );
}

#[actix_web::test]
async fn without_tables_or_without_a_database_the_page_says_what_to_do() {
    let missing = Site::of(
        TestDatabase::empty(),
        DashboardBuilder::insecure_open_to_everybody,
    )
    .await;
    let page = missing.get("/").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.text.contains("pgqueue-dashboard migrate"),
        "{}",
        page.text
    );

    let dashboard = Dashboard::builder("postgres://postgres:geheim@127.0.0.1:1/shop")
        .insecure_open_to_everybody()
        .build()
        .unwrap();
    let gone = Site::serve(TestDatabase::empty(), dashboard).await;
    let page = gone.get("/").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text.contains("check that PostgreSQL runs") && !page.text.contains("geheim"));
}

#[actix_web::test]
async fn an_escape_in_a_path_does_not_change_where_links_begin() {
    let site = Site::of(TestDatabase::migrated(), |builder| {
        builder.insecure_open_to_everybody()
    })
    .await;

    for path in ["/none/%20%20%20", "//evil.example/%41%41%41%41%41%41%41%41"] {
        let page = site.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.text.contains("href=\"/settings\""), "{path}");
        assert!(!page.text.contains("href=\"//"), "{path}");
    }
}
