//! Who did what to which jobs, and why.

use actix_web::{HttpResponse, web};
use askama::Template;
use futures_util::FutureExt as _;
use pgqueue_core::admin::{self, AuditFilter, AuditPage};
use serde::{Deserialize, Serialize};

use crate::access::Permissions;
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::visit::Visit;

/// Entries of a page.
const PAGE: i64 = 50;
/// Longest actor or action that is looked for.
const LONGEST: usize = 256;

/// What to look for, and where to go on; empty fields are as good as none.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    job: String,
    #[serde(default)]
    before: String,
}

impl Wanted {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        let mut filter = AuditFilter::new();
        if self.actor.len() > LONGEST || self.action.len() > LONGEST {
            return Err(Problem::invalid(
                "the actor or the action is longer than 256 bytes",
                "shorten it",
            ));
        }
        if !self.actor.trim().is_empty() {
            filter = filter.actor(self.actor.trim());
        }
        if !self.action.trim().is_empty() {
            filter = filter.action(self.action.trim());
        }
        if let Some(job) = number("job", &self.job)? {
            filter = filter.job(job);
        }
        if let Some(before) = number("before", &self.before)? {
            filter = filter.before(before);
        }
        Ok(filter)
    }

    /// Gives the address of the page that begins before this entry.
    pub(crate) fn further(&self, path: &str, before: i64) -> String {
        let next = Self {
            before: before.to_string(),
            ..self.clone()
        };
        let query = serde_urlencoded::to_string(next).unwrap_or_default();
        format!("{path}?{query}")
    }

    fn is_set(&self) -> bool {
        [&self.actor, &self.action, &self.job]
            .iter()
            .any(|field| !field.trim().is_empty())
    }
}

fn number(field: &str, text: &str) -> Result<Option<i64>, Problem> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            let detail = format!("{field} is not a number");
            Problem::bad_request(detail, "write digits only, such as 42")
        }),
    }
}

/// Reads the page that is wanted.
pub(crate) async fn read(visit: &Visit, wanted: &Wanted) -> Result<AuditPage, Problem> {
    let filter = wanted.filter()?;
    let read = visit
        .database()
        .read(move |conn| async move { admin::audit_async(conn, &filter, PAGE).await }.boxed());
    let mut page = read.await?;
    if !visit.may(Permissions::VIEW_PAYLOAD) {
        // What an edit changed has parts of the payload.
        let edits = page.entries.iter_mut();
        for edit in edits.filter(|entry| entry.action.starts_with("edit")) {
            edit.details = serde_json::json!({});
        }
    }
    Ok(page)
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    page: AuditPage,
    wanted: Wanted,
    next: Option<String>,
}

/// `GET /audit`
pub(crate) async fn show(
    visit: Visit,
    wanted: web::Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted.into_inner();
    let page = read(&visit, &wanted).await?;
    visit.page(&Audit {
        frame: visit.frame(Section::Audit, "Audit"),
        next: page.next.map(|id| wanted.further("/audit", id)),
        page,
        wanted,
    })
}
