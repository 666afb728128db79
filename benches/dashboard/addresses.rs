//! Which pages there are: every GET of the table of routes, its parameters taken from links that the site itself shows, or
//! from the database where no page links to it (the API).

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::Text;
use pgqueue_dashboard::Dashboard;

use crate::site::Site;

/// Most links with a filter that are followed, beyond the routes themselves.
const FILTERS: usize = 12;

/// Finds one address for each route, and some links of pages to filtered lists.
pub(crate) async fn find(url: &str) -> anyhow::Result<Vec<String>> {
    let routes: Vec<&str> = Dashboard::routes()
        .into_iter()
        .filter(|(method, path, _)| *method == "get" && !path.is_empty())
        .map(|(_, path, _)| path)
        .collect();
    let site = Site::open(url)?;
    let mut found: Vec<Option<String>> = routes
        .iter()
        .map(|route| (!route.contains('{')).then(|| with_query(route)))
        .collect();
    let (mut links, mut visited) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let next: Vec<String> = found
            .iter()
            .flatten()
            .filter(|address| visited.insert((*address).clone()))
            .cloned()
            .collect();
        if next.is_empty() {
            break;
        }
        for address in next {
            links.extend(links_in(&site.get(&address).await?.body));
        }
        for (route, slot) in routes.iter().zip(&mut found) {
            if slot.is_none() {
                *slot = links
                    .iter()
                    .find(|link| leads_to(link, route, &routes))
                    .cloned();
            }
        }
    }
    site.close().await;
    let mut conn = PgConnection::establish(url)?;
    for (route, slot) in routes.iter().zip(&mut found) {
        if slot.is_none() {
            *slot = from_database(&mut conn, route)?;
        }
        if slot.is_none() {
            crate::report::note(&format!(
                "{route} is not measured: nothing in this database has such a page"
            ));
        }
    }
    let mut addresses: Vec<String> = found.into_iter().flatten().collect();
    let known: BTreeSet<String> = addresses.iter().cloned().collect();
    let filters = links
        .into_iter()
        .filter(|link| is_filter(link) && !known.contains(link));
    addresses.extend(filters.take(FILTERS));
    Ok(addresses)
}

/// Adds what a route must be told; an export ends soon enough to be read to its end.
fn with_query(route: &str) -> String {
    let query = match route {
        "/queue" => "?name=warehouse",
        "/kind" => "?name=notify_warehouse",
        "/bulk/preview" | "/api/v1/operations/preview" => "?action=requeue&filter=state%3Adead",
        "/export.csv" | "/export.ndjson" => "?limit=1000",
        _ => "",
    };
    format!("{route}{query}")
}

fn is_filter(link: &str) -> bool {
    ["/jobs?", "/dead?"]
        .iter()
        .any(|list| link.starts_with(list))
}

/// Takes the links out of a page, those to other sites left out.
fn links_in(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    ["href=\"", "src=\""]
        .iter()
        .flat_map(|start| text.split(start).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|link| link.starts_with('/'))
        .map(|link| {
            let link = link
                .replace("&#38;", "&")
                .replace("&amp;", "&")
                .replace("&#39;", "'");
            link.split('#').next().unwrap_or_default().to_owned()
        })
        .collect()
}

/// Tells whether a link has the form of a route with parameters, and is not another route of its own.
fn leads_to(link: &str, route: &str, routes: &[&str]) -> bool {
    let path = link.split('?').next().unwrap_or_default();
    let parts = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (path_parts, route_parts) = (parts(path), parts(route));
    !routes.contains(&path)
        && path_parts.len() == route_parts.len()
        && path_parts.iter().zip(&route_parts).all(|(have, want)| {
            if want.starts_with('{') {
                !have.is_empty()
            } else {
                have == want
            }
        })
}

/// Fills a route with the names of the seed and the newest dead job.
fn from_database(conn: &mut PgConnection, route: &str) -> QueryResult<Option<String>> {
    let mut parts: Vec<String> = Vec::new();
    for part in route.split('/') {
        let filled = match (part.starts_with('{'), parts.last().map(String::as_str)) {
            (false, _) => part.to_owned(),
            (true, Some("jobs")) => text(
                conn,
                "SELECT id::text AS text FROM pgqueue_jobs WHERE state = 'dead' ORDER BY finished_at DESC LIMIT 1",
            )?,
            (true, Some("workers")) => text(
                conn,
                "SELECT id::text AS text FROM pgqueue_workers ORDER BY id LIMIT 1",
            )?,
            (true, Some("queues")) => "warehouse".to_owned(),
            (true, Some("kinds")) => "notify_warehouse".to_owned(),
            (true, _) => return Ok(None),
        };
        parts.push(filled);
    }
    Ok(Some(parts.join("/")))
}

fn text(conn: &mut PgConnection, query: &str) -> QueryResult<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        text: String,
    }
    Ok(diesel::sql_query(query).get_result::<Row>(conn)?.text)
}
