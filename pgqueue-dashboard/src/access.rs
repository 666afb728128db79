//! Who may do what. Every request passes one policy before anything else, and every route names the permission it needs.

use std::fmt;
use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use bitflags::bitflags;
use futures_util::future::LocalBoxFuture;

use crate::basic::Basic;

bitflags! {
    /// What an actor may do.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Permissions: u16 {
        /// See pages, jobs without their payloads, counts and charts.
        const VIEW = 1;
        /// See payloads, metadata and outputs, and reveal redacted fields (each reveal is audited).
        const VIEW_PAYLOAD = 1 << 1;
        /// Requeue jobs and run them now.
        const REQUEUE = 1 << 2;
        /// Cancel jobs.
        const CANCEL = 1 << 3;
        /// Delete jobs.
        const PURGE = 1 << 4;
        /// Edit and clone jobs.
        const EDIT = 1 << 5;
        /// Pause and resume queues.
        const PAUSE = 1 << 6;
        /// Read the audit.
        const AUDIT = 1 << 7;
        /// See and do nothing else: [`VIEW`](Self::VIEW), [`VIEW_PAYLOAD`](Self::VIEW_PAYLOAD), [`AUDIT`](Self::AUDIT).
        const READ_ONLY = Self::VIEW.bits() | Self::VIEW_PAYLOAD.bits() | Self::AUDIT.bits();
    }
}

impl Permissions {
    /// For routes that everybody who was let in may see, a health check of nobody's too.
    pub(crate) const NOTHING: Self = Self::empty();

    /// Names the first of these permissions, as messages do.
    pub(crate) fn name(self) -> &'static str {
        self.iter_names().next().map_or("NOTHING", |(name, _)| name)
    }
}

/// An actor that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    actor: String,
    permissions: Permissions,
}

impl Access {
    /// Lets `actor` in with these permissions; the name goes into the audit.
    #[must_use]
    pub fn new(actor: impl Into<String>, permissions: Permissions) -> Self {
        Self {
            actor: actor.into(),
            permissions,
        }
    }

    /// Gives the name that the audit knows the actor by.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Gives what the actor may do.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Takes away what would change anything.
    pub(crate) fn read_only(mut self) -> Self {
        self.permissions &= Permissions::READ_ONLY;
        self
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// Nobody is signed in: 401.
    Unauthenticated,
    /// Nobody is signed in: go to this address of your application, 303.
    SignInAt(String),
    /// Somebody is, who may not see this: 403.
    Forbidden,
    /// Too many wrong passwords: 429, and try again after so many seconds.
    TooMany(u64),
    /// The check itself failed: 503. The text goes into the log, not to the visitor.
    Unavailable(String),
}

/// A check of your own: `async fn(&ServiceRequest) -> Result<Access, Denied>`.
pub trait CheckAccess: Send + Sync + 'static {
    /// Answers who this is and what he may do.
    fn check<'a>(
        &'a self,
        request: &'a ServiceRequest,
    ) -> LocalBoxFuture<'a, Result<Access, Denied>>;
}

impl<F> CheckAccess for F
where
    F: AsyncFn(&ServiceRequest) -> Result<Access, Denied> + Send + Sync + 'static,
{
    fn check<'a>(
        &'a self,
        request: &'a ServiceRequest,
    ) -> LocalBoxFuture<'a, Result<Access, Denied>> {
        Box::pin(self(request))
    }
}

/// The policy that was chosen when the dashboard was built.
#[derive(Clone)]
pub(crate) enum Policy {
    Check(Arc<dyn CheckAccess>),
    Basic(Arc<Basic>),
    Loopback,
    Open,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check(_) => "Check",
            Self::Basic(_) => "Basic",
            Self::Loopback => "Loopback",
            Self::Open => "Open",
        })
    }
}

impl Policy {
    pub(crate) async fn admit(&self, request: &ServiceRequest) -> Result<Access, Denied> {
        match self {
            Self::Check(check) => check.check(request).await,
            Self::Basic(basic) => basic.check(request).await,
            Self::Loopback if is_loopback(request) => Ok(Access::new("local", Permissions::all())),
            Self::Loopback => Err(Denied::Forbidden),
            Self::Open => Ok(Access::new("anybody", Permissions::all())),
        }
    }
}

/// Is true for a browser on this machine that asked for this machine by name: a proxy would forward anybody, and a page
/// elsewhere can make its own name resolve to 127.0.0.1.
fn is_loopback(request: &ServiceRequest) -> bool {
    let forwarded = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-real-ip",
        "via",
    ];
    let headers = request.headers();
    let here = request
        .peer_addr()
        .is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let host = headers
        .get("host")
        .and_then(|host| host.to_str().ok())
        .or_else(|| {
            request
                .uri()
                .authority()
                .map(actix_web::http::uri::Authority::as_str)
        })
        .unwrap_or("");
    here && forwarded.iter().all(|name| !headers.contains_key(*name)) && names_loopback(host)
}

fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:80",
            "[::1]:8080",
            "127.1.2.3",
        ] {
            assert!(names_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "10.0.0.1",
            "[::2]",
            "127.0.0.1.nip.io",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
    }
}
