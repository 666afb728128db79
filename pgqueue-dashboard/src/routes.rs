//! The table of routes: method, path, the permission it takes, and who answers. Tests walk the same table.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpMessage as _, HttpResponse, web};

use crate::access::Permissions;
use crate::problem::Problem;
use crate::visit::Visit;
use crate::{api, assets, checks, export, live, pages};

/// One route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// `get` or `post`.
    pub(crate) method: &'static str,
    /// Its path below the mount, with `{parameters}`.
    pub(crate) path: &'static str,
    /// What the actor must be allowed.
    pub(crate) needs: Permissions,
}

macro_rules! routes {
    ($($method:ident $path:literal $needs:ident $handler:path;)*) => {
        /// Every route of the site.
        pub(crate) const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            needs: Permissions::$needs,
        },)*];

        pub(crate) fn configure(config: &mut web::ServiceConfig) {
            $(config.route(
                $path,
                web::$method().to($handler).wrap(from_fn(|request, next| {
                    permit(Permissions::$needs, request, next)
                })),
            );)*
        }
    };
}

routes! {
    get "" VIEW pages::overview::show;
    get "/" VIEW pages::overview::show;
    get "/workers" VIEW pages::workers::index;
    get "/workers/{id}" VIEW pages::workers::show;
    get "/postgres" VIEW pages::postgres::show;
    get "/audit" AUDIT pages::audit::show;
    get "/metrics" VIEW checks::metrics;
    get "/healthz" NOTHING checks::healthz;
    get "/readyz" NOTHING checks::readyz;
    get "/api/v1/openapi.json" VIEW api::openapi::document;
    get "/api/v1/queues" VIEW api::read::queues;
    get "/api/v1/kinds" VIEW api::read::kinds;
    get "/api/v1/workers" VIEW api::read::workers;
    get "/api/v1/workers/{id}" VIEW api::read::one_worker;
    get "/api/v1/audit" AUDIT api::read::audit;
    get "/api/v1/postgres" VIEW api::read::postgres;
    get "/api/v1/jobs" VIEW api::lists::jobs;
    get "/api/v1/jobs/{id}" VIEW api::job::show;
    post "/api/v1/jobs/{id}/reveal" VIEW_PAYLOAD api::job::reveal;
    post "/api/v1/jobs/{id}/edit" EDIT api::job::edit;
    post "/api/v1/jobs/{id}/clone" EDIT api::job::clone;
    get "/api/v1/overview" VIEW api::overview::show;
    get "/api/v1/timeline" VIEW api::overview::timeline;
    get "/api/v1/causes" VIEW api::lists::causes;
    get "/api/v1/causes/{cause}" VIEW api::lists::one_cause;
    get "/api/v1/operations" VIEW api::operations::list;
    get "/api/v1/operations/preview" VIEW api::operations::preview;
    get "/api/v1/operations/{id}" VIEW api::operations::show;
    post "/api/v1/operations/requeue" REQUEUE api::operations::requeue;
    post "/api/v1/operations/run-now" REQUEUE api::operations::run_now;
    post "/api/v1/operations/cancel" CANCEL api::operations::cancel;
    post "/api/v1/operations/purge" PURGE api::operations::purge;
    post "/api/v1/operations/{id}/pause" REQUEUE api::operations::pause;
    post "/api/v1/operations/{id}/resume" REQUEUE api::operations::resume;
    post "/api/v1/operations/{id}/stop" REQUEUE api::operations::stop;
    post "/api/v1/operations/{id}/undo" REQUEUE api::operations::undo;
    post "/api/v1/jobs/requeue" REQUEUE api::act::requeue;
    post "/api/v1/jobs/run-now" REQUEUE api::act::run_now;
    post "/api/v1/jobs/cancel" CANCEL api::act::cancel;
    post "/api/v1/jobs/purge" PURGE api::act::purge;
    post "/api/v1/queues/{queue}/pause" PAUSE api::act::pause;
    post "/api/v1/queues/{queue}/resume" PAUSE api::act::resume;
    get "/jobs" VIEW pages::jobs::show;
    post "/jobs/selected/requeue" REQUEUE pages::job_actions::requeue_selected;
    post "/jobs/selected/run-now" REQUEUE pages::job_actions::run_selected;
    post "/jobs/selected/cancel" CANCEL pages::job_actions::cancel_selected;
    post "/jobs/selected/purge" PURGE pages::job_actions::purge_selected;
    get "/jobs/{id}" VIEW pages::job::show;
    get "/jobs/{id}/payload.json" VIEW_PAYLOAD pages::job::download;
    post "/jobs/{id}/reveal" VIEW_PAYLOAD pages::job::reveal;
    post "/jobs/{id}/requeue" REQUEUE pages::job_actions::requeue;
    post "/jobs/{id}/run-now" REQUEUE pages::job_actions::run_now;
    post "/jobs/{id}/cancel" CANCEL pages::job_actions::cancel;
    get "/jobs/{id}/purge" PURGE pages::job_actions::ask_purge;
    post "/jobs/{id}/purge" PURGE pages::job_actions::purge;
    post "/jobs/{id}/clone" EDIT pages::job_actions::clone;
    get "/jobs/{id}/edit" EDIT pages::job_edit::show;
    post "/jobs/{id}/edit/reveal" VIEW_PAYLOAD pages::job_edit::reveal;
    post "/jobs/{id}/edit" EDIT pages::job_edit::save;
    get "/queues" VIEW pages::queues::list;
    get "/queues/{queue:.+}" VIEW pages::queues::moved;
    get "/queue" VIEW pages::queues::show;
    post "/queue/pause" PAUSE pages::queues::pause;
    post "/queue/resume" PAUSE pages::queues::resume;
    get "/kinds" VIEW pages::kinds::list;
    get "/kinds/{kind:.+}" VIEW pages::kinds::moved;
    get "/kind" VIEW pages::kinds::show;
    get "/dead" VIEW pages::dead::inbox;
    get "/dead/{cause}" VIEW pages::dead::cause;
    get "/bulk" VIEW pages::operations::index;
    get "/bulk/preview" VIEW pages::bulk::preview;
    post "/bulk/requeue" REQUEUE pages::bulk::requeue;
    post "/bulk/run_now" REQUEUE pages::bulk::run_now;
    post "/bulk/cancel" CANCEL pages::bulk::cancel;
    post "/bulk/purge" PURGE pages::bulk::purge;
    get "/bulk/{id}" VIEW pages::operations::show;
    post "/bulk/{id}/pause" REQUEUE pages::operations::pause;
    post "/bulk/{id}/resume" REQUEUE pages::operations::resume;
    post "/bulk/{id}/stop" REQUEUE pages::operations::stop;
    post "/bulk/{id}/undo" REQUEUE pages::operations::undo;
    get "/export.csv" VIEW export::csv;
    get "/export.ndjson" VIEW export::ndjson;
    get "/settings" VIEW pages::settings::show;
    post "/settings" VIEW pages::settings::save;
    post "/settings/columns" VIEW pages::settings::save_columns;
    get "/events" VIEW live::events;
    get "/assets/{version}/{name}" VIEW assets::file;
}

/// Lets a request through if its actor has the permission.
async fn permit<B: MessageBody + 'static>(
    needs: Permissions,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let allowed = request
        .extensions()
        .get::<Visit>()
        .is_some_and(|visit| visit.may(needs));
    if !allowed {
        let detail = format!(
            "this takes the permission {}, which you do not have",
            needs.name()
        );
        let advice = "ask who runs the dashboard; a read-only dashboard gives it to nobody";
        // As an answer, not as an error: errors of middleware pass by the guard, and would get neither page nor headers.
        let (request, _) = request.into_parts();
        let problem = Problem::forbidden(detail, advice);
        return Ok(ServiceResponse::from_err(problem, request));
    }
    // What everybody may ask for who may look changes nothing that others see.
    let changes = request.method() == Method::POST && !Permissions::READ_ONLY.contains(needs);
    let visit = request.extensions().get::<Visit>().cloned();
    let response = next.call(request).await?.map_into_boxed_body();
    if let Some(visit) = visit.filter(|_| changes && !response.status().is_client_error()) {
        visit.dashboard.inner.live.forget();
    }
    Ok(response)
}

pub(crate) async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found(
        "there is no such page",
        "go to the overview, or use the search",
    ))
}
