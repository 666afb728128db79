//! The table of routes: method, path, the permission it takes, and who answers. Tests walk the same table.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpMessage as _, HttpResponse, web};

use crate::access::Permissions;
use crate::problem::Problem;
use crate::visit::Visit;
use crate::{assets, live, pages};

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
    get "/queues" VIEW pages::queues::list;
    get "/queues/{queue:.+}" VIEW pages::queues::moved;
    get "/queue" VIEW pages::queues::show;
    post "/queue/pause" PAUSE pages::queues::pause;
    post "/queue/resume" PAUSE pages::queues::resume;
    get "/kinds" VIEW pages::kinds::list;
    get "/kinds/{kind:.+}" VIEW pages::kinds::moved;
    get "/kind" VIEW pages::kinds::show;
    get "/settings" VIEW pages::settings::show;
    post "/settings" VIEW pages::settings::save;
    get "/events" VIEW live::events;
    get "/assets/{version}/{name}" VIEW assets::file;
}

/// Lets a request through if its actor has the permission.
async fn permit<B: MessageBody + 'static>(
    needs: Permissions,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
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
        return Err(Problem::forbidden(detail, advice).into());
    }
    next.call(request).await
}

pub(crate) async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found(
        "there is no such page",
        "go to the overview, or use the search",
    ))
}
