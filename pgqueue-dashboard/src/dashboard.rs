//! The dashboard as a service, and its builder.

use std::sync::Arc;

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::middleware::from_fn;
use actix_web::web;
use pgqueue_core::{Error, Source};
use tokio::sync::Semaphore;

use crate::access::{CheckAccess, Permissions, Policy};
use crate::assets::Assets;
use crate::basic::{Basic, PasswordHash};
use crate::database::Database;
use crate::executor::Executor;
use crate::json::Redaction;
use crate::live::Live;
use crate::operations::Operations;
use crate::suggestions::Suggestions;
use crate::{export, guard, routes};

/// Largest body of a form or of JSON, as it is sent, whatever the application around us allows.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// The admin site, to be mounted by `App::service` or inside a `web::scope`.
///
/// Cheap to clone: build it once, outside of the closure that makes the `App`, and clone it in there. Its connections (at
/// most 4, made when they are first wanted) and its thread are shared by all clones and end with the last one. It may be
/// mounted twice.
#[derive(Debug, Clone)]
pub struct Dashboard {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) path: String,
    pub(crate) policy: Policy,
    pub(crate) read_only: bool,
    pub(crate) open_health_checks: bool,
    pub(crate) external_base: Option<String>,
    pub(crate) trusts_forwarded_prefix: bool,
    pub(crate) trusted_origins: Vec<String>,
    pub(crate) environment: Option<String>,
    pub(crate) database: Database,
    pub(crate) live: Live,
    pub(crate) operations: Operations,
    pub(crate) executor: Executor,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) assets: Assets,
    pub(crate) hidden_words: Vec<String>,
    pub(crate) redaction: Redaction,
    pub(crate) suggestions: Suggestions,
}

impl Dashboard {
    /// Starts to build a dashboard on a deadpool or bb8 pool of diesel-async, or a URL. From a pool it takes the manager,
    /// with its TLS and set-up, and makes connections of its own.
    pub fn builder(source: impl Into<Source>) -> DashboardBuilder {
        DashboardBuilder {
            source: source.into(),
            path: String::new(),
            policies: Vec::new(),
            basic: Basic::new(),
            read_only: false,
            open_health_checks: false,
            external_base: None,
            trusts_forwarded_prefix: false,
            trusted_origins: Vec::new(),
            environment: None,
            hidden_words: Vec::new(),
        }
    }

    /// Gives the path that it mounts itself at, without a slash at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Lists method, path below the mount and needed permission of every route: for tests, which must miss none.
    #[must_use]
    pub fn routes() -> Vec<(&'static str, &'static str, Permissions)> {
        routes::ROUTES
            .iter()
            .map(|route| (route.method, route.path, route.needs))
            .collect()
    }

    /// Tells whether the browser is asked for a password.
    pub(crate) fn uses_passwords(&self) -> bool {
        matches!(self.inner.policy, Policy::Basic(_))
    }

    /// Ends the streams that keep pages up to date, so that a graceful shutdown of the server need not wait for them.
    /// Call it before or while the server stops; SIGINT and SIGTERM do so by themselves.
    pub fn shutdown(&self) {
        self.inner.live.shutdown();
    }
}

impl HttpServiceFactory for Dashboard {
    fn register(self, config: &mut AppService) {
        let dashboard = self.clone();
        // No scope around this one: it would answer for what the application registers after us.
        web::scope(&self.inner.path)
            .app_data(web::Data::new(self))
            .app_data(web::FormConfig::default().limit(BODY_LIMIT))
            .app_data(web::JsonConfig::default().limit(BODY_LIMIT))
            .configure(routes::configure)
            .default_service(web::to(routes::not_found))
            .wrap(from_fn(move |request, next| {
                guard::guard(dashboard.clone(), request, next)
            }))
            .register(config);
    }
}

/// Settings of a [`Dashboard`].
#[derive(Debug)]
#[must_use]
pub struct DashboardBuilder {
    source: Source,
    path: String,
    policies: Vec<Policy>,
    basic: Basic,
    read_only: bool,
    open_health_checks: bool,
    external_base: Option<String>,
    trusts_forwarded_prefix: bool,
    trusted_origins: Vec<String>,
    environment: Option<String>,
    hidden_words: Vec<String>,
}

impl DashboardBuilder {
    /// Mounts it at this path of the scope or application that it is given to; the default is that scope's own path.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Lets in whom this check lets in: `async |request: &ServiceRequest| -> Result<Access, Denied>`.
    pub fn access(mut self, check: impl CheckAccess) -> Self {
        self.policies.push(Policy::Check(Arc::new(check)));
        self
    }

    /// Lets in who knows this user's password, by HTTP basic authentication; call it again for more users. Ten wrong
    /// passwords an address and minute are answered, then none. Serve it over TLS: the password goes with each request.
    pub fn basic(
        mut self,
        user: impl Into<String>,
        password: PasswordHash,
        permissions: Permissions,
    ) -> Self {
        self.basic.add(user.into(), password, permissions);
        self
    }

    /// Lets in only browsers on this machine that address it as `localhost` or a loopback address. A request that came
    /// through a proxy is refused.
    pub fn loopback_only(mut self) -> Self {
        self.policies.push(Policy::Loopback);
        self
    }

    /// Lets everybody in, with all permissions: for use behind a middleware of your own that has checked already.
    pub fn insecure_open_to_everybody(mut self) -> Self {
        self.policies.push(Policy::Open);
        self
    }

    /// Takes every permission to change something from everybody, and makes the dashboard's database sessions read-only.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Answers `/healthz` and `/readyz` to everybody; they tell "ok" or "unavailable" and nothing else.
    pub fn open_health_checks(mut self) -> Self {
        self.open_health_checks = true;
        self
    }

    /// Says at which path browsers see it, when a proxy strips a prefix: `/tools/jobs`.
    pub fn external_base(mut self, base: impl Into<String>) -> Self {
        self.external_base = Some(base.into());
        self
    }

    /// Believes the header `X-Forwarded-Prefix`: each request says itself which prefix the proxy has stripped, and links
    /// begin with that and the path of the mount. Only for a proxy that sets or removes the header on every request. An
    /// [`external_base`](Self::external_base) goes before it.
    pub fn trust_forwarded_prefix(mut self) -> Self {
        self.trusts_forwarded_prefix = true;
        self
    }

    /// Accepts forms from pages of this origin, such as `https://admin.example.com`: for a proxy that rewrites `Host`.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted_origins.push(origin.into());
        self
    }

    /// Shows this name on every page, such as `production`.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// Hides the values of JSON whose names contain one of these words, besides
    /// [`SECRET_WORDS`](pgqueue_core::admin::SECRET_WORDS), in any case and with or without `-` and `_`. Who may see
    /// payloads can reveal them, one job at a time, which the audit then tells.
    pub fn redact<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.hidden_words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Builds the dashboard. Nothing is sent to the database yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](pgqueue_core::ErrorKind::Configuration) when nobody said who may see it, when two
    /// ways to let people in were chosen, and for a path, base or origin that cannot be one.
    pub fn build(mut self) -> Result<Dashboard, Error> {
        if !self.basic.is_empty() {
            self.policies.push(Policy::Basic(Arc::new(self.basic)));
        }
        let policy = self.policies.pop().ok_or_else(|| {
            Error::configuration(
                "nobody said who may see the dashboard: choose `access`, `basic`, `loopback_only` or `insecure_open_to_everybody`",
            )
        })?;
        if !self.policies.is_empty() {
            return Err(Error::configuration(
                "more than one way says who may see the dashboard: choose one of `access`, `basic`, `loopback_only` and `insecure_open_to_everybody`",
            ));
        }
        let path = checked_path("path", &self.path)?;
        let external_base = self
            .external_base
            .map(|base| checked_path("external base", &base))
            .transpose()?;
        for origin in &self.trusted_origins {
            check_origin(origin)?;
        }
        let database = Database::new(self.source, self.read_only).map_err(|cause| {
            Error::configuration(format!("cannot start the dashboard's thread: {cause}"))
        })?;
        Ok(Dashboard {
            inner: Arc::new(Inner {
                path,
                policy,
                read_only: self.read_only,
                open_health_checks: self.open_health_checks,
                external_base,
                trusts_forwarded_prefix: self.trusts_forwarded_prefix,
                trusted_origins: self.trusted_origins,
                environment: self.environment,
                live: Live::new(database.clone()),
                operations: Operations::new(),
                executor: Executor::start(&database, self.read_only),
                exports: export::slots(),
                database,
                assets: Assets::new(),
                redaction: Redaction::new(&self.hidden_words),
                hidden_words: self.hidden_words,
                suggestions: Suggestions::new(),
            }),
        })
    }
}

/// Takes a path that begins with one slash and ends with none; empty is the root.
fn checked_path(what: &str, path: &str) -> Result<String, Error> {
    let path = path.trim_end_matches('/');
    if is_path(path) {
        Ok(path.to_owned())
    } else {
        Err(Error::configuration(format!(
            "the dashboard's {what} {path:?} is not a path: write it as /admin/jobs, of letters, digits, '-', '_', '.' and '~'"
        )))
    }
}

/// Is true for what links may begin with: a browser takes nothing of it for a host, and no proxy changes it.
pub(crate) fn is_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let good =
        path.is_empty() || path.starts_with('/') && !path.contains("//") && path.bytes().all(plain);
    good && !path.split('/').any(|part| part == "." || part == "..")
}

fn check_origin(origin: &str) -> Result<(), Error> {
    let host = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .unwrap_or("");
    if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
        return Err(Error::configuration(format!(
            "the trusted origin {origin:?} is not one: write https://host or https://host:port"
        )));
    }
    Ok(())
}
