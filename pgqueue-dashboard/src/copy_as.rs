//! "Copy as": what a page shows, as something to go on with elsewhere: an address, a filter, a command, SQL, Rust.

use chrono::Utc;
use pgqueue_core::JobState;
use serde_json::json;

use crate::access::Policy;
use crate::filter::{Term, Terms};
use crate::link;
use crate::pages::bulk::Verb;
use crate::visit::Visit;

/// A text to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Of its element.
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// Gives a list of jobs as each of the texts.
pub(crate) fn list(visit: &Visit, terms: &Terms) -> Vec<Copied> {
    let filter = terms.to_string();
    let query: &[(&str, &str)] = if filter.is_empty() {
        &[]
    } else {
        &[("q", &filter)]
    };
    let mut copies = vec![copied(
        "address",
        "Address",
        visit.address(&with("/jobs", query)),
    )];
    if !filter.is_empty() {
        copies.push(copied("filter", "Filter", filter.clone()));
    }
    copies.extend([
        copied("sql", "SQL", terms.sql(Utc::now())),
        copied(
            "curl",
            "curl, the list",
            curl(visit, &with("/api/v1/jobs", query)),
        ),
    ]);
    copies.extend(action(visit, verb(terms.state()), &acted_on(terms), None));
    copies
}

/// Gives a job as each of the texts.
pub(crate) fn job(visit: &Visit, id: i64, state: JobState) -> Vec<Copied> {
    let terms = Terms::from(Term::Ids(vec![id]));
    let mut copies = vec![
        copied("address", "Address", visit.address(&format!("/jobs/{id}"))),
        copied("filter", "Filter", terms.to_string()),
        copied(
            "sql",
            "SQL",
            format!("SELECT * FROM pgqueue_jobs WHERE id = {id};"),
        ),
        copied("curl", "curl", curl(visit, &format!("/api/v1/jobs/{id}"))),
    ];
    copies.extend(action(visit, verb(Some(state)), &terms, Some(id)));
    copies
}

/// An action as a command and as code: on one job, or on all of them, which may take a while.
fn action(visit: &Visit, verb: Verb, terms: &Terms, job: Option<i64>) -> [Copied; 2] {
    let (place, body, what) = match job {
        Some(id) => ("jobs", json!({ "ids": [id] }), "it"),
        None => ("operations", json!({ "filter": terms.to_string() }), "all"),
    };
    let path = format!("/api/v1/{place}/{}", verb.name().replace('_', "-"));
    let said = verb.word().to_lowercase();
    let code = terms.rust(verb.name(), visit.access.actor(), Utc::now());
    [
        copied(
            "curl-action",
            format!("curl, {said} {what}"),
            curl_post(visit, &path, &body.to_string()),
        ),
        copied("rust", format!("Rust, {said} {what}"), code),
    ]
}

fn copied(id: &'static str, title: impl Into<String>, text: String) -> Copied {
    let title = title.into();
    Copied { id, title, text }
}

/// The action that the state of the jobs leaves to be done first.
fn verb(state: Option<JobState>) -> Verb {
    match state {
        Some(JobState::Pending) => Verb::RunNow,
        Some(JobState::Running) => Verb::Cancel,
        None | Some(JobState::Completed | JobState::Cancelled | JobState::Dead) => Verb::Requeue,
    }
}

/// Says the state that a requeue means where none is named.
fn acted_on(terms: &Terms) -> Terms {
    if terms.state().is_none() && !terms.names_ids() {
        terms.in_state(Some(JobState::Dead))
    } else {
        terms.clone()
    }
}

fn with(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        path.to_owned()
    } else {
        link::with(path, query)
    }
}

fn curl(visit: &Visit, path: &str) -> String {
    format!(
        "curl {}{}",
        credentials(visit),
        quoted(&visit.address(path))
    )
}

fn curl_post(visit: &Visit, path: &str, body: &str) -> String {
    // Who sends no credentials says instead that the order is no form of another site.
    let origin = match (&visit.dashboard.inner.policy, &visit.origin) {
        (Policy::Loopback | Policy::Open, Some(origin)) => {
            format!("-H {} ", quoted(&format!("origin: {origin}")))
        }
        _ => String::new(),
    };
    format!(
        "curl {}{origin}-H 'content-type: application/json' -d {} {}",
        credentials(visit),
        quoted(body),
        quoted(&visit.address(path))
    )
}

/// What a command shows of who sends it; never a secret.
fn credentials(visit: &Visit) -> String {
    match &visit.dashboard.inner.policy {
        Policy::Basic(_) => format!("-u {} ", quoted(visit.access.actor())),
        Policy::Check(_) => "-H \"authorization: $AUTHORIZATION\" ".to_owned(),
        Policy::Loopback | Policy::Open => String::new(),
    }
}

/// Quotes a text for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
