//! PostgreSQL's disk fills up: it stops, and goes on once there is room.

use super::*;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::prelude::*;
use local_postgres::LocalPostgres;
use pgqueue_core::JobState;

/// Room for a new cluster and some segments of its log.
const SIZE: &str = "size=160m,mode=1777";

/// A small file system in memory, which only root may make. Gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let path = std::env::temp_dir().join(format!("pgqueue-disk-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            std::fs::remove_dir(&path).unwrap();
        }
        mounted.then_some(Self(path))
    }

    /// Takes all the room but this.
    fn fill_all_but(&self, bytes: u64) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut ballast).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let size = ballast.metadata().unwrap().len();
        ballast.set_len(size - bytes).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        // A test that fails meanwhile leaves a file system in memory behind, until the machine restarts.
        let _left = unmounted.and_then(|_| std::fs::remove_dir(Path::new(&self.0)));
    }
}

/// Enqueues until that has failed so often; gives the ids that were committed, and the failures.
fn enqueue_until_full(url: &str, failures: usize) -> (Vec<i64>, Vec<String>) {
    let (mut committed, mut failed) = (Vec::new(), Vec::new());
    while failed.len() < failures {
        let jobs =
            (0..50).map(|_| pgqueue_core::new(Act::Return).metadata("ballast", "x".repeat(2000)));
        let enqueued = PgConnection::establish(url)
            .map_err(|error| error.to_string())
            .and_then(|mut conn| {
                pgqueue_core::enqueue_all(&mut conn, jobs).map_err(|error| error.to_string())
            });
        match enqueued {
            Ok(enqueued) => committed.extend(enqueued.iter().map(|job| job.id)),
            Err(error) => failed.push(error),
        }
    }
    (committed, failed)
}

#[expect(clippy::print_stderr, reason = "it is skipped for all but root")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_no_committed_job_and_the_worker_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: only root may make a small file system");
        return;
    };
    let settings = [
        ("max_wal_size", "32MB"),
        ("min_wal_size", "32MB"),
        ("synchronous_commit", "on"),
    ];
    let server = LocalPostgres::builder().directory(&disk.0);
    let server = settings
        .iter()
        .fold(server, |server, (name, value)| server.setting(name, value));
    let server = server.start().unwrap();
    let db = TestDatabase::migrated_on(&server);
    let worker = builder(&db).handle(async |_: Act, _| Ok::<_, String>("here"));
    let running = run(worker.build().unwrap());

    let (committed, failed) = tokio::task::block_in_place(|| {
        disk.fill_all_but(8 << 20);
        enqueue_until_full(db.url(), 50)
    });
    disk.make_room();
    wait_until("PostgreSQL runs again", async || {
        tokio::task::block_in_place(|| {
            server.start_again().is_ok() && PgConnection::establish(db.url()).is_ok()
        })
    })
    .await;
    let more = enqueue(&db, Act::Return);
    db.wait_for_state(more, JobState::Completed).await;
    wait_until("nothing waits or runs", async || {
        db.count(JobState::Pending) + db.count(JobState::Running) == 0
    })
    .await;

    assert!(
        !committed.is_empty(),
        "the disk was full at once: {failed:?}"
    );
    let completed: HashSet<_> = db
        .texts("SELECT id::text FROM pgqueue_jobs WHERE state = 'completed' AND lost = 0")
        .into_iter()
        .collect();
    let missing: Vec<_> = committed
        .iter()
        .filter(|id| !completed.contains(&id.to_string()))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {}", committed.len());
    running.stop().await;
}
