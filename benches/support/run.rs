//! Which run it was: what a reader must know to judge figures, and to measure them again.

use std::fs;

use serde_json::{Value, json};

/// Describes this run: when, on what, by which command.
#[must_use]
pub fn describe() -> Value {
    json!({
        "at": chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
        "pgqueue": env!("CARGO_PKG_VERSION"),
        "command": command(std::env::args()),
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "processor": field("/proc/cpuinfo", "model name"),
        "memory_gb": field("/proc/meminfo", "MemTotal").and_then(|size| gigabytes(&size)),
        "system": std::env::consts::OS,
    })
}

/// Gives the command that runs this benchmark with these arguments.
fn command(mut args: impl Iterator<Item = String>) -> String {
    let program = args.next().unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    let bench = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
    format!("cargo bench --bench {bench}{}", arguments(args))
}

/// Gives arguments as they follow a command of cargo; a URL may have a password and is left out.
pub fn arguments(args: impl Iterator<Item = String>) -> String {
    let args: Vec<String> = args
        .filter(|arg| arg != "--bench" && arg != "--json")
        .map(|arg| {
            if arg.contains("://") {
                "…".to_owned()
            } else {
                arg
            }
        })
        .collect();
    if args.is_empty() {
        String::new()
    } else {
        format!(" -- {}", args.join(" "))
    }
}

/// Gives the first field of that name in a file of `/proc`; nothing where there is none.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gigabytes(size: &str) -> Option<u64> {
    let kilobytes: u64 = size.strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes.div_ceil(1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::command;

    fn command_of(args: &[&str]) -> String {
        command(args.iter().map(ToString::to_string))
    }

    #[test]
    fn the_command_is_what_somebody_types_to_measure_it_again() {
        let short = command_of(&["/somewhere/deps/big_table-8c85d2", "--json", "--bench"]);
        let full = command_of(&["idle-1f", "--bench", "--full", "--only", "flight"]);

        assert_eq!(short, "cargo bench --bench big_table");
        assert_eq!(full, "cargo bench --bench idle -- --full --only flight");
    }

    #[test]
    fn the_command_keeps_a_url_to_itself() {
        let command = command_of(&[
            "dashboard-1f",
            "--seeded",
            "postgres://ada:secret@host/shop",
        ]);

        assert!(!command.contains("secret"), "{command}");
    }
}
