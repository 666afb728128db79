//! What a user of crates.io gets: a core without libpq and without a web framework, and a dashboard with all of its files,
//! both of which build outside this repository.

use std::collections::BTreeSet;
use std::ffi::OsString;
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
    // Without a lock file, whose making would look for our own crates in the registry.
    cargo(
        Path::new(WORKSPACE),
        &[
            "package",
            "-p",
            name,
            "--no-verify",
            "--allow-dirty",
            "--exclude-lockfile",
        ],
    );
    let folder = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
    let package =
        fs::File::open(format!("{TARGET}/package/{folder}.crate")).expect("it is packaged");
    tar::Archive::new(GzDecoder::new(package))
        .unpack(into)
        .expect("it unpacks");
    into.join(folder)
}

/// Names the packages that a crate is built on, with all features or with what the argument says.
fn dependencies(name: &str, features: &str) -> Vec<String> {
    let tree = cargo(
        Path::new(WORKSPACE),
        &[
            "tree", "-p", name, "--edges", "normal", features, "--prefix", "none", "--format",
            "{p}",
        ],
    );
    let first_word = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    tree.lines().map(first_word).collect()
}

#[test]
fn the_core_needs_neither_libpq_nor_a_web_framework() {
    let dependencies = dependencies("pgqueue-core", "--all-features");

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
        is_packaged_as_it_is(&migration, &unpacked.join("migrations").join(name));
    }
    cargo(&unpacked, &["check", "--all-features"]);
}

/// Compares a folder of files with what was unpacked, in which nothing may be a link.
fn is_packaged_as_it_is(original: &Path, unpacked: &Path) {
    let files = |folder: &Path| -> BTreeSet<OsString> {
        let entries = fs::read_dir(folder).expect("the folder is there");
        entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect()
    };
    assert_eq!(files(original), files(unpacked), "{unpacked:?}");
    for name in files(original) {
        let packaged = unpacked.join(&name);
        let kind = fs::symlink_metadata(&packaged)
            .expect("it is packaged")
            .file_type();
        assert!(kind.is_file(), "{packaged:?} is no real file");
        assert_eq!(
            fs::read(&packaged).expect("it is readable"),
            fs::read(original.join(&name)).expect("it is readable"),
            "{packaged:?}"
        );
    }
}

#[test]
fn a_host_that_mounts_the_dashboard_does_not_build_what_only_the_binary_needs() {
    let mounted = dependencies("pgqueue-dashboard", "--no-default-features");
    let binary = dependencies("pgqueue-dashboard", "--all-features");

    for name in ["clap", "tracing-subscriber", "flate2"] {
        assert!(binary.iter().any(|known| known == name), "{name}");
        assert!(!mounted.iter().any(|known| known == name), "{name}");
    }
    for name in ["pq-sys", "openssl-sys", "brotli", "zstd-sys", "h2"] {
        assert!(!binary.iter().any(|known| known == name), "{name}");
    }
}

#[test]
fn the_packaged_dashboard_brings_its_templates_and_assets_and_builds_outside_the_repository() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let core = unpack("pgqueue-core", elsewhere.path());

    let unpacked = unpack("pgqueue-dashboard", elsewhere.path());

    for folder in ["templates", "assets"] {
        let original = Path::new(WORKSPACE).join("pgqueue-dashboard").join(folder);
        is_packaged_as_it_is(&original, &unpacked.join(folder));
    }
    let mut entries: Vec<_> = fs::read_dir(&unpacked)
        .expect("it is a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    entries.sort();
    let expected = [
        ".cargo_vcs_info.json",
        "Cargo.toml",
        "Cargo.toml.orig",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "assets",
        "src",
        "templates",
    ];
    let unexpected: Vec<_> = entries
        .iter()
        .filter(|name| !expected.iter().any(|known| *name == *known))
        .collect();
    assert!(
        unexpected.is_empty(),
        "the package brings what nobody needs: {unexpected:?}"
    );
    let patch = format!("patch.crates-io.pgqueue-core.path={core:?}");
    for features in ["--all-features", "--no-default-features"] {
        cargo(&unpacked, &["check", features, "--config", &patch]);
    }
}
