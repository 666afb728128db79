//! A dashboard that listens, and what a browser without JavaScript would do with it.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up panics"
)]

use std::net::SocketAddr;

use actix_web::{App, HttpServer, rt};
use pgqueue_dashboard::{Dashboard, DashboardBuilder};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};

use crate::TestDatabase;
use crate::seed::{Scale, seed};

/// A served dashboard with the database that it shows.
#[derive(Debug)]
pub struct Site {
    /// What it shows.
    pub database: TestDatabase,
    /// Where it listens.
    pub address: SocketAddr,
    /// The dashboard itself.
    pub dashboard: Dashboard,
    client: Client,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body; empty for a stream.
    pub text: String,
}

impl Answer {
    /// Gives a header; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// Where a redirect leads.
    #[must_use]
    pub fn location(&self) -> &str {
        self.header("location")
    }
}

impl Site {
    /// Serves at the root, open to everybody, on a filled database.
    pub async fn seeded() -> Self {
        let database = TestDatabase::migrated();
        seed(&mut database.sync(), Scale::SMALL).expect("the database is filled");
        Self::of(database, DashboardBuilder::insecure_open_to_everybody).await
    }

    /// Serves at the root, open to everybody, on a database without jobs.
    pub async fn empty() -> Self {
        Self::of(
            TestDatabase::migrated(),
            DashboardBuilder::insecure_open_to_everybody,
        )
        .await
    }

    /// Serves with settings of the test's choice.
    pub async fn of(
        database: TestDatabase,
        settings: impl FnOnce(DashboardBuilder) -> DashboardBuilder,
    ) -> Self {
        let dashboard = settings(Dashboard::builder(database.url()))
            .build()
            .expect("the dashboard is built");
        Self::serve(database, dashboard).await
    }

    /// Serves this dashboard.
    pub async fn serve(database: TestDatabase, dashboard: Dashboard) -> Self {
        let served = dashboard.clone();
        let server = HttpServer::new(move || App::new().service(served.clone()))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .expect("a port is free");
        let address = server.addrs()[0];
        rt::spawn(server.run());
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .build()
            .expect("a client is built");
        Self {
            database,
            address,
            dashboard,
            client,
        }
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// Fetches a page, without following redirects.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// Sends a form as a page of the site would.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let origin = format!("http://{}", self.address);
        send(
            self.request(Method::POST, path)
                .header("origin", origin)
                .form(form),
        )
        .await
    }
}

/// Sends a request and reads the whole answer, unless it is a stream, which does not end.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the site answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let streams = headers
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream");
    let text = if streams {
        String::new()
    } else {
        response.text().await.expect("the answer ends")
    };
    Answer {
        status,
        headers,
        text,
    }
}
