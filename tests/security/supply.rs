//! What we build on: no dependency asks for a newer Rust than we promise.

use std::process::Command;

use serde_json::Value;

/// Gives the packages of the resolved workspace, all features on.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--all-features",
            "--locked",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Reads `1.89` and `1.89.0` alike.
fn version(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[test]
fn no_dependency_needs_a_newer_rust_than_we_promise() {
    let promised = version(env!("CARGO_PKG_RUST_VERSION"));

    let packages = packages();
    let needs: Vec<(&Value, &str)> = packages
        .iter()
        .filter_map(|package| Some((&package["name"], package["rust_version"].as_str()?)))
        .collect();
    let newer = needs.iter().filter(|(_, needs)| version(needs) > promised);
    let newer: Vec<String> = newer
        .map(|(name, needs)| format!("{name} needs Rust {needs}"))
        .collect();

    assert!(needs.len() > 100, "most say it: {}", needs.len());
    assert_eq!(newer, [""; 0]);
}
