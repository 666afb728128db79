//! What is wrong, in one sentence, and what leads to the cause.

use std::sync::Arc;

use actix_web::HttpResponse;
use askama::Template;

use crate::frame::{Frame, Section};
use crate::live::Snapshot;
use crate::problem::Problem;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    snapshot: Arc<Snapshot>,
}

/// `GET /`
pub(crate) async fn show(visit: Visit) -> Result<HttpResponse, Problem> {
    let snapshot = visit.dashboard.inner.live.snapshot().await?;
    visit.page(&Overview {
        frame: visit.frame(Section::Overview, "Overview"),
        snapshot,
    })
}
