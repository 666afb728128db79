//! The description of the API, made from the table of routes and the words here; tests hold both together.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use crate::problem::Problem;
use crate::routes::{ROUTES, Route};
use crate::visit::Visit;

const SCHEMAS: &str = include_str!("schemas.json");

/// What the table of routes does not say: method, path, words, schema of the body, schema of the answer.
type Words = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const WORDS: [Words; 33] = [
    (
        "get",
        "/api/v1/overview",
        "Whether anything is wrong, in a sentence and its facts; counts by state; the jobs that wait for the longest",
        "",
        "Overview",
    ),
    (
        "get",
        "/api/v1/timeline",
        "What ran and how long it took and waited, step by step",
        "",
        "Timeline",
    ),
    (
        "post",
        "/api/v1/jobs/{id}/reveal",
        "The same with what is hidden, which the audit then tells",
        "Reason",
        "OneJob",
    ),
    (
        "post",
        "/api/v1/jobs/{id}/edit",
        "Changes a pending or dead job that is still the version that was shown",
        "Edit",
        "OneJob",
    ),
    (
        "post",
        "/api/v1/jobs/{id}/clone",
        "Enqueues a copy without the unique key",
        "Reason",
        "Cloned",
    ),
    (
        "get",
        "/api/v1/causes/{cause}",
        "One cause of death: its whole message, and its newest jobs",
        "",
        "OneCause",
    ),
    (
        "get",
        "/api/v1/operations/preview",
        "What an action on all that match would do",
        "",
        "Preview",
    ),
    (
        "post",
        "/api/v1/operations/{id}/pause",
        "Has a running operation rest; takes what its action takes, too",
        "",
        "Operation",
    ),
    (
        "post",
        "/api/v1/operations/{id}/resume",
        "Has a paused or failed operation go on; takes what its action takes, too",
        "",
        "Operation",
    ),
    (
        "post",
        "/api/v1/operations/{id}/stop",
        "Ends an operation for good: what is done stays done; takes what its action takes, too",
        "",
        "Operation",
    ),
    (
        "post",
        "/api/v1/operations/{id}/undo",
        "Takes back a purge or requeue within a day, as far as possible; takes what its action takes, too",
        "",
        "Operation",
    ),
    (
        "get",
        "/api/v1/jobs",
        "Jobs that match a filter `q`, as the site's search takes it",
        "",
        "Jobs",
    ),
    (
        "get",
        "/api/v1/jobs/{id}",
        "One job, and why it stands as it does",
        "",
        "OneJob",
    ),
    ("get", "/api/v1/causes", "What jobs die of", "", "Causes"),
    (
        "get",
        "/api/v1/operations",
        "Bulk operations, newest first",
        "",
        "Operations",
    ),
    (
        "get",
        "/api/v1/operations/{id}",
        "One bulk operation and how far it is",
        "",
        "Operation",
    ),
    (
        "post",
        "/api/v1/operations/requeue",
        "Requeues all that match, as a durable operation",
        "BulkOrder",
        "Started",
    ),
    (
        "post",
        "/api/v1/operations/run-now",
        "Makes all that match due now, as a durable operation",
        "BulkOrder",
        "Started",
    ),
    (
        "post",
        "/api/v1/operations/cancel",
        "Cancels all that match, as a durable operation",
        "BulkOrder",
        "Started",
    ),
    (
        "post",
        "/api/v1/operations/purge",
        "Purges all that match, as a durable operation",
        "BulkOrder",
        "Started",
    ),
    (
        "get",
        "/api/v1/queues",
        "Queues with their counts by state",
        "",
        "Queues",
    ),
    (
        "get",
        "/api/v1/kinds",
        "What each kind did within the last hours",
        "",
        "Kinds",
    ),
    (
        "get",
        "/api/v1/workers",
        "Registered workers",
        "",
        "Workers",
    ),
    (
        "get",
        "/api/v1/workers/{id}",
        "One worker and what it runs",
        "",
        "OneWorker",
    ),
    (
        "get",
        "/api/v1/audit",
        "Who did what, newest first",
        "",
        "Audit",
    ),
    (
        "get",
        "/api/v1/postgres",
        "How PostgreSQL treats the queue",
        "",
        "Postgres",
    ),
    ("get", "/api/v1/openapi.json", "This document", "", ""),
    (
        "post",
        "/api/v1/jobs/requeue",
        "Put jobs back to pending",
        "Order",
        "Done",
    ),
    (
        "post",
        "/api/v1/jobs/run-now",
        "Make scheduled jobs due now",
        "Order",
        "Done",
    ),
    (
        "post",
        "/api/v1/jobs/cancel",
        "Cancel jobs",
        "Order",
        "Done",
    ),
    (
        "post",
        "/api/v1/jobs/purge",
        "Delete jobs for ever",
        "Order",
        "Done",
    ),
    (
        "post",
        "/api/v1/queues/{queue}/pause",
        "Pause a queue",
        "Reason",
        "Changed",
    ),
    (
        "post",
        "/api/v1/queues/{queue}/resume",
        "Resume a queue",
        "Reason",
        "Changed",
    ),
];

/// Parameters of the query: path, name, type, words.
const QUERIES: [(&str, &str, &str, &str); 15] = [
    (
        "/api/v1/overview",
        "exact",
        "string",
        "A state to count to the end: a number up to a minute old",
    ),
    (
        "/api/v1/timeline",
        "span",
        "string",
        "15m, 1h, 6h, 24h, 7d or 30d; 1h if it is not said",
    ),
    ("/api/v1/timeline", "queue", "string", "Only this queue"),
    ("/api/v1/timeline", "kind", "string", "Only this kind"),
    (
        "/api/v1/jobs",
        "q",
        "string",
        "A filter, such as state:dead queue:mail; all jobs if it is not said",
    ),
    (
        "/api/v1/jobs",
        "size",
        "integer",
        "Jobs a page, 1 to 1000; 50 if it is not said",
    ),
    (
        "/api/v1/jobs",
        "cursor",
        "string",
        "Where the page begins: older or newer of another page",
    ),
    (
        "/api/v1/operations",
        "before",
        "integer",
        "Only operations older than this one; before of another page",
    ),
    (
        "/api/v1/operations/preview",
        "action",
        "string",
        "requeue, run_now, cancel or purge",
    ),
    (
        "/api/v1/operations/preview",
        "filter",
        "string",
        "A filter, as of the jobs",
    ),
    (
        "/api/v1/kinds",
        "hours",
        "integer",
        "How many hours back, 1 to 720; 1 if it is not said",
    ),
    (
        "/api/v1/audit",
        "actor",
        "string",
        "Only what this actor did",
    ),
    ("/api/v1/audit", "action", "string", "Only this action"),
    (
        "/api/v1/audit",
        "job",
        "integer",
        "Only what was done to this job by itself",
    ),
    (
        "/api/v1/audit",
        "before",
        "integer",
        "Only entries older than this one; `next` has it",
    ),
];

/// `GET /api/v1/openapi.json`
pub(crate) async fn document(visit: Visit) -> Result<HttpResponse, Problem> {
    let schemas: Value = serde_json::from_str(SCHEMAS)
        .map_err(|error| Problem::internal(&format!("schemas.json: {error}")))?;
    let mut paths = Map::new();
    for route in ROUTES {
        let words = WORDS
            .iter()
            .find(|(method, path, ..)| (*method, *path) == (route.method, route.path));
        if let Some(words) = words {
            let path = paths.entry(route.path).or_insert_with(|| json!({}));
            path[route.method] = operation(route, words);
        }
    }
    Ok(HttpResponse::Ok().json(json!({
        "openapi": "3.1.0",
        "info": { "title": "pgqueue", "version": env!("CARGO_PKG_VERSION"), "description": "Errors are problems of RFC 9457." },
        "servers": [{ "url": if visit.base.is_empty() { "/" } else { &visit.base } }],
        "paths": paths,
        "components": { "schemas": schemas },
    })))
}

fn operation(route: &Route, (method, path, summary, body, answer): &Words) -> Value {
    let mut operation = json!({
        "operationId": format!("{method}{}", path.replace("/api/v1", "").replace(['/', '-', '.'], "_").replace(['{', '}'], "")),
        "summary": summary,
        "description": format!("Takes the permission {}.", route.needs.name()),
        "parameters": parameters(path),
        "responses": {
            "200": { "description": "Done", "content": { "application/json": { "schema": schema(answer) } } },
            "default": { "description": "A problem", "content": { "application/problem+json": { "schema": schema("Problem") } } },
        },
    });
    if !body.is_empty() {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema(body) } } });
    }
    operation
}

fn schema(name: &str) -> Value {
    if name.is_empty() {
        json!({ "type": "object" })
    } else {
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

fn parameters(path: &str) -> Vec<Value> {
    let in_path = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        let kind = if name == "id" { "integer" } else { "string" };
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
    });
    let in_query = QUERIES.iter().filter(|(of, ..)| *of == path);
    let in_query = in_query.map(|(_, name, kind, words)| {
        json!({ "name": name, "in": "query", "description": words, "schema": { "type": kind } })
    });
    in_path.chain(in_query).collect()
}
