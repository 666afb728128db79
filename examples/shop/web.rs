//! The shop's website: a page that says where to look, `POST /orders`, and the dashboard of its jobs.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use actix_web::dev::Server;
use actix_web::error::{InternalError, JsonPayloadError};
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use anyhow::Context as _;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use pgqueue_dashboard::Dashboard;
use serde_json::json;

use crate::basket::{Basket, Refusal};
use crate::placement_async::place;

/// Where the dashboard is mounted.
pub(crate) const DASHBOARD: &str = "/admin/jobs";

/// What the page shows.
#[derive(Debug, Clone)]
pub(crate) struct Guide(pub(crate) String);

/// The website, bound to its port but not yet answering.
pub(crate) struct Website {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Website {
    /// Takes the port that `PORT` names; without it 8080, or any free one if that is taken.
    pub(crate) fn bind() -> anyhow::Result<Self> {
        let listener = match env::var("PORT") {
            Ok(port) if !port.is_empty() => {
                let number = port
                    .parse()
                    .with_context(|| format!("PORT is {port:?}: it must be a number"))?;
                bind(number).with_context(|| format!("cannot listen on port {number}"))?
            }
            _ => bind(8080).or_else(|_taken| bind(0))?,
        };
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Makes the server, which ends by itself at SIGINT and SIGTERM, and so do the dashboard's streams.
    pub(crate) fn serve(
        self,
        pool: Pool<AsyncPgConnection>,
        guide: Guide,
    ) -> anyhow::Result<Server> {
        let dashboard = Dashboard::builder(pool.clone())
            .path(DASHBOARD)
            .environment("demo")
            .loopback_only()
            .build()?;
        let app = move || {
            App::new()
                .app_data(web::Data::new(pool.clone()))
                .app_data(web::Data::new(guide.clone()))
                .app_data(web::JsonConfig::default().error_handler(malformed))
                .configure(routes)
                .service(dashboard.clone())
        };
        let server = HttpServer::new(app).workers(2).shutdown_timeout(5);
        Ok(server.listen(self.listener)?.run())
    }
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(show_guide))
        .route("/orders", web::post().to(place_order));
}

async fn show_guide(guide: web::Data<Guide>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(guide.0.clone())
}

async fn place_order(
    pool: web::Data<Pool<AsyncPgConnection>>,
    basket: web::Json<Basket>,
) -> HttpResponse {
    let mut conn = match pool.get().await {
        Ok(conn) => conn,
        Err(error) => return failed(&error),
    };
    match place(&mut conn, &basket).await {
        Ok(placed) => HttpResponse::Created().json(placed),
        Err(Refusal::Rule(_, reason)) => refused(StatusCode::UNPROCESSABLE_ENTITY, &reason),
        Err(error @ Refusal::Database(_)) => failed(&error),
    }
}

/// Answers a body that is not read: 422 if it is JSON of another form, else as actix-web would.
fn malformed(error: JsonPayloadError, _request: &HttpRequest) -> actix_web::Error {
    let status = match &error {
        JsonPayloadError::Deserialize(cause) if cause.is_data() => StatusCode::UNPROCESSABLE_ENTITY,
        _ => error.status_code(),
    };
    let answer = refused(status, &error.to_string());
    InternalError::from_response(error, answer).into()
}

fn refused(status: StatusCode, reason: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": reason }))
}

fn failed(error: &dyn std::error::Error) -> HttpResponse {
    tracing::error!(%error, "an order could not be placed");
    refused(
        StatusCode::SERVICE_UNAVAILABLE,
        "the order was not placed; try again later",
    )
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}
