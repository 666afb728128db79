//! What every request passes, outermost: who is it, may a page of elsewhere send this, and the headers of every answer,
//! those of errors included. It turns problems into pages, or into JSON where a program asked.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpResponse};

use crate::access::{Access, Denied, Permissions};
use crate::dashboard::{Dashboard, is_path};
use crate::origin;
use crate::pages::error::error_page;
use crate::problem::Problem;
use crate::visit::{Visit, request_id};

/// Longest path with query.
const LONGEST_URI: usize = 8 * 1024;

const HEADERS: [(&str, &str); 9] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-robots-tag", "noindex, nofollow"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    ("x-accel-buffering", "no"),
];

pub(crate) async fn guard(
    dashboard: Dashboard,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = request_id();
    let wants_json = wants_json(&request);
    let (base, admitted) = match base(&dashboard, &request) {
        Ok(base) => {
            let admitted = admit(&dashboard, &request, &base).await;
            (base, admitted)
        }
        Err(problem) => (mount_base(&request), Err(problem)),
    };
    let mut response = match admitted {
        Err(problem) => {
            let access = Access::new("", Permissions::empty());
            let visit = Visit::new(&dashboard, &request, &base, access, &id);
            request.into_response(tell(&visit, &problem, wants_json))
        }
        Ok(access) => {
            let visit = Visit::new(&dashboard, &request, &base, access, &id);
            request.extensions_mut().insert(visit.clone());
            let method = request.method().clone();
            let response = next.call(request).await?.map_into_boxed_body();
            if !matches!(method, Method::GET | Method::HEAD) {
                log_deed(&visit, &response);
            }
            match response
                .response()
                .error()
                .and_then(|error| error.as_error::<Problem>())
                .cloned()
            {
                Some(problem) => {
                    let told = tell(&visit, &problem, wants_json);
                    let (request, _) = response.into_parts();
                    ServiceResponse::new(request, told)
                }
                None => mend(response, &visit, wants_json),
            }
        }
    };
    add_headers(response.headers_mut(), &id);
    Ok(response)
}

/// Tells the log who asked for what from where, and whether it was done; what came of it is in the audit.
fn log_deed(visit: &Visit, response: &ServiceResponse<BoxBody>) {
    let status = response.status();
    let outcome = if status.is_client_error() {
        "refused"
    } else if status.is_server_error() {
        "failed"
    } else {
        "done"
    };
    tracing::info!(
        actor = visit.access.actor(),
        address = visit.address.as_deref().unwrap_or("unknown"),
        path = visit.here,
        status = status.as_u16(),
        outcome,
        request.id = visit.request_id,
        "an operator asked the dashboard to act"
    );
}

/// Gives a page to refusals of actix itself, such as a form that is too long.
fn mend(
    response: ServiceResponse<BoxBody>,
    visit: &Visit,
    wants_json: bool,
) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else {
        return response;
    };
    let status = response.status();
    let problem = if status.is_client_error() {
        Problem::new(
            status,
            "That cannot be understood",
            error.to_string(),
            "go back, and try it another way",
        )
    } else {
        Problem::internal(&error.to_string())
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, tell(visit, &problem, wants_json))
}

async fn admit(
    dashboard: &Dashboard,
    request: &ServiceRequest,
    base: &str,
) -> Result<Access, Problem> {
    let inner = &dashboard.inner;
    if request
        .uri()
        .path_and_query()
        .is_some_and(|uri| uri.as_str().len() > LONGEST_URI)
    {
        let detail = "the address is longer than 8 KiB";
        return Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            "Too long",
            detail,
            "shorten the filter",
        ));
    }
    if request.query_string().contains("%00") {
        let detail = "the address has a NUL character, which nothing in PostgreSQL has";
        return Err(Problem::invalid(detail, "remove %00 from it"));
    }
    let path = mount(request).1;
    if inner.open_health_checks && matches!(path, "/healthz" | "/readyz") {
        return Ok(Access::new("health check", Permissions::empty()));
    }
    let access = inner.policy.admit(request).await.map_err(denied)?;
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let host = request.connection_info().host().to_owned();
    let script_allowed =
        path.starts_with("/api/") && request.headers().contains_key(header::AUTHORIZATION);
    if !safe
        && !origin::is_ours(
            request.headers(),
            &host,
            &inner.trusted_origins,
            script_allowed,
        )
    {
        let said = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("nothing")
                .to_owned()
        };
        let advice = if path.starts_with("/api/") {
            "a program sends `Authorization`, or `Origin` with this server's own address"
        } else {
            "if a proxy rewrites Host, name the address that browsers see by `trusted_origin`"
        };
        return Err(Problem::forbidden(
            format!(
                "this was not sent by a page of this dashboard: its Origin is {}, Sec-Fetch-Site {}, and the server is {host}{base}",
                said("origin"),
                said("sec-fetch-site"),
            ),
            advice,
        ));
    }
    Ok(if inner.read_only {
        access.read_only()
    } else {
        access
    })
}

fn denied(denied: Denied) -> Problem {
    match denied {
        Denied::Unauthenticated => Problem::new(
            StatusCode::UNAUTHORIZED,
            "Who are you?",
            "nobody is signed in, or the password is wrong",
            "sign in",
        ),
        Denied::SignInAt(address) => {
            Problem::new(StatusCode::SEE_OTHER, "Sign in", address, "sign in")
        }
        Denied::Forbidden => Problem::forbidden(
            "this dashboard is not open to you",
            "ask who runs it; with `loopback_only` it answers only browsers on its own machine, not through a proxy",
        ),
        Denied::TooMany(seconds) => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong passwords",
            format!("this address has guessed too often; it may try again in {seconds} s"),
            "wait, and check the password",
        )
        .after(seconds),
        Denied::Unavailable(cause) => {
            tracing::error!(cause, "the dashboard's access check failed");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Cannot tell who you are",
                "the access check failed",
                "try again in a moment; the log has the cause",
            )
        }
    }
}

fn tell(visit: &Visit, problem: &Problem, wants_json: bool) -> HttpResponse {
    let mut response = HttpResponse::build(problem.status);
    if let Some(seconds) = problem.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    if problem.status == StatusCode::UNAUTHORIZED && visit.dashboard.uses_passwords() {
        response.insert_header((
            header::WWW_AUTHENTICATE,
            "Basic realm=\"pgqueue\", charset=\"UTF-8\"",
        ));
    }
    if problem.status == StatusCode::SEE_OTHER {
        return response
            .insert_header((header::LOCATION, problem.detail.as_str()))
            .finish();
    }
    if wants_json {
        return response
            .content_type("application/problem+json")
            .body(problem.as_json(&visit.request_id).to_string());
    }
    error_page(visit, problem, response)
}

/// Gives the path at which the browser sees the dashboard: of this mount, of which there may be several.
fn base(dashboard: &Dashboard, request: &ServiceRequest) -> Result<String, Problem> {
    let inner = &dashboard.inner;
    if let Some(base) = &inner.external_base {
        return Ok(base.clone());
    }
    let mount = mount_base(request);
    match request.headers().get("x-forwarded-prefix") {
        Some(prefix) if inner.trusts_forwarded_prefix => {
            let prefix = prefix.to_str().unwrap_or("?").trim_end_matches('/');
            if is_path(prefix) {
                Ok(format!("{prefix}{mount}"))
            } else {
                Err(Problem::bad_request(
                    format!("the X-Forwarded-Prefix {prefix:?} is not a path"),
                    "have the proxy set it to the one prefix that it strips, such as /tools",
                ))
            }
        }
        _ => Ok(mount),
    }
}

fn mount_base(request: &ServiceRequest) -> String {
    mount(request).0.trim_end_matches('/').to_owned()
}

/// Splits the path of a request behind the mount. Of the decoded path: what the mount left over of it is decoded, too, and
/// shorter than what was sent.
pub(crate) fn mount(request: &ServiceRequest) -> (&str, &str) {
    let path = request.match_info().as_str();
    let below = request.match_info().unprocessed();
    path.split_at(path.len().saturating_sub(below.len()))
}

fn wants_json(request: &ServiceRequest) -> bool {
    let path = mount(request).1;
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    path.starts_with("/api/")
        || accept.is_some_and(|accept| accept.contains("json") && !accept.contains("text/html"))
}

fn add_headers(headers: &mut HeaderMap, id: &str) {
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}
