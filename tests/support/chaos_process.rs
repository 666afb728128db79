//! The program of the soak's processes, see `chaos/mod.rs`.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgqueue_core::BoxError;
use pgqueue_suite::chaos::{ROLE, Role, producer, worker};

fn main() -> Result<(), BoxError> {
    let role: Role = serde_json::from_str(&std::env::var(ROLE)?)?;
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "off".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    // A job that panics as it was told to is no news.
    std::panic::set_hook(Box::new(|_| {}));
    match role {
        Role::Worker(told) => {
            std::thread::spawn(|| {
                wait_for_end();
                std::process::exit(3);
            });
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(worker::run(told))
        }
        Role::Producer(told) => {
            let ends = Arc::new(AtomicBool::new(false));
            let end = Arc::clone(&ends);
            std::thread::spawn(move || {
                wait_for_end();
                end.store(true, Ordering::SeqCst);
            });
            producer::run(&told, &ends);
            Ok(())
        }
    }
}

/// Returns when whoever started the process has closed its standard input, or is gone.
fn wait_for_end() {
    let mut byte = [0];
    while std::io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
}
