//! A served dashboard, new for each page: what it keeps in memory from one request to the next is empty at first.

use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, rt};
use pgqueue_dashboard::Dashboard;
use reqwest::Client;

/// An export has no end that a benchmark waits for.
const LONGEST_BODY: usize = 4 * 1024 * 1024;

/// The server and a client that keeps its connection.
pub(crate) struct Site {
    base: String,
    client: Client,
    handle: ServerHandle,
}

/// How one request went.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) first_byte: Duration,
    pub(crate) body: Vec<u8>,
    /// The body is longer than what was read of it.
    pub(crate) cut: bool,
}

impl Site {
    pub(crate) fn open(url: &str) -> anyhow::Result<Self> {
        let dashboard = Dashboard::builder(url).loopback_only().build()?;
        let server = HttpServer::new(move || App::new().service(dashboard.clone()))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")?;
        let base = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        Ok(Self {
            base,
            client: Client::new(),
            handle,
        })
    }

    /// Asks for a page and reads it; of a stream only the beginning.
    pub(crate) async fn get(&self, address: &str) -> anyhow::Result<Answer> {
        let began = Instant::now();
        let mut response = self.request(address).send().await?;
        let first_byte = began.elapsed();
        let status = response.status().as_u16();
        let streams = response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind == "text/event-stream");
        let (mut body, mut cut) = (Vec::new(), false);
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            cut = streams || body.len() > LONGEST_BODY;
            if cut {
                break;
            }
        }
        Ok(Answer {
            status,
            first_byte,
            body,
            cut,
        })
    }

    /// Prepares a request of somebody whose pages refresh each second.
    pub(crate) fn request(&self, address: &str) -> reqwest::RequestBuilder {
        self.client
            .get(format!("{}{address}", self.base))
            .header("accept", "text/html")
            .header("cookie", "pgqueue_preferences=auto.0.1.1")
    }

    pub(crate) async fn close(self) {
        self.handle.stop(false).await;
    }
}
