//! How the list of jobs and the page of one lead on: what is new, columns, neighbours, earlier jobs of the kind.

use pgqueue_dashboard::{Access, DashboardBuilder, Permissions};
use pgqueue_suite::TestDatabase;
use pgqueue_suite::site::{Answer, send};
use reqwest::{Method, StatusCode};

use crate::site::Site;

/// Makes dead jobs of a kind, each a second younger than the one before.
fn dead(site: &Site, kind: &str, count: i64) {
    site.database.execute(&format!(
        "INSERT INTO pgqueue_jobs (kind, payload, state, attempt, started_at, finished_at, unique_key) \
         SELECT '{kind}', '{{}}', 'dead', 4, t.at - interval '3 s', t.at, 'key-' || n FROM generate_series(1, {count}) AS n \
         CROSS JOIN LATERAL (SELECT clock_timestamp() + n * interval '1 ms' AS at) AS t"
    ));
}

/// Gives the addresses that an attribute of the page has.
fn addresses(page: &str, before: &str) -> Vec<String> {
    let parts = page.split(before).skip(1);
    let ends = parts.map(|part| part.split('"').next().unwrap());
    ends.map(|address| address.replace("&#38;", "&")).collect()
}

/// Gives the ids of the rows, in their order.
fn rows(page: &str) -> Vec<i64> {
    let ids = addresses(page, "<tr id=\"job-");
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

/// Gives the line that says what is new in the list; empty when nothing is.
fn news(page: &str) -> String {
    let line = page.split("id=\"news\"").nth(1).unwrap();
    let line = line.split("</p>").next().unwrap();
    let chip = line.split("class=\"chip on\"").nth(1).unwrap_or("><");
    let text = chip.split_once('>').unwrap().1;
    text.split('<').next().unwrap().to_owned()
}

/// Asks as a page does that brings itself up to date.
async fn refreshed(site: &Site, page: &str) -> Answer {
    let from = addresses(page, "data-from=\"");
    site.get(&from[0]).await
}

async fn with_cookie(site: &Site, path: &str, cookie: &str) -> Answer {
    let request = site.request(Method::GET, path);
    send(request.header("cookie", cookie)).await
}

#[actix_web::test]
async fn a_list_says_how_many_jobs_came_in_front_and_keeps_its_rows() {
    let site = Site::empty().await;
    dead(&site, "old", 30);
    let page = site.get("/jobs?q=state:dead+kind:old&size=25").await.text;
    assert_eq!(news(&refreshed(&site, &page).await.text), "");

    dead(&site, "old", 12);
    dead(&site, "new", 5);
    let now = refreshed(&site, &page).await.text;

    assert_eq!(news(&now), "12 newer: show");
    assert_eq!(rows(&now), rows(&page));
    assert_eq!(
        addresses(&now, "data-from=\""),
        addresses(&page, "data-from=\"")
    );
    let shown = addresses(
        &now,
        "class=\"chip on\" href=\"/jobs?q=state%3Adead+kind%3Aold&#38;size=25",
    );
    assert_eq!(shown, [""], "it leads to the first page");
    dead(&site, "old", 200);
    assert_eq!(news(&refreshed(&site, &page).await.text), "99+ newer: show");
}

#[actix_web::test]
async fn a_row_is_brought_up_to_date_where_it_stands() {
    let site = Site::empty().await;
    dead(&site, "job", 3);
    let page = site.get("/jobs?q=state:dead").await.text;

    site.database.execute(
        "UPDATE pgqueue_jobs SET state = 'pending', finished_at = NULL, attempt = 0 WHERE id = 2; \
         DELETE FROM pgqueue_jobs WHERE id = 1",
    );
    let now = refreshed(&site, &page).await.text;

    assert_eq!((rows(&page), rows(&now)), (vec![3, 2, 1], vec![3, 2]));
    assert_eq!(news(&now), "1 no longer dead, 1 gone: show");
    assert_eq!(now.matches("state state-pending").count(), 1);
}

#[actix_web::test]
async fn in_the_order_of_claims_nothing_is_called_newer() {
    let site = Site::empty().await;
    let enqueue = "INSERT INTO pgqueue_jobs (kind, payload, priority) VALUES ('job', '{}', 5)";
    site.database.execute(enqueue);
    let page = site.get("/jobs?q=state:pending").await.text;

    site.database.execute(enqueue);
    site.database
        .execute("UPDATE pgqueue_jobs SET state = 'completed', finished_at = now() WHERE id = 1");

    let worker = site.get("/jobs?q=worker:3").await.text;
    for page in [&page, &worker] {
        assert!(!addresses(page, "data-from=\"")[0].contains("since"));
    }
    assert_eq!(
        news(&refreshed(&site, &page).await.text),
        "1 no longer pending: show"
    );
}

#[actix_web::test]
async fn an_empty_list_says_when_there_is_something() {
    let site = Site::empty().await;
    for query in ["", "?q=kind:job"] {
        let page = site.get(&format!("/jobs{query}")).await.text;
        assert_eq!(news(&refreshed(&site, &page).await.text), "");
        dead(&site, "job", 1);

        assert_eq!(news(&refreshed(&site, &page).await.text), "1 newer: show");
        site.database.execute("DELETE FROM pgqueue_jobs");
    }
}

#[actix_web::test]
async fn columns_are_chosen_kept_in_a_cookie_and_given_back() {
    let site = Site::empty().await;
    dead(&site, "job", 1);
    let form = [
        ("column", "took"),
        ("column", "key"),
        ("column", "moon"),
        ("back", "/jobs?q=kind:job"),
    ];

    let saved = site.post("/settings/columns", &form).await;
    let mut cookies = saved.headers.get_all("set-cookie").iter();
    let cookie = cookies.find_map(|cookie| {
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
        cookie.contains("preferences").then_some(cookie)
    });
    let cookie = cookie.unwrap();
    let page = with_cookie(&site, saved.location(), cookie).await.text;

    assert_eq!(
        (saved.status, saved.location()),
        (StatusCode::SEE_OTHER, "/jobs?q=kind:job")
    );
    assert!(page.contains("key-1") && page.contains("3.0 s"));
    for gone in [
        "data-label=\"State\"",
        "data-label=\"Queue\"",
        "data-label=\"Payload\"",
    ] {
        assert!(!page.contains(gone), "{gone}");
    }
    assert_eq!(page.matches("name=\"column\"").count(), 11);
    assert_eq!(page.matches("\" checked>").count(), 2);
    let usual = site
        .post(
            "/settings/columns",
            &[("usual", "1"), ("back", "//evil.example")],
        )
        .await;
    assert_eq!(usual.location(), "/jobs");
}

#[actix_web::test]
async fn saving_the_settings_keeps_the_columns() {
    let site = Site::empty().await;
    let form = [("theme", "dark"), ("offset", "0"), ("refresh", "5")];
    let origin = format!("http://{}", site.address);
    let request = site
        .request(Method::POST, "/settings")
        .header("origin", origin)
        .form(&form);

    let saved = send(request.header("cookie", "pgqueue_preferences=auto.0.2.1.3")).await;

    let cookies: Vec<_> = saved.headers.get_all("set-cookie").iter().collect();
    assert!(cookies.iter().any(|cookie| {
        cookie
            .to_str()
            .unwrap()
            .starts_with("pgqueue_preferences=dark.0.5.0.3;")
    }));
}

#[actix_web::test]
async fn who_may_not_see_payloads_is_not_offered_their_column() {
    let site = Site::of(TestDatabase::migrated(), |builder: DashboardBuilder| {
        builder.access(async |_: &actix_web::dev::ServiceRequest| {
            Ok(Access::new("eve", Permissions::VIEW))
        })
    })
    .await;
    dead(&site, "job", 1);

    let page = with_cookie(&site, "/jobs", "pgqueue_preferences=auto.0.2.1.ffff")
        .await
        .text;

    assert!(!page.contains("value=\"payload\"") && !page.contains(">Payload<"));
    assert_eq!(page.matches("name=\"column\"").count(), 10);
}

#[actix_web::test]
async fn from_a_list_its_jobs_are_gone_through_one_by_one_and_back() {
    let site = Site::empty().await;
    dead(&site, "a", 3);
    dead(&site, "b", 1);
    dead(&site, "a", 3);
    let list = site.get("/jobs?q=state:dead+kind:a").await.text;
    let ids = rows(&list);
    let mut path = addresses(&list, "<span><a href=\"")[0].clone();

    let (mut seen, mut back) = (Vec::new(), Vec::new());
    loop {
        let page = site.get(&path).await;
        assert!(page.text.contains("<code>state:dead kind:a</code>"));
        seen.push(path.clone());
        back.extend(addresses(&page.text, "rel=\"prev\" href=\""));
        let next = addresses(&page.text, "rel=\"next\" href=\"");
        let Some(next) = next.first() else { break };
        path.clone_from(next);
    }

    let of = |path: &String| {
        path["/jobs/".len()..]
            .split('?')
            .next()
            .unwrap()
            .parse::<i64>()
    };
    let walked: Vec<i64> = seen.iter().map(|path| of(path).unwrap()).collect();
    assert_eq!((walked, ids.len()), (ids, 6));
    assert_eq!(back, seen[..5]);
}

#[actix_web::test]
async fn after_an_action_the_list_goes_on_from_where_the_job_stood() {
    let site = Site::empty().await;
    dead(&site, "job", 3);
    let list = site.get("/jobs?q=state:dead").await.text;
    let path = &addresses(&list, "<span><a href=\"")[1];
    let page = site.get(path).await.text;
    let forms = addresses(&page, "method=\"post\" action=\"");
    let requeue = forms.iter().find(|form| form.contains("/requeue")).unwrap();

    let done = site.post(requeue, &[]).await;
    let page = site.get(done.location()).await.text;

    assert_eq!(done.location(), path);
    let next = addresses(&page, "rel=\"next\" href=\"");
    assert!(next[0].starts_with("/jobs/1?") && page.contains("state-pending"));
}

#[actix_web::test]
async fn a_job_without_a_list_stands_among_those_of_its_kind_and_state() {
    let site = Site::empty().await;
    dead(&site, "a", 2);
    dead(&site, "b", 1);
    dead(&site, "a", 1);

    let page = site.get("/jobs/2").await.text;

    let near = |side: &str| {
        addresses(&page, side)[0]
            .split('?')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(near("rel=\"prev\" href=\""), "/jobs/4");
    assert_eq!(near("rel=\"next\" href=\""), "/jobs/1");
    for odd in [
        "?q=moon",
        "?at=moon",
        "?q=state:dead&at=oi.1.0.0.",
        "?q=id:2&at=od.1.0.0.",
    ] {
        let page = site.get(&format!("/jobs/2{odd}")).await;
        assert_eq!(page.status, StatusCode::OK, "{odd}");
    }
}

#[actix_web::test]
async fn a_job_shows_how_the_last_of_its_kind_ended() {
    let site = Site::empty().await;
    dead(&site, "job", 12);
    dead(&site, "other", 1);
    site.database.execute(
        "INSERT INTO pgqueue_jobs (kind, payload, state, started_at, finished_at) \
         VALUES ('job', '{}', 'completed', now() + interval '1 h', now() + interval '1 h 5 min')",
    );
    let history = |page: &str| {
        let card = page.split("Last of this kind").nth(1).unwrap();
        card.split("</section>").next().unwrap().to_owned()
    };

    let card = history(&site.get("/jobs/12").await.text);
    let none = history(&site.get("/jobs/13").await.text);

    assert_eq!(
        card.matches("<tr><th").count() + card.matches("class=\"current\"").count(),
        11
    );
    assert!(
        card.contains("state-completed") && card.contains("5 min") && card.contains("this one")
    );
    assert!(card.contains("href=\"/jobs?q=kind%3Ajob\""));
    assert_eq!(none.matches("this one").count(), 1);
    let refresh = site.request(Method::GET, "/jobs/12").header("x-live", "1");
    let refresh = send(refresh).await.text;
    assert!(refresh.contains("id=\"standing\"") && !refresh.contains("Last of this kind"));
}

#[actix_web::test]
async fn a_list_by_payloads_leads_nowhere_for_who_may_not_see_them() {
    let site = Site::of(TestDatabase::migrated(), |builder: DashboardBuilder| {
        builder.access(async |_: &actix_web::dev::ServiceRequest| {
            Ok(Access::new("eve", Permissions::VIEW))
        })
    })
    .await;
    dead(&site, "job", 2);

    let page = site.get("/jobs/2?q=args.order=7").await;

    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("args.order") || !page.text.contains("Back to"));
}
