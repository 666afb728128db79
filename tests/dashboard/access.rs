//! Who gets in, and who may do what: every route of the table against every sort of visitor.

use actix_web::dev::ServiceRequest;
use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use pgqueue_dashboard::{Access, Dashboard, DashboardBuilder, Denied, PasswordHash, Permissions};
use pgqueue_suite::TestDatabase;
use reqwest::{Method, StatusCode};

use crate::site::{Site, send};

const PASSWORD: &str = "correct horse battery";

fn with_password(permissions: Permissions) -> impl FnOnce(DashboardBuilder) -> DashboardBuilder {
    move |builder| {
        let hash = Argon2::default()
            .hash_password(PASSWORD.as_bytes())
            .unwrap();
        let hash = PasswordHash::parse(hash.to_string()).unwrap();
        builder.path("/admin").basic("alice", hash, permissions)
    }
}

/// Every route with something in place of its parameters.
fn routes() -> Vec<(Method, String, Permissions)> {
    let filled = |path: &str| {
        let mut filled = String::new();
        let mut rest = path;
        while let Some((before, parameter)) = rest.split_once('{') {
            filled += before;
            filled += "1";
            rest = parameter.split_once('}').unwrap().1;
        }
        filled + rest
    };
    let method = |name: &str| Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
    Dashboard::routes()
        .into_iter()
        .map(|(name, path, needs)| (method(name), format!("/admin{}", filled(path)), needs))
        .collect()
}

#[test]
fn no_route_stands_in_the_table_twice() {
    let mut seen = std::collections::HashSet::new();

    for (method, path, _) in Dashboard::routes() {
        assert!(seen.insert((method, path)), "{method} {path}");
    }
}

#[actix_web::test]
async fn nobody_gets_anywhere_without_a_password() {
    let site = Site::of(TestDatabase::migrated(), with_password(Permissions::all())).await;
    let origin = format!("http://{}", site.address);

    for (method, path, _) in routes() {
        let answer = send(
            site.request(method.clone(), &path)
                .header("origin", &origin),
        )
        .await;

        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(
            answer.header("www-authenticate").starts_with("Basic"),
            "{method} {path}"
        );
    }
}

#[actix_web::test]
async fn no_spelling_of_a_path_gets_around_the_password() {
    let site = Site::of(TestDatabase::migrated(), with_password(Permissions::all())).await;

    for trick in [
        "/admin//",
        "/admin/./",
        "/admin/../admin/",
        "/admin/%2e%2e/admin/settings",
        "/admin/%2f",
        "/admin/settings/",
        "/admin/settings;a=b",
        "/admin/SETTINGS",
        "/admin/settings%00",
        "/admin/assets/../settings",
        "/admin/assets/1/..%2f..%2fsettings",
        "/admin/healthz",
        "/admin/healthz/../settings",
        "/admin/metrics",
        "/admin/%61pi/v1/queues",
        "/admin/api/v1/../v1/queues",
        "/admin?x=/healthz",
        "/admin/settings?open",
    ] {
        for header in [
            "x-original-url",
            "x-rewrite-url",
            "x-forwarded-prefix",
            "x-http-method-override",
        ] {
            let answer = send(
                site.request(Method::GET, trick)
                    .header(header, "/admin/healthz"),
            )
            .await;

            let kept_out = matches!(
                answer.status,
                StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST
            );
            assert!(
                kept_out && !answer.text.contains("Settings"),
                "{trick} with {header}: {}",
                answer.status
            );
        }
    }
}

#[actix_web::test]
async fn who_may_only_read_can_change_nothing() {
    let site = Site::of(
        TestDatabase::migrated(),
        with_password(Permissions::READ_ONLY),
    )
    .await;
    let origin = format!("http://{}", site.address);
    // Preferences of one browser, in a cookie.
    let harmless = ["/admin/settings", "/admin/settings/columns"];

    for (method, path, needs) in routes() {
        let request = site
            .request(method.clone(), &path)
            .header("origin", &origin);
        let answer = send(
            request
                .basic_auth("alice", Some(PASSWORD))
                .header("content-type", "application/x-www-form-urlencoded"),
        )
        .await;

        if !Permissions::READ_ONLY.contains(needs) {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        } else if method != Method::GET && !harmless.contains(&path.as_str()) {
            // To reveal a secret takes a POST as well, as it is audited; it changes no job.
            let reveals = needs == Permissions::VIEW_PAYLOAD && path.ends_with("/reveal");
            assert!(
                reveals,
                "{method} {path} needs no permission to change something"
            );
        } else {
            assert_ne!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn a_read_only_dashboard_takes_the_permissions_from_everybody() {
    let settings = with_password(Permissions::all());
    let site = Site::of(TestDatabase::migrated(), |builder| {
        settings(builder).read_only(true)
    })
    .await;
    let origin = format!("http://{}", site.address);

    for (method, path, needs) in routes() {
        let request = site
            .request(method.clone(), &path)
            .header("origin", &origin);
        let answer = send(request.basic_auth("alice", Some(PASSWORD))).await;

        if !Permissions::READ_ONLY.contains(needs) {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn wrong_passwords_are_answered_only_so_often() {
    let site = Site::of(TestDatabase::migrated(), with_password(Permissions::all())).await;
    let guess = async |user: &str, password: &str| {
        send(
            site.request(Method::GET, "/admin/settings")
                .basic_auth(user, Some(password)),
        )
        .await
    };

    assert_eq!(guess("alice", PASSWORD).await.status, StatusCode::OK);
    for attempt in 0..10 {
        let user = if attempt % 2 == 0 { "alice" } else { "nobody" };
        assert_eq!(guess(user, "wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    let refused = guess("alice", PASSWORD).await;

    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 60);
}

#[actix_web::test]
async fn a_loopback_dashboard_refuses_proxies_and_other_names() {
    let site = Site::of(TestDatabase::migrated(), DashboardBuilder::loopback_only).await;

    assert_eq!(site.get("/settings").await.status, StatusCode::OK);
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-prefix", "/tools"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.9"),
        ("host", "evil.example"),
        ("via", "1.1 proxy"),
    ] {
        let answer = send(site.request(Method::GET, "/settings").header(name, value)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
}

#[actix_web::test]
async fn a_check_of_the_host_decides() {
    let site = Site::of(TestDatabase::migrated(), |builder| {
        builder.access(async |request: &ServiceRequest| {
            match request
                .headers()
                .get("x-user")
                .and_then(|user| user.to_str().ok())
            {
                Some("carol") => Ok(Access::new("carol", Permissions::VIEW)),
                Some(_) => Err(Denied::Forbidden),
                None => Err(Denied::SignInAt("/login?next=jobs".to_owned())),
            }
        })
    })
    .await;
    let as_user = async |user: &str| {
        send(
            site.request(Method::GET, "/settings")
                .header("x-user", user),
        )
        .await
    };

    let carol = as_user("carol").await;
    assert_eq!(
        (carol.status, carol.text.contains("carol")),
        (StatusCode::OK, true)
    );
    assert_eq!(as_user("mallory").await.status, StatusCode::FORBIDDEN);
    let stranger = site.get("/settings").await;
    assert_eq!(
        (stranger.status, stranger.location()),
        (StatusCode::SEE_OTHER, "/login?next=jobs")
    );
}

#[test]
fn a_dashboard_without_a_choice_of_access_is_not_built() {
    let error = Dashboard::builder("postgres://localhost/shop")
        .build()
        .unwrap_err();

    assert!(error.to_string().contains("loopback_only"), "{error}");
    assert_eq!(error.kind(), pgqueue_core::ErrorKind::Configuration);
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let refused = |settings: fn(DashboardBuilder) -> DashboardBuilder| {
        let builder = Dashboard::builder("postgres://localhost/shop").loopback_only();
        settings(builder).build().unwrap_err().to_string()
    };

    assert!(refused(|builder| builder.path("admin")).contains("\"admin\""));
    assert!(refused(|builder| builder.path("/a/../b")).contains("path"));
    assert!(refused(|builder| builder.external_base("//evil.example")).contains("external base"));
    assert!(refused(|builder| builder.trusted_origin("admin.example")).contains("trusted origin"));
    assert!(PasswordHash::parse("hunter2").unwrap_err().contains("PHC"));
}

#[test]
fn a_dashboard_with_two_choices_of_access_is_not_built_whichever_they_are() {
    let choices: [fn(DashboardBuilder) -> DashboardBuilder; 4] = [
        |builder| builder.access(async |_: &ServiceRequest| Err(Denied::Forbidden)),
        |builder| {
            let hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$G0xaXqXlAbQ1gCHtm2PB6ptLBCWDrdVfTdYr9bhZ0q4";
            builder.basic(
                "alice",
                PasswordHash::parse(hash).unwrap(),
                Permissions::all(),
            )
        },
        DashboardBuilder::loopback_only,
        DashboardBuilder::insecure_open_to_everybody,
    ];

    for (index, first) in choices.iter().enumerate() {
        for (_, second) in choices.iter().enumerate().filter(|(at, _)| *at != index) {
            let both = second(first(Dashboard::builder("postgres://localhost/shop")));
            let error = both.build().unwrap_err();
            assert!(error.to_string().contains("choose one of"), "{error}");
        }
    }
}
