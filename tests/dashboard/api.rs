//! The JSON API and its description.

use std::collections::BTreeSet;

use pgqueue_dashboard::{Access, Dashboard, Permissions};
use pgqueue_suite::wait_until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::site::{Answer, Site, send};

/// Sends a body as a program on the same origin would.
pub(crate) async fn post(site: &Site, path: &str, body: &Value) -> Answer {
    let origin = format!("http://{}", site.address);
    let request = site.request(Method::POST, path).header("origin", origin);
    send(request.json(body)).await
}

/// Reads an answer that is as it should be.
pub(crate) fn parsed(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    serde_json::from_str(&answer.text).unwrap()
}

/// Says where a value is not what its schema allows; properties that the schema does not name are wrong, too.
fn violation(document: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#'));
        return violation(document, schema.expect(name), value, place);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allows = |name: &Value| name == kind || name == "number" && kind == "integer";
    let allowed = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(allows),
        name => allows(name),
    };
    if !allowed {
        return Some(format!("{place} is {kind}"));
    }
    let missing = schema["required"].as_array().into_iter().flatten();
    for name in missing.filter_map(Value::as_str) {
        if value.get(name).is_none() {
            return Some(format!("{place} has no {name}"));
        }
    }
    if let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, field) in fields {
            let Some(schema) = known.get(name) else {
                return Some(format!("{place} has {name}, which is not described"));
            };
            let wrong = violation(document, schema, field, &format!("{place}.{name}"));
            if wrong.is_some() {
                return wrong;
            }
        }
    }
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|item| violation(document, &schema["items"], item, &format!("{place}[]")))
        .next()
}

#[actix_web::test]
async fn the_description_names_every_route_of_the_api_and_no_other() {
    let site = Site::empty().await;

    let document = parsed(&site.get("/api/v1/openapi.json").await);

    let routes = Dashboard::routes().into_iter();
    let routes: BTreeSet<(String, String)> = routes
        .filter(|(_, path, _)| path.starts_with("/api/v1/"))
        .map(|(method, path, _)| (path.to_owned(), method.to_owned()))
        .collect();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        described.extend(methods.map(|method| (path.clone(), method.clone())));
    }
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(routes, described);
}

#[test]
fn the_documentation_lists_every_route_of_the_api_with_its_permission() {
    let documentation = include_str!("../../docs/dashboard.md");
    for (method, path, needs) in Dashboard::routes() {
        let Some(path) = path.strip_prefix("/api/v1") else {
            continue;
        };
        let (needs, _) = needs.iter_names().next().unwrap();
        let row = format!("| `{} {path}` | `{needs}` | ", method.to_uppercase());
        assert!(documentation.contains(&row), "{row}");
    }
}

#[actix_web::test]
async fn answers_are_what_the_description_says() {
    let site = Site::seeded().await;
    let document = parsed(&site.get("/api/v1/openapi.json").await);
    let worker = site.database.number("SELECT min(id) FROM pgqueue_workers");

    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path.ends_with("openapi.json") {
            continue;
        }
        let schema = &methods["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let id = match path.split('/').nth(3) {
            Some("jobs") => site
                .database
                .number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead'"),
            Some("operations") => site
                .database
                .number("SELECT min(id) FROM pgqueue_bulk_operations"),
            _ => worker,
        };
        let cause = site
            .database
            .number("SELECT cause FROM pgqueue_jobs WHERE state = 'dead' ORDER BY id LIMIT 1");
        let query = match path.as_str() {
            "/api/v1/operations/preview" => "?action=requeue&filter=state:dead",
            "/api/v1/overview" => "?exact=dead",
            _ => "",
        };
        let filled = path
            .replace("{id}", &id.to_string())
            .replace("{cause}", &cause.to_string());
        let answer = parsed(&site.get(&format!("{filled}{query}")).await);
        assert_eq!(violation(&document, schema, &answer, path), None);
    }
    let schema = &document["components"]["schemas"]["Problem"];
    let problem = site.get("/api/v1/workers/0").await;
    assert_eq!(problem.status, StatusCode::NOT_FOUND);
    let problem: Value = serde_json::from_str(&problem.text).unwrap();
    assert_eq!(violation(&document, schema, &problem, "problem"), None);
}

#[actix_web::test]
async fn the_api_acts_on_what_is_named_and_on_nothing_by_mistake() {
    let site = Site::seeded().await;
    let dead = site
        .database
        .number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead' AND unique_key IS NULL");
    let body = json!({ "ids": [dead, 999_999_999], "reason": "it is back" });

    let done = parsed(&post(&site, "/api/v1/jobs/requeue", &body).await);
    let nothing = post(&site, "/api/v1/jobs/purge", &json!({})).await;
    let typo = post(&site, "/api/v1/jobs/purge", &json!({ "queeu": "mail" })).await;
    let mistaken = site.get("/api/v1/jobs?state=dead").await;
    let of_kind = parsed(&post(&site, "/api/v1/jobs/purge", &json!({ "queue": "mail" })).await);

    assert_eq!(done["changed"], 1);
    assert_eq!(
        done["skipped"],
        json!([{ "id": 999_999_999, "reason": "missing" }])
    );
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(typo.status, StatusCode::BAD_REQUEST);
    assert_eq!(mistaken.status, StatusCode::BAD_REQUEST);
    assert!(mistaken.text.contains("state"), "{}", mistaken.text);
    assert_eq!(of_kind["changed"], 12);
    let why =
        "SELECT count(*) FROM pgqueue_audit WHERE action = 'requeue' AND reason = 'it is back'";
    assert_eq!(site.database.number(why), 1);
}

#[actix_web::test]
async fn what_an_operation_looked_for_in_payloads_is_told_only_to_who_may_see_them() {
    let site = Site::seeded().await;
    let order = json!({ "filter": "state:dead args.postcode=27498" });
    let started = parsed(&post(&site, "/api/v1/operations/requeue", &order).await);
    let path = format!("/api/v1/operations/{}", started["id"]);
    let page = format!("/bulk/{}", started["id"]);
    wait_until("the operation is finished", async || {
        parsed(&site.get(&path).await)["state"] == "finished"
    })
    .await;
    let open = [site.get(&path).await, site.get(&page).await];
    let narrow = Site::of(site.database, |builder| {
        builder.access(async |_: &actix_web::dev::ServiceRequest| {
            Ok(Access::new("viewer", Permissions::VIEW))
        })
    })
    .await;

    let told = parsed(&open[0]);
    assert_eq!(told["became"][0]["state"], "pending");
    assert_eq!(told["became"][0]["jobs"], told["done"]);
    for answer in open {
        assert!(answer.text.contains("27498"), "{}", answer.text);
    }
    for path in [path.as_str(), &page, "/api/v1/operations"] {
        let answer = narrow.get(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.text.contains("27498"), "{path}: {}", answer.text);
    }
}

#[actix_web::test]
async fn the_api_pauses_and_resumes_a_queue() {
    let site = Site::seeded().await;

    for (path, changed) in [("pause", true), ("pause", false), ("resume", true)] {
        let path = format!("/api/v1/queues/mail/{path}");
        let answer = parsed(&post(&site, &path, &json!({ "reason": "a test" })).await);
        assert_eq!(answer, json!({ "changed": changed }), "{path}");
    }
}

#[actix_web::test]
async fn the_audit_is_followed_by_next_to_its_end() {
    let site = Site::seeded().await;
    site.database.execute(
        "INSERT INTO pgqueue_audit (jobs, actor, action, details) SELECT 1, 'zoe', 'cancel', '{}' FROM generate_series(1, 120)",
    );
    let mut path = "/api/v1/audit?actor=zoe".to_owned();
    let mut seen = Vec::new();

    loop {
        let page = parsed(&site.get(&path).await);
        let entries = page["entries"].as_array().unwrap();
        seen.extend(entries.iter().map(|entry| entry["id"].as_i64().unwrap()));
        match page["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }

    assert_eq!(seen.len(), 120);
    assert!(seen.is_sorted_by(|newer, older| newer > older));
}

#[actix_web::test]
async fn the_api_finds_jobs_page_by_page_and_requeues_a_cause_as_an_operation() {
    let site = Site::seeded().await;
    let dead = site
        .database
        .number("SELECT count(*) FROM pgqueue_jobs WHERE state = 'dead'");

    let (mut seen, mut next) = (0, String::new());
    loop {
        let page = parsed(
            &site
                .get(&format!("/api/v1/jobs?q=state:dead&size=50{next}"))
                .await,
        );
        seen += i64::try_from(page["jobs"].as_array().unwrap().len()).unwrap();
        let Some(older) = page["older"].as_str() else {
            break;
        };
        next = format!("&cursor={older}");
    }
    assert_eq!(seen, dead);

    let causes = parsed(&site.get("/api/v1/causes").await);
    let cause = causes["causes"][0]["cause"].as_str().unwrap();
    let body = json!({ "filter": format!("state:dead cause:{cause}"), "reason": "it is back" });
    let started = parsed(&post(&site, "/api/v1/operations/requeue", &body).await);
    let path = format!("/api/v1/operations/{}", started["id"]);
    wait_until("the operation is finished", async || {
        parsed(&site.get(&path).await)["state"] == "finished"
    })
    .await;
    let left =
        format!("SELECT count(*) FROM pgqueue_jobs WHERE state = 'dead' AND cause = {cause}");
    assert_eq!(site.database.number(&left), 0);

    let everything = post(&site, "/api/v1/operations/purge", &json!({ "filter": "" })).await;
    assert_eq!(everything.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        site.get("/api/v1/jobs?cursor=nonsense").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        site.get("/api/v1/jobs/999999999").await.status,
        StatusCode::NOT_FOUND
    );
}
