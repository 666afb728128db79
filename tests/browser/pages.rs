//! Every page of the site, from its table of routes, so that a new page cannot be forgotten.

use std::collections::BTreeSet;

use pgqueue_dashboard::Dashboard;
use pgqueue_suite::site::Site;

/// Gives the paths of all pages: each route that answers a GET with HTML, with parameters of what there is.
pub(crate) async fn of(site: &Site) -> BTreeSet<String> {
    let routes = Dashboard::routes().into_iter();
    let gets = routes.filter(|(method, path, _)| *method == "get" && !path.is_empty());
    let mut pages = BTreeSet::new();
    for path in gets.flat_map(|(_, route, _)| filled(route, site)) {
        let mut path = path;
        let mut answer = site.get(&path).await;
        if answer.status.is_redirection() {
            path = answer.location().to_owned();
            answer = site.get(&path).await;
        }
        if answer.header("content-type").starts_with("text/html") {
            pages.insert(path);
        }
    }
    pages
}

/// Gives the route with every choice of its parameters that deserves a look.
fn filled(route: &str, site: &Site) -> Vec<String> {
    if route == "/bulk/preview" {
        return vec![format!("{route}?action=purge&filter=state:dead")];
    }
    let Some((before, rest)) = route.split_once('{') else {
        return vec![route.to_owned()];
    };
    let (name, after) = rest.split_once('}').unwrap();
    let mut choices = choices(before, name, site);
    if !after.is_empty() {
        choices.truncate(1); // forms of a job look alike
    }
    let paths = choices
        .iter()
        .map(|choice| format!("{before}{choice}{after}"));
    paths.flat_map(|path| filled(&path, site)).collect()
}

/// Gives values of a parameter: a job of every state, otherwise one that is there.
fn choices(before: &str, name: &str, site: &Site) -> Vec<String> {
    let rows = |sql: &str| site.database.texts(sql);
    match (before.trim_start_matches("/api/v1"), name) {
        ("/jobs/", _) => rows(
            "SELECT min(id)::text FROM pgqueue_jobs GROUP BY state ORDER BY state = 'dead' DESC",
        ),
        ("/queues/", _) => rows(
            "SELECT name FROM pgqueue_queues UNION (SELECT queue FROM pgqueue_jobs WHERE state = 'dead' LIMIT 1)",
        ),
        ("/dead/" | "/causes/", _) => rows(
            "SELECT min(cause)::text FROM pgqueue_jobs WHERE state = 'dead' HAVING count(*) > 0",
        ),
        ("/kinds/", _) => rows("SELECT 'notify_warehouse' FROM pgqueue_jobs LIMIT 1"),
        ("/workers/", _) => rows("SELECT id::text FROM pgqueue_workers ORDER BY id LIMIT 1"),
        ("/bulk/" | "/operations/", _) => {
            rows("SELECT id::text FROM pgqueue_bulk_operations ORDER BY id LIMIT 1")
        }
        ("/assets/", _) => Vec::new(),
        (_, name) => panic!("{before}{{{name}}}: say here what its {name} may be"),
    }
}
