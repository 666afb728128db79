//! Measures one page: cold, then for the first time in a new process, then again and again.

use std::time::Duration;

use crate::meter::{Meter, Work};
use crate::site::Site;

/// What was measured of one page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) address: String,
    pub(crate) status: u16,
    pub(crate) bytes: usize,
    /// There is more than what was read.
    pub(crate) cut: bool,
    /// Nothing is in memory, neither in PostgreSQL's nor in the system's cache.
    pub(crate) cold: Option<Duration>,
    /// The dashboard has just started; PostgreSQL's caches are warm.
    pub(crate) first: Duration,
    pub(crate) median: Duration,
    pub(crate) max: Duration,
    /// What the database did for the first.
    pub(crate) work: Option<Work>,
}

impl Page {
    /// The longest that somebody waited on a warm database.
    pub(crate) fn slowest(&self) -> Duration {
        self.first.max(self.max)
    }
}

/// Asks for a page cold, first, and then so many times.
pub(crate) async fn measure(
    url: &str,
    meter: &Meter<'_>,
    address: String,
    samples: usize,
) -> anyhow::Result<Page> {
    let cold = if meter.make_cold()? {
        let site = Site::open(url)?;
        let answer = site.get(&address).await?;
        site.close().await;
        Some(answer.first_byte)
    } else {
        None
    };
    let site = Site::open(url)?;
    site.get("/settings").await?; // the browser's connection is there, the database's is not
    meter.reset()?;
    let first = site.get(&address).await?;
    let work = meter.work()?;
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        times.push(site.get(&address).await?.first_byte);
    }
    site.close().await;
    times.sort_unstable();
    Ok(Page {
        address,
        status: first.status,
        bytes: first.body.len(),
        cut: first.cut,
        cold,
        first: first.first_byte,
        median: times[samples / 2],
        max: times[samples - 1],
        work,
    })
}
