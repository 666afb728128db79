//! The two database roles of docs/dashboard.md: what each can do, and what it cannot.

use pgqueue_core::JobState;
use pgqueue_dashboard::{Dashboard, DashboardBuilder};
use pgqueue_suite::TestDatabase;
use pgqueue_suite::seed::{Scale, seed};
use pgqueue_suite::wait_until;
use reqwest::StatusCode;

use crate::site::Site;

const DOCS: &str = include_str!("../../docs/dashboard.md");

/// The roles of one test, which are the server's and not the database's.
struct Roles {
    viewer: String,
    operator: String,
}

impl Roles {
    /// Makes them with the statements of the documentation.
    fn create(database: &TestDatabase, name: &str) -> Self {
        let own = |role: &str| format!("{role}_{name}_{}", std::process::id());
        let roles = Self {
            viewer: own("jobs_viewer"),
            operator: own("jobs_operator"),
        };
        let (_, rest) = DOCS.split_once("```sql\n").unwrap();
        let (script, _) = rest.split_once("```").unwrap();
        database.execute(
            &script
                .replace("jobs_viewer", &roles.viewer)
                .replace("jobs_operator", &roles.operator),
        );
        roles
    }

    /// Serves a database that is in use, as a role.
    async fn site(
        database: TestDatabase,
        role: &str,
        settings: impl FnOnce(DashboardBuilder) -> DashboardBuilder,
    ) -> Site {
        let (scheme, rest) = database.url().split_once("://").unwrap();
        let (_, server) = rest.split_once('@').unwrap();
        let url = format!("{scheme}://{role}:change-me@{server}");
        let builder = Dashboard::builder(url).insecure_open_to_everybody();
        Site::serve(database, settings(builder).build().unwrap()).await
    }

    fn drop(self, site: &Site) {
        for role in [self.operator, self.viewer] {
            site.database
                .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        }
    }
}

fn filled() -> TestDatabase {
    let database = TestDatabase::migrated();
    seed(&mut database.sync(), Scale::SMALL).unwrap();
    database
}

#[actix_web::test]
async fn a_role_that_may_only_select_sees_every_page_and_changes_nothing() {
    let database = filled();
    let roles = Roles::create(&database, "sees");
    let job = database.number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'dead'");
    let site = Roles::site(database, &roles.viewer, |builder| builder).await;

    for (method, path, _) in Dashboard::routes() {
        if method == "get" && !path.contains(['{', '*']) && path != "/events" {
            let answer = site.get(path).await;
            assert!(!answer.status.is_server_error(), "{path}: {}", answer.text);
        }
    }
    let page = site.get(&format!("/jobs/{job}")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    for (path, form) in [
        (format!("/jobs/{job}/requeue"), &[][..]),
        (format!("/jobs/{job}/clone"), &[]),
        ("/queue/pause".to_owned(), &[("queue", "mail")]),
    ] {
        let answer = site.post(&path, form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            answer.text.contains("permission denied for table"),
            "{path}: {}",
            answer.text
        );
    }
    assert_eq!(site.database.job(job).state, JobState::Dead);
    roles.drop(&site);
}

#[actix_web::test]
async fn a_role_that_acts_does_all_that_the_dashboard_offers_and_cannot_touch_the_audit() {
    let database = filled();
    let roles = Roles::create(&database, "acts");
    let mut dead = database
        .texts("SELECT id::text FROM pgqueue_jobs WHERE state = 'dead' ORDER BY id LIMIT 3")
        .into_iter();
    let mut next = || dead.next().unwrap();
    let later = database
        .number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'pending' AND run_at > now()");
    let due = database
        .number("SELECT min(id) FROM pgqueue_jobs WHERE state = 'pending' AND run_at <= now()");
    let site = Roles::site(database, &roles.operator, |builder| builder).await;

    for (path, form) in [
        (format!("/jobs/{}/requeue", next()), &[][..]),
        (format!("/jobs/{}/clone", next()), &[]),
        (format!("/jobs/{}/purge", next()), &[]),
        (format!("/jobs/{later}/run-now"), &[]),
        (format!("/jobs/{due}/cancel"), &[]),
        ("/queue/pause".to_owned(), &[("queue", "mail")]),
        ("/queue/resume".to_owned(), &[("queue", "mail")]),
    ] {
        let answer = site.post(&path, form).await;
        assert_eq!(
            answer.status,
            StatusCode::SEE_OTHER,
            "{path}: {}",
            answer.text
        );
    }
    let form = [
        ("filter", "state:dead"),
        ("cutoff", "2100-01-01T00:00:00Z"),
        ("expected", "1"),
        ("exact", "true"),
    ];
    let purge = site.post("/bulk/purge", &form).await;
    let path = purge.location().to_owned();
    wait_for(&site, &path, "finished").await;
    assert_eq!(site.database.count(JobState::Dead), 0);
    site.post(&format!("{path}/undo"), &[]).await;
    wait_for(&site, &path, "undone").await;
    assert!(site.database.count(JobState::Dead) > 100);

    let audit = format!(
        "SET ROLE {}; UPDATE pgqueue_audit SET actor = 'nobody'",
        roles.operator
    );
    let refused =
        diesel::connection::SimpleConnection::batch_execute(&mut site.database.sync(), &audit);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("permission denied")
    );
    roles.drop(&site);
}

async fn wait_for(site: &Site, path: &str, state: &str) {
    wait_until(&format!("{path} is {state}"), async || {
        let page = site.get(path).await;
        page.text.contains(&format!("</svg>{state}</span>"))
    })
    .await;
}
