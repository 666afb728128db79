//! Prints what was measured.

use std::time::Duration;

use pgqueue_suite::bench::report::{self, Row};
use serde_json::{Value, json};

use crate::meter::Work;
use crate::page::Page;
use crate::tabs::Tabs;

/// No page may take longer to its first byte on a warm database.
const LIMIT: Duration = Duration::from_millis(100);
/// Longest piece of SQL that is shown.
const LONGEST_SQL: usize = 400;

/// Says something beside the table, so that `--json` stays JSON.
#[expect(clippy::print_stderr, reason = "the table goes to standard output")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Says that a page is done.
pub(crate) fn progress(page: Option<&Page>) {
    if let Some(page) = page {
        note(&format!("{:>7.1} ms  {}", ms(page.slowest()), page.address));
    }
}

pub(crate) fn table(title: &str, pages: &[Page], tabs: &[Tabs], samples: usize) {
    println!("{title}\n");
    println!(
        "  {:<44} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>7} {:>8}",
        "page (ms to the first byte)",
        "status",
        "cold",
        "first",
        "median",
        format!("max of {samples}"),
        "bytes",
        "db ms",
        "stmts",
        "rows",
        "buffers"
    );
    for page in pages {
        print_page(page);
    }
    println!(
        "\n! is over {} ms on a warm database; first: the dashboard has just started; cold: PostgreSQL, too, and no file of \
         it is in memory; db: for the first",
        LIMIT.as_millis()
    );
    for page in pages.iter().filter(|page| page.slowest() > LIMIT) {
        print_guilty(page);
    }
    println!(
        "\n{:<12} {:>14} {:>26}",
        "open tabs", "pages a second", "database, share of a core"
    );
    for tabs in tabs {
        let share = tabs
            .share()
            .map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0));
        println!(
            "{:<12} {:>14.1} {share:>26}",
            tabs.count,
            pages_a_second(tabs)
        );
    }
}

fn print_page(page: &Page) {
    let mark = if page.slowest() > LIMIT { '!' } else { ' ' };
    let cold = page
        .cold
        .map_or_else(|| "-".to_owned(), |cold| format!("{:.1}", ms(cold)));
    let bytes = format!("{}{}", page.bytes, if page.cut { "+" } else { "" });
    let shown: String = page.address.chars().take(44).collect();
    print!(
        "{mark} {shown:<44} {:>6} {cold:>9} {:>9.1} {:>9.1} {:>9.1} {bytes:>9}",
        page.status,
        ms(page.first),
        ms(page.median),
        ms(page.max),
    );
    match &page.work {
        Some(work) => println!(
            " {:>9.1} {:>6} {:>7} {:>8}",
            work.ms, work.statements, work.rows, work.buffers
        ),
        None => println!(" {:>9} {:>6} {:>7} {:>8}", "-", "-", "-", "-"),
    }
}

fn print_guilty(page: &Page) {
    let Some(Work {
        slowest: Some(query),
        slowest_ms: Some(ms),
        ..
    }) = &page.work
    else {
        return;
    };
    let words: Vec<&str> = query.split_whitespace().collect();
    let text: String = words.join(" ").chars().take(LONGEST_SQL).collect();
    println!("\n! {}\n  {ms:.1} ms in: {text}", page.address);
}

pub(crate) fn json(title: &str, pages: &[Page], tabs: &[Tabs]) -> Value {
    let page = |page: &Page| {
        json!({
            "address": page.address,
            "status": page.status,
            "bytes": page.bytes,
            "cut": page.cut,
            "cold_ms": page.cold.map(ms),
            "first_ms": ms(page.first),
            "median_ms": ms(page.median),
            "max_ms": ms(page.max),
            "within_limit": page.slowest() <= LIMIT,
            "database": page.work.as_ref().map(|work| json!({
                "ms": work.ms,
                "statements": work.statements,
                "rows": work.rows,
                "buffers": work.buffers,
                "slowest": work.slowest,
                "slowest_ms": work.slowest_ms,
            })),
        })
    };
    let tab = |tabs: &Tabs| {
        json!({
            "tabs": tabs.count,
            "pages_a_second": pages_a_second(tabs),
            "database_share_of_a_core": tabs.share(),
        })
    };
    let mut told = report::json(title, &rows(pages, tabs));
    told["limit_ms"] = json!(ms(LIMIT));
    told["pages"] = pages.iter().map(page).collect();
    told["tabs"] = tabs.iter().map(tab).collect();
    told
}

/// Gives what a reader wants to know first.
fn rows(pages: &[Page], tabs: &[Tabs]) -> Vec<Row> {
    let mut slowest = Row::new("slowest first byte of all pages, warm database", "ms");
    slowest.ours = pages
        .iter()
        .map(|page| ms(page.slowest()))
        .max_by(f64::total_cmp)
        .into_iter()
        .collect();
    slowest.limit = Some(ms(LIMIT));
    let shares = tabs.iter().map(|tabs| {
        let mut row = Row::new(format!("{} open tabs", tabs.count), "% of a core");
        row.ours = tabs
            .share()
            .map(|share| 100.0 * share)
            .into_iter()
            .collect();
        row.group = Some("what the database spends");
        row
    });
    let mut rows: Vec<Row> = [slowest].into_iter().chain(shares).collect();
    for row in &mut rows {
        row.less_is_better = true;
    }
    rows
}

fn pages_a_second(tabs: &Tabs) -> f64 {
    let pages = u32::try_from(tabs.pages).unwrap_or(u32::MAX);
    f64::from(pages) / tabs.watched.as_secs_f64()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
