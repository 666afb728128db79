//! Rebuilds the crate when a migration is added: `embed_migrations!` alone would not notice.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
