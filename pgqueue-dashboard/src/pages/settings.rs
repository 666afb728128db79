//! Preferences of one browser, kept in a cookie.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::job_actions::is_list;
use crate::columns::Columns;
use crate::cookies::{Preferences, REFRESHES, THEMES};
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    frame: Frame,
    offsets: Vec<(i32, String)>,
}

impl Settings {
    fn themes(&self) -> [&'static str; 3] {
        THEMES
    }

    fn refreshes(&self) -> [u32; 6] {
        REFRESHES
    }
}

/// `GET /settings`
pub(crate) async fn show(visit: Visit) -> Result<HttpResponse, Problem> {
    let mut minutes: Vec<i32> = (-12..=14).map(|hours| hours * 60).collect();
    minutes.extend([
        -570,
        -210,
        210,
        270,
        330,
        345,
        390,
        525,
        570,
        630,
        765,
        visit.preferences.offset_minutes,
    ]);
    minutes.sort_unstable();
    minutes.dedup();
    let offsets = minutes
        .into_iter()
        .map(|minutes| (minutes, offset_name(minutes)))
        .collect();
    visit.page(&Settings {
        frame: visit.frame(Section::Settings, "Settings"),
        offsets,
    })
}

fn offset_name(minutes: i32) -> String {
    let sign = if minutes < 0 { '−' } else { '+' };
    match minutes.abs() {
        0 => "UTC".to_owned(),
        size => format!("UTC{sign}{}:{:02}", size / 60, size % 60),
    }
}

/// The form of the page.
#[derive(Debug, Deserialize)]
pub(crate) struct Form {
    theme: String,
    offset: String,
    refresh: String,
    keys: Option<String>,
}

/// `POST /settings`
pub(crate) async fn save(visit: Visit, form: web::Form<Form>) -> Result<HttpResponse, Problem> {
    let keys = u8::from(form.keys.is_some());
    let columns = visit.preferences.columns.text();
    let chosen = Preferences::parse(&format!(
        "{}.{}.{}.{keys}.{columns}",
        form.theme, form.offset, form.refresh
    ));
    kept(&visit, "/settings", &chosen)
}

/// `POST /settings/columns`: from above the list of jobs, back to it.
pub(crate) async fn save_columns(
    visit: Visit,
    form: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Problem> {
    let all = |name: &'static str| {
        let named = form.iter().filter(move |(field, _)| field == name);
        named.map(|(_, value)| value.as_str())
    };
    let columns = if all("usual").next().is_some() {
        Columns::default()
    } else {
        Columns::named(all("column"))
    };
    let chosen = Preferences {
        columns,
        ..visit.preferences.clone()
    };
    let back = all("back").next().filter(|back| is_list(back));
    kept(&visit, back.unwrap_or("/jobs"), &chosen)
}

fn kept(visit: &Visit, back: &str, chosen: &Preferences) -> Result<HttpResponse, Problem> {
    let mut response = visit.go(back, "Saved in this browser.");
    response
        .add_cookie(&chosen.cookie(&visit.base))
        .map_err(|error| Problem::internal(&format!("cannot set a cookie: {error}")))?;
    Ok(response)
}
