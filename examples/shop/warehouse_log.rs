//! The warehouse's own record of who asked what: a JSON object a line.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) at: DateTime<Utc>,
    pub(crate) job_id: i64,
    pub(crate) order_id: i64,
    pub(crate) attempt: i32,
    pub(crate) fencing_token: i64,
    /// The HTTP status of the answer.
    pub(crate) status: u16,
}

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self(file))
    }

    pub(crate) fn add(&mut self, entry: &Entry) -> std::io::Result<()> {
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        self.0.write_all(line.as_bytes())
    }
}

/// Reads the whole log.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = fs::read_to_string(path)?;
    let entries = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    entries.collect()
}
