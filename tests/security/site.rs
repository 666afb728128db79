//! Dashboards with the viewer's and the operator's role: every page, and every deed.

use std::collections::BTreeSet;

use super::*;
use pgqueue_core::JobState;
use pgqueue_dashboard::Dashboard;
use pgqueue_suite::seed::{Scale, seed};
use pgqueue_suite::site::{Answer, Site, send};
use pgqueue_suite::wait_until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Serves a database that is in use, as a role.
async fn served(test: &str, login: &str) -> (Site, Roles) {
    let db = TestDatabase::migrated();
    seed(&mut db.sync(), Scale::SMALL).unwrap();
    db.execute(
        "INSERT INTO pgqueue_bulk_operations (cutoff, expected, expected_exactly, verb, actor, filter, place, state, finished_at)
         VALUES (now(), 1, true, 'purge', 'zoe', '{}', '{\"course\": 0, \"after\": null}', 'finished', now())",
    );
    let roles = Roles::of(&db, test);
    let builder = Dashboard::builder(roles.url(&db, login)).insecure_open_to_everybody();
    let dashboard = builder.build().unwrap();
    (Site::serve(db, dashboard).await, roles)
}

async fn post(site: &Site, path: &str, body: &Value) -> Answer {
    let origin = format!("http://{}", site.address);
    let request = site.request(Method::POST, path).header("origin", origin);
    send(request.json(body)).await
}

/// Gives each route to read with something that is there in place of its parameters.
fn pages(site: &Site) -> Vec<String> {
    let number = |sql: &str| site.database.number(sql);
    let dead = number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead'");
    let cause = number("SELECT min(cause) FROM pgqueue_jobs WHERE state = 'dead'");
    let worker = number("SELECT min(id) FROM pgqueue_workers");
    let routes = Dashboard::routes().into_iter();
    let reads = routes.filter(|(method, path, _)| *method == "get" && *path != "/events");
    let mut pages: Vec<String> = reads
        .filter(|(_, path, _)| !path.starts_with("/assets/"))
        .map(|(_, path, _)| {
            let id = if path.contains("workers") {
                worker
            } else if path.contains("operations") || path.contains("bulk") {
                1
            } else {
                dead
            };
            path.replace("{id}", &id.to_string())
                .replace("{cause}", &cause.to_string())
                .replace("{queue:.+}", "mail")
                .replace("{kind:.+}", "notify_warehouse")
        })
        .collect();
    for page in &mut pages {
        let query = match page.as_str() {
            "/queue" => "?name=mail",
            "/kind" => "?name=notify_warehouse",
            "/bulk/preview" | "/api/v1/operations/preview" => "?action=requeue&filter=state:dead",
            _ => "",
        };
        page.push_str(query);
    }
    pages
}

#[actix_web::test]
async fn a_viewer_serves_every_page_and_is_refused_every_change() {
    let (site, roles) = served("viewer", "shop_support").await;
    let job = site
        .database
        .number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead'");

    for path in pages(&site) {
        let answer = site.get(&path).await;
        let is_shown = answer.status.is_success() || answer.status.is_redirection();
        assert!(is_shown, "{path}: {} {}", answer.status, answer.text);
        let says = answer.text.matches("permission denied").count();
        // EXPLAIN of a claim takes the right to claim: that one finding is missing, and says so.
        let expected = usize::from(path.ends_with("/postgres"));
        assert!(says <= expected, "{path}: {}", answer.text);
    }
    for deed in ["requeue", "run-now", "cancel", "purge"] {
        let refused = post(
            &site,
            &format!("/api/v1/jobs/{deed}"),
            &json!({"ids": [job]}),
        )
        .await;
        assert_eq!(
            refused.status,
            StatusCode::FORBIDDEN,
            "{deed}: {}",
            refused.text
        );
    }
    for (path, form) in [
        (format!("/jobs/{job}/requeue"), &[][..]),
        (format!("/jobs/{job}/clone"), &[]),
        ("/queue/pause".to_owned(), &[("queue", "mail")]),
    ] {
        let page = site.post(&path, form).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}: {}", page.text);
        let says_why = page.text.contains("permission denied for table");
        assert!(says_why, "{path}: {}", page.text);
    }
    let revealed = post(&site, &format!("/api/v1/jobs/{job}/reveal"), &json!({})).await;
    assert_eq!(revealed.status, StatusCode::FORBIDDEN, "no entry, no sight");
    assert_eq!(site.database.job(job).state, JobState::Dead);
    roles.drop(&site.database);
}

/// Notes which routes were used.
struct Deeds<'a> {
    site: &'a Site,
    done: BTreeSet<&'static str>,
}

impl Deeds<'_> {
    /// Does what a route is for, with a number in place of its parameter.
    async fn act(&mut self, route: &'static str, parameter: &str, body: Value) -> Value {
        let path = route
            .replace("{id}", parameter)
            .replace("{queue}", parameter);
        let answer = post(self.site, &path, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        self.done.insert(route);
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    async fn wait_for(&self, operation: &str, state: &str) {
        let path = format!("/api/v1/operations/{operation}");
        wait_until(&format!("operation {operation} is {state}"), async || {
            let told: Value = serde_json::from_str(&self.site.get(&path).await.text).unwrap();
            told["state"] == state
        })
        .await;
    }
}

#[actix_web::test]
async fn an_operator_serves_every_page_and_does_every_deed() {
    let (site, roles) = served("operator", "shop_admin").await;
    let number = |sql: &str| site.database.number(sql);
    let of = |condition: &str| {
        number(&format!(
            "SELECT min(id) FROM pgqueue_jobs WHERE {condition}"
        ))
    };
    let mut deeds = Deeds {
        site: &site,
        done: BTreeSet::new(),
    };

    for path in pages(&site) {
        let answer = site.get(&path).await;
        let is_shown = answer.status.is_success() || answer.status.is_redirection();
        assert!(is_shown, "{path}: {} {}", answer.status, answer.text);
        assert!(
            !answer.text.contains("permission denied"),
            "{path}: {}",
            answer.text
        );
    }

    let dead = of("state = 'dead'").to_string();
    deeds
        .act("/api/v1/jobs/{id}/reveal", &dead, json!({}))
        .await;
    deeds.act("/api/v1/jobs/{id}/clone", &dead, json!({})).await;
    let shown: Value =
        serde_json::from_str(&site.get(&format!("/api/v1/jobs/{dead}")).await.text).unwrap();
    let edit = json!({"version": shown["job"]["version"], "priority": 1, "requeue": true});
    deeds.act("/api/v1/jobs/{id}/edit", &dead, edit).await;
    let later = of("state = 'pending' AND run_at > now()");
    let running = of("state = 'running'");
    let ids = |id: i64| json!({"ids": [id], "reason": "a test"});
    deeds
        .act("/api/v1/jobs/requeue", "", ids(of("state = 'dead'")))
        .await;
    deeds.act("/api/v1/jobs/run-now", "", ids(later)).await;
    deeds.act("/api/v1/jobs/cancel", "", ids(later)).await;
    deeds.act("/api/v1/jobs/cancel", "", ids(running)).await;
    deeds
        .act("/api/v1/jobs/purge", "", ids(of("state = 'dead'")))
        .await;
    deeds
        .act("/api/v1/queues/{queue}/pause", "mail", json!({}))
        .await;
    deeds
        .act("/api/v1/queues/{queue}/resume", "mail", json!({}))
        .await;
    assert_eq!(
        number(&format!(
            "SELECT count(*) FROM pgqueue_jobs WHERE id = {running} AND cancel_requested_at IS NOT NULL"
        )),
        1
    );

    let hurry = json!({"filter": "state:pending"});
    let hurried = deeds.act("/api/v1/operations/run-now", "", hurry).await;
    deeds.wait_for(&hurried["id"].to_string(), "finished").await;
    let cancelled = json!({"filter": "state:pending"});
    let cancelled = deeds.act("/api/v1/operations/cancel", "", cancelled).await;
    deeds
        .wait_for(&cancelled["id"].to_string(), "finished")
        .await;
    for route in ["/api/v1/operations/requeue", "/api/v1/operations/purge"] {
        let before = site.database.count(JobState::Dead);
        let body = json!({"filter": "state:dead", "rate": 5});
        let id = deeds.act(route, "", body).await["id"].to_string();
        wait_until("it has begun", async || {
            site.database.count(JobState::Dead) < before
        })
        .await;
        deeds
            .act("/api/v1/operations/{id}/pause", &id, Value::Null)
            .await;
        deeds
            .act("/api/v1/operations/{id}/resume", &id, Value::Null)
            .await;
        deeds
            .act("/api/v1/operations/{id}/stop", &id, Value::Null)
            .await;
        deeds
            .act("/api/v1/operations/{id}/undo", &id, Value::Null)
            .await;
        deeds.wait_for(&id, "undone").await;
        assert_eq!(site.database.count(JobState::Dead), before, "{route}");
    }

    let routes = Dashboard::routes().into_iter();
    let offered = routes.filter(|(method, path, _)| *method == "post" && path.starts_with("/api/"));
    assert_eq!(deeds.done, offered.map(|(_, path, _)| path).collect());
    roles.drop(&site.database);
}
