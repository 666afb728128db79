//! The server that a worker connects to, as its errors name it: host, port, database and user, the cause, and what to look at.
//!
//! Used by [`source`](crate::source) alone. Never shows a password.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolError;
use tokio_postgres::config::Host;

use crate::error::{Error, ErrorKind, with_sources};

/// The server as an error names it: never with the password.
pub(crate) struct Server {
    name: String,
    origin: &'static str,
}

impl Server {
    /// Neither kind of pool tells the URL it was made with.
    pub(crate) fn of_pool() -> Self {
        Self {
            name: "the PostgreSQL of the connection pool (which keeps its address to itself)"
                .to_owned(),
            origin: "the URL that the pool was made with",
        }
    }

    /// Finds a malformed URL at once. The URL is not repeated: it may hold a password.
    pub(crate) fn of_url(url: &str) -> Result<Self, Error> {
        // The rest of such a password would pass for the host, and be shown as one.
        let before_options = url.split('?').next().unwrap_or_default();
        if before_options.contains("://") && before_options.matches('@').count() > 1 {
            let message = "the database URL has more than one @: write one in a user, password or database as %40";
            return Err(Error::configuration(message));
        }
        let checked: Result<tokio_postgres::Config, _> = url.parse();
        let config = checked.map_err(|cause| {
            let cause = with_sources(&cause);
            Error::configuration(format!(
                "the database URL is not one of PostgreSQL ({cause}): write postgres://user@host:port/database"
            ))
        })?;
        if config.get_hosts().is_empty() {
            let message =
                "the database URL names no host: write postgres://user@host:port/database";
            return Err(Error::configuration(message));
        }
        Ok(Self {
            name: name_of(&config),
            origin: "the database URL",
        })
    }

    /// Names it as a message begins.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells why there is no connection, and what to look at: a server that answered runs, so it is not host or port.
    pub(crate) fn unusable(&self, cause: &PoolError) -> Error {
        let Self { name, origin } = self;
        let message = match refusal(cause) {
            // So does diesel-async call its statements. A session that was given to somebody else in between does not know them.
            Some(refusal) if refusal.contains("prepared statement \"s") => {
                return self.shares_sessions().caused(refusal);
            }
            Some(refusal) => format!(
                "{name} refuses the connection: {refusal}; correct {origin}, or what this names on the server"
            ),
            None => format!(
                "cannot connect to {name}: {}; check that it runs and that {origin} is right",
                with_sources(cause)
            ),
        };
        Error::new(ErrorKind::Connection, message)
    }

    /// Tells that sessions do not stay with their connection, and what to look at.
    pub(crate) fn shares_sessions(&self) -> Error {
        let Self { name, origin } = self;
        Error::configuration(format!(
            "{name} does not leave a session to its connection, as a pooler does with pool_mode = transaction: a worker needs \
             sessions of its own, for their settings and for LISTEN; correct {origin}, so that it leads to PostgreSQL itself or \
             to a pooler with pool_mode = session"
        ))
    }
}

/// Gives the answer of a server that was reached. A pool's own set-up may report one in other ways, and passes for silent.
fn refusal(cause: &PoolError) -> Option<&str> {
    match cause {
        PoolError::ConnectionError(ConnectionError::CouldntSetupConfiguration(
            DieselError::DatabaseError(kind, info),
        )) if !matches!(kind, DatabaseErrorKind::UnableToSendCommand) => Some(info.message()),
        _ => None,
    }
}

/// Names hosts, ports, database and user, with what tokio-postgres takes if the URL does not say.
fn name_of(config: &tokio_postgres::Config) -> String {
    let ports = config.get_ports();
    let addresses = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).unwrap_or(&5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(folder) => format!("{} (port {port})", folder.display()),
        }
    });
    let mut name = format!(
        "PostgreSQL at {}",
        addresses.collect::<Vec<_>>().join(" or ")
    );
    if let Some(database) = config.get_dbname().or(config.get_user()) {
        name.push_str(&format!(", database {database:?}"));
    }
    if let Some(user) = config.get_user() {
        name.push_str(&format!(", user {user:?}"));
    }
    name
}

/// Connects as diesel-async does, which would say "error connecting to server" and keep the reason to itself.
pub(crate) async fn connected(url: String) -> ConnectionResult<AsyncPgConnection> {
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .map_err(|error| {
            let (kind, message) = match error.as_db_error() {
                Some(refusal) => (DatabaseErrorKind::Unknown, refusal.message().to_owned()),
                None => (DatabaseErrorKind::UnableToSendCommand, with_sources(&error)),
            };
            let error = DieselError::DatabaseError(kind, Box::new(message));
            ConnectionError::CouldntSetupConfiguration(error)
        })?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}
