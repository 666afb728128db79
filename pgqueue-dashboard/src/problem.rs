//! What can go wrong with a request, told so that the reader can act: as a page, or as JSON by RFC 9457.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use pgqueue_core::{Error, ErrorKind};

use crate::show;

/// Most characters of what happened: it may repeat what was sent.
const LONGEST_DETAIL: usize = 1000;

/// A request that failed.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// A few words, the same for all of its kind.
    pub(crate) title: &'static str,
    /// What happened to this request.
    pub(crate) detail: String,
    /// What to do now.
    pub(crate) advice: String,
    /// Seconds after which it may work.
    pub(crate) retry_after: Option<u64>,
    /// The field of the form that it is about, by its name.
    pub(crate) field: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        title: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (mut detail, is_cut) = show::cut(detail.into(), LONGEST_DETAIL);
        if is_cut {
            detail.push('…');
        }
        Self {
            status,
            title,
            detail,
            advice: advice.into(),
            retry_after: None,
            field: None,
        }
    }

    /// 400: the request itself is wrong.
    pub(crate) fn bad_request(detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "That cannot be understood",
            detail,
            advice,
        )
    }

    /// 403: who asks may not.
    pub(crate) fn forbidden(detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Not allowed", detail, advice)
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", detail, advice)
    }

    /// 409: it changed meanwhile.
    pub(crate) fn conflict(detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "It changed meanwhile", detail, advice)
    }

    /// 422: understood, but a value is out of its bounds.
    pub(crate) fn invalid(detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "A value is out of bounds",
            detail,
            advice,
        )
    }

    /// 503: every connection is taken.
    pub(crate) fn busy() -> Self {
        let detail = "all connections of the dashboard are busy";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Busy",
            detail,
            "try again in a few seconds",
        )
        .after(3)
    }

    /// 503: it is being shut down.
    pub(crate) fn ending() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Ending",
            "the dashboard is being shut down",
            "try again when it is back",
        )
        .after(30)
    }

    /// 503: the answer took too long.
    pub(crate) fn slow() -> Self {
        let detail = "PostgreSQL did not answer within the dashboard's time limit";
        let advice =
            "narrow the filter or the time span; the page \"PostgreSQL\" tells what slows it down";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Too slow", detail, advice).after(5)
    }

    /// 503: no connection.
    pub(crate) fn unreachable(detail: impl Into<String>) -> Self {
        let advice = "check that PostgreSQL runs and that the dashboard's URL or pool is right";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The database does not answer",
            detail,
            advice,
        )
        .after(5)
    }

    /// 500: a bug of ours.
    pub(crate) fn internal(detail: &str) -> Self {
        tracing::error!(detail, "the dashboard failed");
        let advice = "this is a bug of pgqueue-dashboard: report it with the request id; the log has the cause";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The dashboard failed",
            "an unexpected error",
            advice,
        )
    }

    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says which field of a form it is about.
    pub(crate) fn of_field(mut self, name: &'static str) -> Self {
        self.field = Some(name);
        self
    }

    /// Gives itself as a problem of RFC 9457.
    pub(crate) fn as_json(&self, request_id: &str) -> serde_json::Value {
        serde_json::json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "advice": self.advice,
            "request_id": request_id,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.title, self.detail, self.advice)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// Plain text; the guard replaces it by a page or by JSON.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::build(self.status)
            .content_type("text/plain; charset=utf-8")
            .body(self.to_string())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error.kind() {
            ErrorKind::Invalid => Self {
                field: error.invalid().map(|invalid| invalid.field),
                ..Self::invalid(detail, "change the value and send it again")
            },
            ErrorKind::Migration => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The tables of pgqueue are missing or old",
                detail,
                "run `pgqueue-dashboard migrate`, or call `pgqueue_core::migrate` in your application",
            ),
            ErrorKind::Connection => Self::unreachable(detail),
            ErrorKind::Serialization => {
                Self::conflict(detail, "look at it again, and repeat what you did")
            }
            _ if detail.contains("lock timeout") => Self::conflict(
                "another transaction holds the row locked",
                "try again in a moment; the page \"PostgreSQL\" shows who holds locks",
            ),
            _ if detail.contains("read-only transaction") => Self::forbidden(
                "this dashboard's database session is read-only",
                "use a dashboard that was not built with `read_only`",
            ),
            // Diesel hides the SQLSTATE, so this and the two above are known by what an English server says.
            _ if detail.contains("permission denied") => Self::forbidden(
                format!("the dashboard's role in the database may not do this: {detail}"),
                "grant it to the role, as docs/grants.sql does, or serve the dashboard read-only",
            ),
            _ => {
                tracing::error!(%error, "a query of the dashboard failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The database refused",
                    "PostgreSQL refused a statement of the dashboard",
                    "the log has the cause, by the request id",
                )
            }
        }
    }
}
