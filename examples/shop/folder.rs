//! Where a run of the shop puts its files: a folder of its own in `target/shop`.
//!
//! It is kept when the shop ends, for the person to look at, and removed when the next one starts. A file lock that ends
//! with the process tells the folders of shops that still run from those of shops that have ended.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::Utc;

/// Held by the shop that runs, in its folder; held while folders are made or removed, beside them.
const LOCK: &str = "lock";

/// The folder of one run, and what is where in it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    outbox: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder of this run, and removes those of shops that have ended.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/shop");
        Self::create_in(&all)
            .with_context(|| format!("cannot make the shop's folder in {}", all.display()))
    }

    fn create_in(all: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(all)?;
        let making = File::create(all.join(LOCK))?;
        making.lock()?;
        remove_ended(all)?;
        let now = Utc::now().format("%Y%m%d-%H%M%S");
        let path = all.join(format!("run-{now}-{}", std::process::id()));
        let outbox = path.join("outbox");
        fs::create_dir_all(&outbox)?;
        fs::create_dir(path.join("drafts"))?;
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        Ok(Self {
            path,
            outbox,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn outbox(&self) -> &Path {
        &self.outbox
    }

    /// Where messages are written before they appear in the outbox; on the same disk, so that they can be moved.
    pub(crate) fn drafts(&self) -> PathBuf {
        self.path.join("drafts")
    }

    pub(crate) fn low_stock_report(&self) -> PathBuf {
        self.path.join("low-stock.txt")
    }

    pub(crate) fn archive(&self, import_id: i64) -> PathBuf {
        self.path
            .join(format!("receipts-of-import-{import_id}.tar.gz"))
    }

    pub(crate) fn warehouse_log(&self) -> PathBuf {
        self.path.join("warehouse.log")
    }
}

fn remove_ended(all: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(all)? {
        let path = entry?.path();
        if path.is_dir() && has_ended(&path)? {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn has_ended(run: &Path) -> anyhow::Result<bool> {
    let Ok(lock) = File::open(run.join(LOCK)) else {
        return Ok(true); // it died while it made its folder
    };
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
