//! Measures what open tabs cost the database: each holds the stream of events open, as the page's script does, and fetches
//! the overview at every tick.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt;

use crate::meter::Meter;
use crate::site::Site;

/// The page that is open.
const OPEN: &str = "/";

/// What a number of tabs cost.
#[derive(Debug)]
pub(crate) struct Tabs {
    pub(crate) count: usize,
    /// Pages that were fetched in all.
    pub(crate) pages: usize,
    pub(crate) watched: Duration,
    /// Processor time of all processes of the server, where `/proc` tells it.
    pub(crate) database: Option<Duration>,
}

impl Tabs {
    /// The part of one core that the server took.
    pub(crate) fn share(&self) -> Option<f64> {
        self.database
            .map(|time| time.as_secs_f64() / self.watched.as_secs_f64())
    }
}

pub(crate) async fn watch(
    url: &str,
    meter: &Meter<'_>,
    count: usize,
    time: Duration,
) -> anyhow::Result<Tabs> {
    let site = Arc::new(Site::open(url)?);
    let settled = Instant::now() + Duration::from_secs(3); // connections are made, caches filled
    let end = settled + time;
    let tabs: Vec<_> = (0..count)
        .map(|_| rt::spawn(tab(Arc::clone(&site), settled, end)))
        .collect();
    rt::time::sleep_until(settled.into()).await;
    let before = meter.processor_time();
    rt::time::sleep_until(end.into()).await;
    let after = meter.processor_time();
    let mut pages = 0;
    for tab in tabs {
        pages += tab.await??;
    }
    Ok(Tabs {
        count,
        pages,
        watched: time,
        database: after.zip(before).map(|(after, before)| after - before),
    })
}

/// Is one tab until the end; gives the number of pages that it fetched while it was watched.
async fn tab(site: Arc<Site>, settled: Instant, end: Instant) -> anyhow::Result<usize> {
    let mut events = site.request("/events").send().await?;
    anyhow::ensure!(
        events.status() == 200,
        "the stream of events answers {}",
        events.status()
    );
    let mut pages = 0;
    while let Ok(Ok(Some(event))) = tokio::time::timeout_at(end.into(), events.chunk()).await {
        if event.starts_with(b"event: tick") {
            let answer = site.get(OPEN).await?;
            anyhow::ensure!(answer.status == 200, "{OPEN} answers {}", answer.status);
            pages += usize::from(Instant::now() > settled);
        }
    }
    Ok(pages)
}
