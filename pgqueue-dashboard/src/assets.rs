//! The few files of the site, compiled in, under a folder whose name changes with their content: browsers keep them for ever.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::dashboard::Dashboard;
use crate::problem::Problem;

const FILES: [(&str, &str, &[u8]); 4] = [
    (
        "app.css",
        "text/css; charset=utf-8",
        include_bytes!("../assets/app.css"),
    ),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/app.js"),
    ),
    (
        "idiomorph.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../assets/idiomorph.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("../assets/icon.svg"),
    ),
];

/// Knows the name of the folder.
#[derive(Debug)]
pub(crate) struct Assets {
    version: String,
}

impl Assets {
    pub(crate) fn new() -> Self {
        let mut hasher = DefaultHasher::new();
        FILES.hash(&mut hasher);
        Self {
            version: format!("{:016x}", hasher.finish()),
        }
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

/// `GET /assets/{version}/{name}`
pub(crate) async fn file(
    request: HttpRequest,
    dashboard: web::Data<Dashboard>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (version, name) = path.into_inner();
    let found = FILES.iter().find(|(known, ..)| *known == name);
    let Some((_, kind, bytes)) = found.filter(|_| version == dashboard.inner.assets.version())
    else {
        return Err(Problem::not_found(
            "there is no such file",
            "reload the page: the dashboard was updated",
        ));
    };
    let tag = format!("\"{version}\"");
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let mut response = if known == Some(tag.as_str()) {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response.insert_header((ETAG, tag.clone()));
    response.insert_header((CACHE_CONTROL, "private, max-age=31536000, immutable"));
    if known == Some(tag.as_str()) {
        return Ok(response.finish());
    }
    Ok(response.insert_header((CONTENT_TYPE, *kind)).body(*bytes))
}
