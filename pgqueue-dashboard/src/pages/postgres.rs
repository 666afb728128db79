//! How PostgreSQL treats the queue, worst first.

use std::sync::Arc;

use actix_web::HttpResponse;
use askama::Template;
use pgqueue_core::health::{Level, Report};

use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::show;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "postgres.html")]
struct Postgres {
    frame: Frame,
    report: Arc<Report>,
    level: Level,
}

impl Postgres {
    #[expect(clippy::unused_self, reason = "called by the template")]
    fn icon(&self, level: &Level) -> &'static str {
        match level {
            Level::Good => "completed",
            Level::Warn => "warning",
            Level::Bad => "dead",
        }
    }

    fn count(&self, level: Level) -> usize {
        let findings = self.report.findings.iter();
        findings.filter(|finding| finding.level == level).count()
    }

    fn verdict(&self) -> String {
        match (self.count(Level::Bad), self.count(Level::Warn)) {
            (0, 0) => "Nothing in PostgreSQL is in the way of the queue.".to_owned(),
            (0, warnings) => format!("{warnings} to look at; nothing is in the way right now."),
            (bad, warnings) => format!("{bad} to act on, {warnings} to look at."),
        }
    }

    #[expect(clippy::unused_self, reason = "called by the template")]
    #[expect(clippy::cast_precision_loss, reason = "it is shown in three digits")]
    fn bytes(&self, bytes: &i64) -> String {
        show::bytes(*bytes as f64)
    }

    #[expect(clippy::unused_self, reason = "called by the template")]
    fn share(&self, part: &i64, whole: &i64) -> String {
        match whole {
            0 => "—".to_owned(),
            whole => format!("{} %", part.saturating_mul(100) / whole),
        }
    }
}

/// `GET /postgres`
pub(crate) async fn show(visit: Visit) -> Result<HttpResponse, Problem> {
    let operations = &visit.dashboard.inner.operations;
    let report = operations.report(visit.database()).await?;
    visit.page(&Postgres {
        frame: visit.frame(Section::Postgres, "PostgreSQL"),
        level: report.level(),
        report,
    })
}
