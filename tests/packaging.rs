//! What a user of crates.io gets: a core without libpq and without a web framework, that builds outside this repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;

const WORKSPACE: &str = env!("CARGO_MANIFEST_DIR");
/// Kept from one run to the next, so that the dependencies are built once.
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/packaging");

/// Runs cargo offline, and gives what it printed.
fn cargo(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", TARGET)
        .output()
        .expect("cargo runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {log}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Packages a crate and unpacks it into a folder outside the repository.
fn unpack(name: &str, into: &Path) -> PathBuf {
    cargo(
        Path::new(WORKSPACE),
        &["package", "-p", name, "--no-verify", "--allow-dirty"],
    );
    let folder = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
    let package =
        fs::File::open(format!("{TARGET}/package/{folder}.crate")).expect("it is packaged");
    tar::Archive::new(GzDecoder::new(package))
        .unpack(into)
        .expect("it unpacks");
    into.join(folder)
}

/// Names the packages that a crate is built on.
fn dependencies(name: &str) -> Vec<String> {
    let tree = cargo(
        Path::new(WORKSPACE),
        &[
            "tree",
            "-p",
            name,
            "--edges",
            "normal",
            "--all-features",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ],
    );
    let first_word = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    tree.lines().map(first_word).collect()
}

#[test]
fn the_core_needs_neither_libpq_nor_a_web_framework() {
    let dependencies = dependencies("pgqueue-core");

    assert!(
        dependencies.iter().any(|name| name == "diesel-async"),
        "{dependencies:?}"
    );
    let unwanted = [
        "pq-sys",
        "openssl-sys",
        "actix",
        "axum",
        "hyper",
        "warp",
        "rocket",
        "tower",
        "askama",
        "reqwest",
        "h2",
    ];
    for name in &dependencies {
        let is_unwanted = |start: &&str| name == start || name.starts_with(&format!("{start}-"));
        assert!(
            !unwanted.iter().any(is_unwanted),
            "pgqueue-core is built on {name}"
        );
    }
}

#[test]
fn the_packaged_core_brings_its_migrations_and_builds_outside_the_repository() {
    let elsewhere = tempfile::tempdir().expect("a folder");

    let unpacked = unpack("pgqueue-core", elsewhere.path());

    for migration in fs::read_dir(format!("{WORKSPACE}/migrations")).expect("migrations") {
        let migration = migration.expect("a migration").path();
        let name = migration.file_name().expect("it has a name");
        for file in ["up.sql", "down.sql"] {
            let packaged = unpacked.join("migrations").join(name).join(file);
            let kind = fs::symlink_metadata(&packaged)
                .expect("it is packaged")
                .file_type();
            assert!(kind.is_file(), "{packaged:?} is no real file");
            let text = fs::read(&packaged).expect("it is readable");
            assert_eq!(
                text,
                fs::read(migration.join(file)).expect("it is readable")
            );
        }
    }
    cargo(&unpacked, &["check", "--all-features"]);
}
