//! The page of a request that failed.

use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;

use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    problem: &'a Problem,
    request_id: &'a str,
    known: bool,
}

/// Renders a problem; in plain text if even that fails.
pub(crate) fn error_page(
    visit: &Visit,
    problem: &Problem,
    mut response: HttpResponseBuilder,
) -> HttpResponse {
    let page = ErrorPage {
        frame: visit.frame(Section::None, problem.title),
        problem,
        request_id: &visit.request_id,
        known: !visit.access.permissions().is_empty(),
    };
    match page.render() {
        Ok(text) => response.content_type("text/html; charset=utf-8").body(text),
        Err(_) => response
            .content_type("text/plain; charset=utf-8")
            .body(problem.to_string()),
    }
}
