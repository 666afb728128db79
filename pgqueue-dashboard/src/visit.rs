//! One request of somebody who was let in: what handlers know of it.

use std::future::{Ready, ready};

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse};
use askama::Template;

use crate::access::{Access, Permissions};
use crate::cookies::{self, Preferences};
use crate::dashboard::Dashboard;
use crate::database::Database;
use crate::frame::{Frame, Section};
use crate::guard;
use crate::origin;
use crate::problem::Problem;
use crate::show;

/// Made by the guard, taken by handlers as an argument.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) dashboard: Dashboard,
    /// The path that every link begins with; empty at the root.
    pub(crate) base: String,
    pub(crate) access: Access,
    pub(crate) request_id: String,
    pub(crate) preferences: Preferences,
    /// Scheme and host that the browser has, as far as they are known.
    pub(crate) origin: Option<String>,
    /// Address of the client as far as it is known.
    pub(crate) address: Option<String>,
    /// Path below the base, with the query.
    pub(crate) here: String,
    notice: Option<String>,
}

impl Visit {
    pub(crate) fn new(
        dashboard: &Dashboard,
        request: &ServiceRequest,
        base: &str,
        access: Access,
        id: &str,
    ) -> Self {
        let (mount, decoded) = guard::mount(request);
        let below = request.path().strip_prefix(mount).unwrap_or(decoded);
        // Two slashes in front would make a link of it lead to another host.
        let below = match below.trim_start_matches(['/', '\\']) {
            "" => below.get(..1).unwrap_or_default().to_owned(),
            rest => format!("/{rest}"),
        };
        let query = request.query_string();
        let here = if query.is_empty() {
            below
        } else {
            format!("{below}?{query}")
        };
        Self {
            dashboard: dashboard.clone(),
            base: base.to_owned(),
            access,
            request_id: id.to_owned(),
            preferences: Preferences::read(request.request()),
            origin: origin::of(request.request(), &dashboard.inner.trusted_origins),
            address: request.peer_addr().map(|peer| peer.ip().to_string()),
            here,
            notice: cookies::notice(request.request()),
        }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.dashboard.inner.database
    }

    /// Tells whether the actor may do this.
    pub(crate) fn may(&self, permission: Permissions) -> bool {
        self.access.permissions().contains(permission)
    }

    /// Gives the whole address of a path below the base; without scheme and host where those are not known.
    pub(crate) fn address(&self, path: &str) -> String {
        let origin = self.origin.as_deref().unwrap_or_default();
        format!("{origin}{}{path}", self.base)
    }

    /// Gives what a page shows around its content.
    pub(crate) fn frame(&self, section: Section, title: impl Into<String>) -> Frame {
        let inner = &self.dashboard.inner;
        Frame {
            base: self.base.clone(),
            assets: format!("{}/assets/{}", self.base, inner.assets.version()),
            section,
            title: title.into(),
            actor: self.access.actor().to_owned(),
            may: self.access.permissions(),
            read_only: inner.read_only,
            environment: inner
                .environment
                .clone()
                .filter(|_| !self.access.permissions().is_empty()),
            preferences: self.preferences.clone(),
            notice: self.notice.clone(),
            here: self.here.clone(),
            dead: self.dead(),
            now: chrono::Utc::now(),
        }
    }

    /// Tells how many jobs are dead if that is known without asking.
    fn dead(&self) -> Option<String> {
        if !self.may(Permissions::VIEW) {
            return None;
        }
        let snapshot = self.dashboard.inner.live.latest()?;
        let dead = snapshot.total(|queue| queue.dead);
        (dead.at_least > 0).then(|| show::at_least(dead))
    }

    /// Answers with a page.
    pub(crate) fn page(&self, template: &impl Template) -> Result<HttpResponse, Problem> {
        let text = template
            .render()
            .map_err(|error| Problem::internal(&format!("cannot render a page: {error}")))?;
        let mut response = HttpResponse::Ok();
        if self.notice.is_some() {
            response.cookie(cookies::without_notice(&self.base));
        }
        Ok(response.content_type("text/html; charset=utf-8").body(text))
    }

    /// Answers a form that cannot be taken as it is with the form again.
    pub(crate) fn refuse(&self, template: &impl Template) -> Result<HttpResponse, Problem> {
        let mut response = self.page(template)?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        Ok(response)
    }

    /// Answers a form with another page of the dashboard, which shows the notice once.
    pub(crate) fn go(&self, path: &str, notice: &str) -> HttpResponse {
        HttpResponse::SeeOther()
            .insert_header((header::LOCATION, format!("{}{path}", self.base)))
            .cookie(cookies::with_notice(&self.base, notice))
            .finish()
    }
}

impl FromRequest for Visit {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let visit = request.extensions().get::<Self>().cloned();
        ready(visit.ok_or_else(|| Problem::internal("a handler ran outside of the guard")))
    }
}

/// Makes a name for a request, to find it in the log.
pub(crate) fn request_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}
