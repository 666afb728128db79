//! What docs/security.md promises: five roles that can do their part and nothing else, and dependencies that were looked at.
//!
//! The roles are made by docs/grants.sql and by the statements of the documentation, each test with names of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that unwraps fails with the line to look at, as a test does"
)]

mod definers;
mod denials;
mod matrix;
mod owner;
mod producer;
mod site;
mod statements;
mod supply;
mod worker;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use pgqueue_suite::TestDatabase;

/// The documentation itself.
const DOCS: &str = include_str!("../../docs/security.md");
/// The script that it hands out.
const GRANTS: &str = include_str!("../../docs/grants.sql");

/// Every role of the script and of the documentation, in the order in which they can be dropped.
const NAMES: [&str; 10] = [
    "shop_deploy",
    "shop_web",
    "shop_worker",
    "shop_support",
    "shop_admin",
    "jobs_producer",
    "jobs_worker",
    "jobs_viewer",
    "jobs_operator",
    "jobs_owner",
];

/// The roles of one test, which are the server's and not the database's: each has the test's name behind its own.
struct Roles {
    test: String,
}

impl Roles {
    /// Makes them on a database with tables.
    fn of(db: &TestDatabase, test: &str) -> Self {
        let roles = Self::before_the_tables(db, test);
        roles.grant(db);
        roles
    }

    /// Makes them, with logins as the documentation has them, as the first run of the script does.
    fn before_the_tables(db: &TestDatabase, test: &str) -> Self {
        let roles = Self {
            test: format!("{test}_{}", std::process::id()),
        };
        roles.grant(db);
        let (_, rest) = DOCS.split_once("```sql\n").unwrap();
        let (logins, _) = rest.split_once("```").unwrap();
        db.execute(&roles.named(logins));
        roles
    }

    /// Runs the script.
    fn grant(&self, db: &TestDatabase) {
        db.execute(&self.named(GRANTS));
    }

    /// Gives the roles that a text names the names that they have in this test.
    fn named(&self, text: &str) -> String {
        NAMES.iter().fold(text.to_owned(), |text, name| {
            text.replace(name, &self.name(name))
        })
    }

    fn name(&self, role: &str) -> String {
        format!("{role}_{}", self.test)
    }

    /// Gives the URL by which a role logs in.
    fn url(&self, db: &TestDatabase, login: &str) -> String {
        let (scheme, rest) = db.url().split_once("://").unwrap();
        let (_, server) = rest.split_once('@').unwrap();
        format!("{scheme}://{}:change-me@{server}", self.name(login))
    }

    fn connect(&self, db: &TestDatabase, login: &str) -> PgConnection {
        PgConnection::establish(&self.url(db, login)).unwrap()
    }

    /// Tries statements as a role, undoes what they did, and gives what the database refused.
    fn try_as(&self, db: &TestDatabase, login: &str, sql: &str) -> Result<(), String> {
        let mut conn = self.connect(db, login);
        conn.batch_execute("BEGIN").unwrap();
        let result = conn.batch_execute(sql).map_err(|error| error.to_string());
        conn.batch_execute("ROLLBACK").unwrap();
        result
    }

    fn drop(self, db: &TestDatabase) {
        for role in NAMES.map(|name| self.name(name)) {
            db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
        }
    }
}
