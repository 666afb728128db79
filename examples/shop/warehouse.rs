//! The warehouse: another company's server, as far as the shop can tell. It refuses by stated rules on the data.
//!
//! | what comes | answer |
//! |---|---|
//! | an order to a [closed postcode](CLOSED_POSTCODES) | 422, whenever it comes |
//! | more than the [dock](crate::dock) takes in a second | 429 with `Retry-After` |
//! | an order that was taken before | 200 |
//! | any other | 201 |
//!
//! It logs each request before it answers.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use actix_web::dev::ServerHandle;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{App, HttpResponse, HttpServer, web};
use chrono::Utc;

use crate::dock::{CAPACITY, Dock};
use crate::shipment::Shipment;
use crate::warehouse_log::{Entry, Log};

/// The islands of Helgoland and Hiddensee: the ferry does not run.
pub(crate) const CLOSED_POSTCODES: [&str; 2] = ["27498", "18565"];

/// The running server.
#[derive(Debug)]
pub(crate) struct Warehouse {
    pub(crate) url: String,
    handle: ServerHandle,
}

#[derive(Debug)]
struct Floor {
    opened: Instant,
    dock: Dock,
    shipped: HashSet<i64>,
    log: Log,
}

/// What the warehouse says to a shipment.
enum Answer {
    Taken,
    TakenBefore,
    Closed,
    Full { seconds: u64 },
}

impl Warehouse {
    /// Starts it on a free port of its own.
    pub(crate) fn open(log: &Path) -> anyhow::Result<Self> {
        let floor = web::Data::new(Mutex::new(Floor {
            opened: Instant::now(),
            dock: Dock::default(),
            shipped: HashSet::new(),
            log: Log::open(log)?,
        }));
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}/shipments", listener.local_addr()?);
        let app = move || {
            App::new()
                .app_data(floor.clone())
                .route("/shipments", web::post().to(ship))
        };
        // It must outlive the worker at Ctrl-C, so it does not listen for signals.
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1)
            .listen(listener)?
            .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(Self { url, handle })
    }

    /// Stops it.
    pub(crate) async fn close(self) {
        self.handle.stop(true).await;
    }
}

async fn ship(
    floor: web::Data<Mutex<Floor>>,
    shipment: web::Json<Shipment>,
) -> actix_web::Result<HttpResponse> {
    // Poisoned is fine: a panicking request leaves at most an appointment that nobody keeps.
    let mut floor = floor.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = floor.answer(&shipment).response(&shipment);
    floor.log.add(&Entry {
        at: Utc::now(),
        job_id: shipment.job_id,
        order_id: shipment.order_id,
        attempt: shipment.attempt,
        fencing_token: shipment.fencing_token,
        status: answer.status().as_u16(),
    })?;
    Ok(answer)
}

impl Floor {
    fn answer(&mut self, shipment: &Shipment) -> Answer {
        if CLOSED_POSTCODES.contains(&shipment.postcode.as_str()) {
            return Answer::Closed;
        }
        if self.shipped.contains(&shipment.order_id) {
            return Answer::TakenBefore;
        }
        let now = self.opened.elapsed().as_secs();
        if let Err(seconds) = self.dock.admit(shipment.job_id, now) {
            return Answer::Full { seconds };
        }
        self.shipped.insert(shipment.order_id);
        Answer::Taken
    }
}

impl Answer {
    fn response(&self, shipment: &Shipment) -> HttpResponse {
        match self {
            Self::Taken => HttpResponse::Created().finish(),
            Self::TakenBefore => HttpResponse::Ok().finish(),
            Self::Closed => HttpResponse::UnprocessableEntity()
                .body(format!("postcode {} is closed", shipment.postcode)),
            Self::Full { seconds } => HttpResponse::TooManyRequests()
                .insert_header((RETRY_AFTER, *seconds))
                .body(format!("the dock takes {CAPACITY} shipments a second")),
        }
    }
}
