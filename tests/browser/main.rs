//! The dashboard in a real browser: Chromium without a window, by chromedriver.

#![expect(clippy::unwrap_used, reason = "tests")]

mod audit;
mod browser;
mod copying;
mod driver;
mod journeys;
mod live;
mod pages;
