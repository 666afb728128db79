//! A dashboard that listens, and what a browser without JavaScript would do with it.

use std::net::SocketAddr;

use actix_web::{App, HttpServer, rt};
use pgqueue_dashboard::{Dashboard, DashboardBuilder};
use pgqueue_suite::TestDatabase;
use pgqueue_suite::seed::{Scale, seed};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};

/// A served dashboard with the database that it shows.
pub(crate) struct Site {
    pub(crate) database: TestDatabase,
    pub(crate) address: SocketAddr,
    pub(crate) dashboard: Dashboard,
    client: Client,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Where a redirect leads.
    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }
}

impl Site {
    /// Serves at the root, open to everybody, on a filled database.
    pub(crate) async fn seeded() -> Self {
        let database = TestDatabase::migrated();
        seed(&mut database.sync(), Scale::SMALL).unwrap();
        Self::of(database, DashboardBuilder::insecure_open_to_everybody).await
    }

    /// Serves at the root, open to everybody, on a database without jobs.
    pub(crate) async fn empty() -> Self {
        Self::of(
            TestDatabase::migrated(),
            DashboardBuilder::insecure_open_to_everybody,
        )
        .await
    }

    /// Serves with settings of the test's choice.
    pub(crate) async fn of(
        database: TestDatabase,
        settings: impl FnOnce(DashboardBuilder) -> DashboardBuilder,
    ) -> Self {
        let dashboard = settings(Dashboard::builder(database.url()))
            .build()
            .unwrap();
        Self::serve(database, dashboard).await
    }

    /// Serves this dashboard.
    pub(crate) async fn serve(database: TestDatabase, dashboard: Dashboard) -> Self {
        let served = dashboard.clone();
        let server = HttpServer::new(move || App::new().service(served.clone()))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
        let address = server.addrs()[0];
        rt::spawn(server.run());
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            database,
            address,
            dashboard,
            client,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// Sends a form as a page of the site would.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
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
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let streams = headers
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream");
    let text = if streams {
        String::new()
    } else {
        response.text().await.unwrap()
    };
    Answer {
        status,
        headers,
        text,
    }
}
