//! Databases on a server: by name, or one for each test from a template that was prepared once.
//!
//! Called by tests from many threads at once. What a template holds is complete before the first copy is made, and a
//! database that was handed out as a guard is known to nobody else.

use std::{
    error, fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    Error, LocalPostgres,
    process::random,
    server::locked,
    sql::{execute, leftovers, on_plain_thread},
};

/// A database that is dropped with this value, open connections to it included.
///
/// It does not keep the server alive: a private server that goes first takes the database along.
#[must_use = "the database is dropped with this value"]
pub struct Database {
    name: String,
    url: String,
    /// Names another database, because nobody can drop the one he is connected to.
    server_url: String,
}

impl Database {
    /// The URL to connect with.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name, which no other database of the server has.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Drop cannot report, and the usual failure is a server that has gone already.
        execute(&self.server_url, &drop_statement(&self.name)).ok();
    }
}

impl fmt::Debug for Database {
    /// Leaves out the URLs, which may carry a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A prepared database to copy from. Made by [`LocalPostgres::template`]; goes when the server's value goes.
#[derive(Clone, Debug)]
pub struct Template {
    label: String,
    database: Arc<Database>,
}

impl LocalPostgres {
    /// Creates an empty database. The name is at most 63 of `a-z`, `0-9` and `_`.
    ///
    /// # Errors
    /// When the name is not of that form or taken, or the user may not create databases.
    pub fn create_database(&self, name: &str) -> Result<(), Error> {
        self.create(name, "")
    }

    /// Creates a copy of a database that nobody is connected to.
    ///
    /// # Errors
    /// As [`create_database`](Self::create_database); when somebody stays connected to the template for 5 s.
    pub fn create_database_from(&self, template: &str, name: &str) -> Result<(), Error> {
        checked(template)?;
        // No STRATEGY: FILE_COPY took 7 ms where the default took 15, but forces two checkpoints on whatever else runs;
        // under load both took 20 to 100 ms. PostgreSQL 14 has no such option.
        self.create(name, &format!(" TEMPLATE \"{template}\""))
    }

    /// Drops a database and ends the connections to it; nothing when there is none of that name.
    ///
    /// # Errors
    /// When the name is not a database's, see [`create_database`](Self::create_database), or belongs to another user.
    pub fn drop_database(&self, name: &str) -> Result<(), Error> {
        execute(self.server_url(), &drop_statement(checked(name)?))
            .map_err(|error| Error::caused(format!("cannot drop database \"{name}\""), error))
    }

    /// Creates an empty database of a name that nobody else has.
    ///
    /// # Errors
    /// As [`create_database`](Self::create_database).
    pub fn database(&self) -> Result<Database, Error> {
        let name = unique_name("database");
        self.create_database(&name)?;
        Ok(self.guarded(name))
    }

    /// Copies a template into a database of a name that nobody else has.
    ///
    /// # Errors
    /// As [`create_database_from`](Self::create_database_from).
    pub fn database_from(&self, template: &Template) -> Result<Database, Error> {
        let name = unique_name(&template.label);
        self.create_database_from(template.database.name(), &name)?;
        Ok(self.guarded(name))
    }

    /// Prepares a template of this process under a label, once: the first caller's `prepare` gets the URL of an empty
    /// database, callers at the same time wait for it, later ones get the same template.
    ///
    /// `prepare` runs on a thread of its own, outside any async runtime. It must end its connections.
    ///
    /// # Errors
    /// As [`create_database`](Self::create_database), and the error of `prepare`; the next call then tries again.
    pub fn template(
        &self,
        label: &str,
        prepare: impl FnOnce(&str) -> Result<(), Box<dyn error::Error + Send + Sync>> + Send,
    ) -> Result<Template, Error> {
        let slot = Arc::clone(locked(&self.templates).entry(label.to_owned()).or_default());
        let mut slot = locked(&slot);
        if let Some(template) = &*slot {
            return Ok(template.clone());
        }
        let template = self.prepared(label, prepare)?;
        Ok(slot.insert(template).clone())
    }

    fn prepared(
        &self,
        label: &str,
        prepare: impl FnOnce(&str) -> Result<(), Box<dyn error::Error + Send + Sync>> + Send,
    ) -> Result<Template, Error> {
        let database = self.database()?;
        on_plain_thread(|| prepare(database.url())).map_err(|error| {
            Error::caused(format!("cannot prepare template \"{label}\""), error)
        })?;
        Ok(Template {
            label: checked(label)?.to_owned(),
            database: Arc::new(database),
        })
    }

    /// Drops what crashed processes left on a server that is not ours, where nothing else would.
    pub(crate) fn drop_leftovers(&self) -> Result<(), Error> {
        let names = leftovers(self.server_url()).map_err(|error| {
            Error::caused("cannot list the databases of the PostgreSQL server", error)
        })?;
        for name in names {
            // Another process may be tidying up too, or another user own it: no reason not to start.
            self.drop_database(&name).ok();
        }
        Ok(())
    }

    fn create(&self, name: &str, source: &str) -> Result<(), Error> {
        execute(
            self.server_url(),
            &format!("CREATE DATABASE \"{}\"{source}", checked(name)?),
        )
        .map_err(|error| Error::caused(format!("cannot create database \"{name}\""), error))
    }

    fn guarded(&self, name: String) -> Database {
        let url = self.url(&name);
        Database {
            name,
            url,
            server_url: self.server_url().to_owned(),
        }
    }
}

/// Begins with the second of its creation, by which leftovers are known, and fits into PostgreSQL's 63 bytes.
fn unique_name(label: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    format!("local_postgres_{now:010}_{:016x}_{label:.20}", random())
}

fn drop_statement(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")
}

/// Names go into statements and URLs, so only those are taken that need no escaping in either.
fn checked(name: &str) -> Result<&str, Error> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if (1..=63).contains(&name.len()) && name.chars().all(plain) {
        return Ok(name);
    }
    Err(Error::new(format!(
        "\"{name}\" cannot name a database; use 1 to 63 of a-z, 0-9 and _"
    )))
}
