//! Talks to a server: URLs and the few statements on whole databases.
//!
//! Each call connects for itself, so nothing is held open that a restart would break. The sync `postgres` client blocks
//! on a runtime of its own and panics inside another, therefore it only ever lives on a plain thread.

use std::{panic::resume_unwind, thread};

use postgres::{Client, Config, NoTls};

use crate::Error;

/// Databases of ours that nobody uses any more. The second of creation is part of the name.
const LEFTOVERS: &str = "
SELECT d.datname
FROM pg_database AS d
WHERE to_timestamp(substring(d.datname FROM '^local_postgres_([0-9]{10})_')::bigint) < now() - interval '1 day'
    AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datname = d.datname)
ORDER BY d.datname";

/// Runs one statement in the database that the URL names.
pub(crate) fn execute(url: &str, statement: &str) -> Result<(), postgres::Error> {
    on_plain_thread(|| Client::connect(url, NoTls)?.batch_execute(statement))
}

/// Asks the server for its version: as it tells it, and the major number.
pub(crate) fn version(url: &str) -> Result<(String, u32), Error> {
    let answer = on_plain_thread(|| {
        let statement = "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000";
        let row = Client::connect(url, NoTls)?.query_one(statement, &[])?;
        Ok((row.try_get(0)?, row.try_get::<_, i32>(1)?))
    });
    let (version, major) = answer.map_err(|error: postgres::Error| {
        Error::caused("the PostgreSQL server does not answer", error)
    })?;
    Ok((version, major.unsigned_abs()))
}

/// Names the databases that processes left behind more than a day ago.
pub(crate) fn leftovers(url: &str) -> Result<Vec<String>, postgres::Error> {
    on_plain_thread(|| {
        let rows = Client::connect(url, NoTls)?.query(LEFTOVERS, &[])?;
        rows.iter().map(|row| row.try_get(0)).collect()
    })
}

/// Runs the work on a thread without an async runtime and waits for it; a panic goes on here.
pub(crate) fn on_plain_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// The TCP port in a URL. Other forms of a connection string are refused, because databases are put into its path.
pub(crate) fn port(url: &str) -> Result<u16, Error> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(Error::new(
            "not a PostgreSQL URL; write it as postgres://user:password@host:5432/database",
        ));
    }
    let config: Config = url
        .parse()
        .map_err(|error| Error::caused("cannot read the PostgreSQL URL", error))?;
    Ok(config.get_ports().first().copied().unwrap_or(5432))
}

/// The same URL with another database.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let (address, options) = url.split_at(url.find('?').unwrap_or(url.len()));
    let host = address.find("://").map_or(0, |scheme| scheme + "://".len());
    let end = address[host..]
        .find('/')
        .map_or(address.len(), |slash| host + slash);
    format!("{}/{database}{options}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::{port, with_database};

    #[test]
    fn a_url_keeps_all_but_its_database() {
        let urls = [
            "postgres://u:p@h:1/old?sslmode=prefer",
            "postgres://h",
            "postgresql://h?connect_timeout=1",
        ];

        let renamed = urls.map(|url| with_database(url, "new"));

        let expected = [
            "postgres://u:p@h:1/new?sslmode=prefer",
            "postgres://h/new",
            "postgresql://h/new?connect_timeout=1",
        ];
        assert_eq!(renamed, expected);
    }

    #[test]
    fn a_url_without_a_port_means_5432() {
        assert_eq!(port("postgres://h/name").expect("valid"), 5432);
        assert_eq!(port("postgres://h:20000/name").expect("valid"), 20000);
    }

    #[test]
    fn a_connection_string_that_is_no_url_is_refused() {
        let error = port("host=localhost user=me").expect_err("no URL");

        assert!(
            error
                .to_string()
                .contains("postgres://user:password@host:5432/database")
        );
    }
}
