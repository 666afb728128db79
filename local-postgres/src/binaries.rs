//! Finds the PostgreSQL binaries to start.
//!
//! Called once by the server's start. `PGQUEUE_PG_BIN` wins and is never second-guessed: when it is set and wrong, that
//! is an error. Otherwise the newest version of the known packagings is taken, and `PATH` last.

use std::{
    cmp::Reverse,
    env, fs,
    path::{Path, PathBuf},
};

use crate::Error;

/// The environment variable that names the folder of `initdb` and `postgres`.
const CHOICE: &str = "PGQUEUE_PG_BIN";

/// Folders whose sub-folders are one PostgreSQL each: `<folder>/<something with the version>/bin`.
const PACKAGINGS: [&str; 7] = [
    "/usr/lib/postgresql",                          // Debian, Ubuntu
    "/usr",                                         // Red Hat: /usr/pgsql-17
    "/opt/homebrew/opt",                            // Homebrew on Apple silicon
    "/usr/local/opt",                               // Homebrew on Intel
    "/home/linuxbrew/.linuxbrew/opt",               // Homebrew on Linux
    "/Applications/Postgres.app/Contents/Versions", // Postgres.app
    "/opt/local/lib",                               // MacPorts
];

/// Returns the folder that holds `initdb` and `postgres`.
pub(crate) fn find() -> Result<PathBuf, Error> {
    if let Some(chosen) = env::var_os(CHOICE) {
        let folder = PathBuf::from(chosen);
        return if is_complete(&folder) {
            Ok(folder)
        } else {
            Err(wrong_choice(&folder))
        };
    }
    newest().or_else(on_path).ok_or_else(not_found)
}

fn newest() -> Option<PathBuf> {
    let mut found: Vec<_> = PACKAGINGS
        .iter()
        .flat_map(|packaging| versions_in(Path::new(packaging)))
        .collect();
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.into_iter().next().map(|(_, folder)| folder)
}

fn versions_in(packaging: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(packaging).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            (
                version_in(&entry.file_name().to_string_lossy()),
                entry.path().join("bin"),
            )
        })
        .filter(|(_, folder)| is_complete(folder))
        .collect()
}

/// The first number in a folder's name: `15`, `postgresql@17`, `pgsql-16`, `postgresql16`; 0 when there is none.
fn version_in(name: &str) -> u32 {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find(|folder| is_complete(folder))
}

/// Client packages install `psql` without `initdb`, and `postgres` may be there without it, so both are asked for.
fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|binary| folder.join(binary).is_file())
}

fn wrong_choice(folder: &Path) -> Error {
    Error::new(format!(
        "no PostgreSQL binaries: {CHOICE} is {}, which does not hold both initdb and postgres; \
         correct it, or unset it to search the usual places",
        folder.display()
    ))
}

fn not_found() -> Error {
    Error::new(format!(
        "no PostgreSQL binaries: looked for initdb and postgres in {}/*/bin and on PATH; \
         install them with `apt-get install postgresql` or `brew install postgresql@17`, \
         or set {CHOICE} to the folder that holds them",
        PACKAGINGS.join("/*/bin, ")
    ))
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn every_packaging_tells_its_version() {
        let names = ["15", "postgresql@17", "pgsql-16", "postgresql14", "latest"];

        let versions = names.map(version_in);

        assert_eq!(versions, [15, 17, 16, 14, 0]);
    }
}
