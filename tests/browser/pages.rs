//! Every page of the site, from its table of routes, so that a new page cannot be forgotten.

use std::collections::BTreeSet;

use pgqueue_dashboard::Dashboard;
use pgqueue_suite::site::Site;

/// Gives the paths of all pages: each route that answers a GET with HTML, with parameters of what there is.
pub(crate) async fn of(site: &Site) -> BTreeSet<String> {
    let routes = Dashboard::routes().into_iter();
    let gets = routes.filter(|(method, _, _)| *method == "get");
    let mut pages = BTreeSet::new();
    for path in gets.flat_map(|(_, route, _)| filled(route, site)) {
        let answer = site.get(&path).await;
        if answer.header("content-type").starts_with("text/html") {
            pages.insert(path);
        }
    }
    pages
}

/// Gives the route with every choice of its parameters that deserves a look.
fn filled(route: &str, site: &Site) -> Vec<String> {
    let Some((before, rest)) = route.split_once('{') else {
        return vec![route.to_owned()];
    };
    let (name, after) = rest.split_once('}').unwrap();
    let choices = choices(before, name, site);
    let paths = choices
        .iter()
        .map(|choice| format!("{before}{choice}{after}"));
    paths.flat_map(|path| filled(&path, site)).collect()
}

/// Gives values of a parameter: a job of every state, otherwise one that is there.
fn choices(before: &str, name: &str, site: &Site) -> Vec<String> {
    let rows = |sql: &str| site.database.texts(sql);
    match (before, name) {
        ("/jobs/", _) => rows("SELECT min(id)::text FROM pgqueue_jobs GROUP BY state"),
        ("/queues/" | "/api/v1/queues/", _) => rows(
            "SELECT name FROM pgqueue_queues UNION (SELECT queue FROM pgqueue_jobs WHERE state = 'dead' LIMIT 1)",
        ),
        ("/kinds/", _) => rows("SELECT 'notify_warehouse' FROM pgqueue_jobs LIMIT 1"),
        ("/workers/", _) => rows("SELECT id::text FROM pgqueue_workers ORDER BY id LIMIT 1"),
        ("/assets/", _) => Vec::new(),
        (_, name) => panic!("{before}{{{name}}}: say here what its {name} may be"),
    }
}
