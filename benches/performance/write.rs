//! Writes the figures of `docs/performance/figures` into `docs/performance.md`, and the charts beside them.
//! `benches/report` runs it after the benchmarks.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use pgqueue_suite::performance::document::Document;

fn main() -> anyhow::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let (file, folder) = (docs.join("performance.md"), docs.join("performance"));
    let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    let document = Document::make(&text, &folder.join("figures"))?;
    for (name, chart) in &document.charts {
        fs::write(folder.join(name), chart)?;
    }
    fs::write(file, document.text)?;
    Ok(())
}
