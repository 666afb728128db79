//! Processor time and memory as `/proc` tells them; nothing where there is no `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Integer;

/// The unit of processor time in `/proc/PID/stat`: Linux shows hundredths of a second on every platform that we know.
const TICKS_A_SECOND: u64 = 100;

#[derive(QueryableByName)]
struct Pid {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Sums the processor time of all processes of the server of a database, those that have ended included.
#[must_use]
pub fn of_server(url: &str) -> Option<Duration> {
    let mut conn = PgConnection::establish(url).ok()?;
    let ours: Pid = diesel::sql_query("SELECT pg_backend_pid() AS pid")
        .get_result(&mut conn)
        .ok()?;
    let backend = Stat::read(&ours.pid.to_string()).filter(|stat| stat.name == "postgres")?;
    let postmaster = Stat::read(&backend.parent)?;
    let children = fs::read_dir("/proc")
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| Stat::read(entry.file_name().to_str()?))
        .filter(|stat| stat.parent == backend.parent);
    let ticks = postmaster.own + postmaster.ended + children.map(|child| child.own).sum::<u64>();
    Some(duration(ticks))
}

/// Gives the processor time of this process and of its children that have ended.
#[must_use]
pub fn of_this_process() -> Option<Duration> {
    let stat = Stat::read("self")?;
    Some(duration(stat.own + stat.ended))
}

/// Gives the memory that this process holds now, in bytes.
#[must_use]
pub fn resident() -> Option<u64> {
    of_status("VmRSS:")
}

/// Gives the most memory that this process has held so far, in bytes.
#[must_use]
pub fn most_resident() -> Option<u64> {
    of_status("VmHWM:")
}

fn of_status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn duration(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}

/// One line of `/proc/PID/stat`.
struct Stat {
    name: String,
    parent: String,
    own: u64,
    /// Of children that have ended.
    ended: u64,
}

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        let line = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
        let (before, after) = line.rsplit_once(')')?; // a name may have spaces and brackets
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
        Some(Self {
            name: before.split_once('(')?.1.to_owned(),
            parent: (*fields.get(1)?).to_owned(),
            own: ticks(11)? + ticks(12)?,
            ended: ticks(13)? + ticks(14)?,
        })
    }
}
