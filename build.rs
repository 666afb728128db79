//! Hands the README's quickstart to `tests/readme.rs`, which runs it.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=README.md");
    let readme = fs::read_to_string("README.md").expect("README.md is here");
    let block = readme
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let quickstart = block.expect("README.md has a block of Rust");
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("quickstart.rs"), quickstart).expect("OUT_DIR can be written");
}
