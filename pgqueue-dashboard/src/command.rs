//! What the binary does: serve, migrate, hash a password.

use std::io::{IsTerminal as _, Read as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use actix_web::{App, HttpServer, middleware};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use pgqueue_core::Source;
use pgqueue_dashboard::{Dashboard, PasswordHash, Permissions};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  pgqueue-dashboard serve --database-url postgres://localhost/shop
      on http://127.0.0.1:8081/, for browsers on this machine

  pgqueue-dashboard hash-password < password.txt
  PGQUEUE_DASHBOARD_USERS='alice:$argon2id$v=19$m=…' pgqueue-dashboard serve --listen 0.0.0.0:8081 --read-only
      for whoever knows alice's password; put TLS in front of it

  pgqueue-dashboard migrate --database-url postgres://localhost/shop
      creates or updates the tables";

/// The admin site of pgqueue, by itself.
#[derive(Debug, Parser)]
#[command(name = "pgqueue-dashboard", version, after_help = EXAMPLES, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the site until SIGINT or SIGTERM
    Serve(Serve),
    /// Create or update the tables of pgqueue
    Migrate(Target),
    /// Read a password from standard input and print its argon2 hash
    HashPassword,
}

#[derive(Debug, Args)]
struct Target {
    /// Database, as postgres://user:password@host:port/name
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    target: Target,
    /// Address to listen at
    #[arg(
        long,
        env = "PGQUEUE_DASHBOARD_LISTEN",
        default_value = "127.0.0.1:8081"
    )]
    listen: SocketAddr,
    /// Path to serve the site at, such as /admin/jobs
    #[arg(long, env = "PGQUEUE_DASHBOARD_BASE_PATH", default_value = "/")]
    base_path: String,
    /// Path at which browsers see it, when a proxy strips a prefix
    #[arg(long, env = "PGQUEUE_DASHBOARD_EXTERNAL_BASE")]
    external_base: Option<String>,
    /// Believe the header X-Forwarded-Prefix, which the proxy must then set or remove on every request
    #[arg(
        long,
        env = "PGQUEUE_DASHBOARD_TRUST_FORWARDED_PREFIX",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new()
    )]
    trust_forwarded_prefix: bool,
    /// Origin that forms may come from besides the own, such as `https://admin.example.com`
    #[arg(
        long = "trusted-origin",
        env = "PGQUEUE_DASHBOARD_TRUSTED_ORIGINS",
        value_delimiter = ','
    )]
    trusted_origins: Vec<String>,
    /// Change nothing, for nobody, in the database sessions too
    #[arg(
        long,
        env = "PGQUEUE_DASHBOARD_READ_ONLY",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new()
    )]
    read_only: bool,
    /// Answer /healthz and /readyz to everybody, without a password
    #[arg(
        long,
        env = "PGQUEUE_DASHBOARD_OPEN_HEALTH_CHECKS",
        action = ArgAction::SetTrue,
        value_parser = BoolishValueParser::new()
    )]
    open_health_checks: bool,
    /// Name to show on every page, such as production
    #[arg(long, env = "PGQUEUE_DASHBOARD_ENVIRONMENT")]
    environment: Option<String>,
    /// Users with argon2 hashes, as name:hash, separated by spaces; they may do everything
    #[arg(
        long,
        env = "PGQUEUE_DASHBOARD_USERS",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    users: Vec<String>,
    /// Users who may look, at payloads and the audit too, and change nothing
    #[arg(
        long,
        env = "PGQUEUE_DASHBOARD_READ_ONLY_USERS",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    read_only_users: Vec<String>,
    /// Let everybody in with all permissions; without it and without users, only browsers on this machine
    #[arg(long)]
    insecure_open_to_everybody: bool,
}

pub(crate) async fn run() -> ExitCode {
    let command = Command::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match command.verb {
        Verb::Serve(options) => serve(options).await,
        Verb::Migrate(target) => migrate(target).await,
        Verb::HashPassword => hash_password(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            report(&message);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "it is a command")]
fn report(message: &str) {
    eprintln!("pgqueue-dashboard: {message}");
}

#[expect(clippy::print_stdout, reason = "it is a command")]
fn answer(text: &str) {
    println!("{text}");
}

async fn serve(options: Serve) -> Result<(), String> {
    let listen = options.listen;
    let dashboard = dashboard(options)?;
    let base = dashboard.path().to_owned();
    let served = dashboard.clone();
    let server = HttpServer::new(move || {
        App::new()
            .wrap(middleware::Compress::default())
            .service(served.clone())
    })
    .workers(2)
    .shutdown_timeout(5)
    .bind(listen)
    .map_err(|error| {
        format!("cannot listen at {listen}: {error}; choose another address by --listen")
    })?;
    for address in server.addrs() {
        answer(&format!("http://{address}{base}/"));
    }
    server
        .run()
        .await
        .map_err(|error| format!("the server ended: {error}"))
}

fn dashboard(options: Serve) -> Result<Dashboard, String> {
    let mut builder = Dashboard::builder(options.target.database_url)
        .path(options.base_path)
        .read_only(options.read_only);
    if let Some(base) = options.external_base {
        builder = builder.external_base(base);
    }
    if options.trust_forwarded_prefix {
        builder = builder.trust_forwarded_prefix();
    }
    if let Some(name) = options.environment {
        builder = builder.environment(name);
    }
    for origin in options.trusted_origins {
        builder = builder.trusted_origin(origin);
    }
    if options.open_health_checks {
        builder = builder.open_health_checks();
    }
    let users = options.users.iter().map(|user| (user, Permissions::all()));
    let lookers = options.read_only_users.iter();
    let lookers = lookers.map(|user| (user, Permissions::READ_ONLY));
    let mut has_users = false;
    for (user, permissions) in users.chain(lookers) {
        let Some((name, hash)) = user.split_once(':') else {
            return Err(
                "a user is written as name:hash; make a hash by `pgqueue-dashboard hash-password`"
                    .to_owned(),
            );
        };
        let hash = PasswordHash::parse(hash).map_err(|error| format!("user {name:?}: {error}"))?;
        builder = builder.basic(name, hash, permissions);
        has_users = true;
    }
    if options.insecure_open_to_everybody {
        builder = builder.insecure_open_to_everybody();
    } else if !has_users {
        builder = builder.loopback_only();
        if !options.listen.ip().is_loopback() {
            tracing::warn!(
                "only browsers on this machine are let in: name users by --users to serve others"
            );
        }
    }
    builder.build().map_err(|error| error.to_string())
}

async fn migrate(target: Target) -> Result<(), String> {
    let mut conn = Source::from(target.database_url)
        .connect()
        .await
        .map_err(|error| error.to_string())?;
    pgqueue_core::migrate_async(&mut conn)
        .await
        .map_err(|error| error.to_string())?;
    answer("the tables of pgqueue are up to date");
    Ok(())
}

fn hash_password() -> Result<(), String> {
    let mut password = String::new();
    std::io::stdin()
        .read_to_string(&mut password)
        .map_err(|error| format!("cannot read the password: {error}"))?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.len() < 8 {
        return Err("the password is shorter than 8 bytes".to_owned());
    }
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| format!("cannot hash the password: {error}"))?;
    answer(&hash.to_string());
    Ok(())
}
