//! A worker that runs in the test's own process until the test stops it.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up panics"
)]

use pgqueue_core::{Error, Worker, WorkerBuilder, WorkerHandle};
use tokio::task::JoinHandle;

/// A worker at work.
#[derive(Debug)]
pub struct Running {
    /// What stops it.
    pub handle: WorkerHandle,
    /// Ends with it.
    pub task: JoinHandle<Result<(), Error>>,
}

/// Runs a worker.
#[must_use]
pub fn run(worker: Worker) -> Running {
    Running {
        handle: worker.handle(),
        task: tokio::spawn(worker.run(std::future::pending::<()>())),
    }
}

impl Running {
    /// Builds a worker and runs it.
    #[must_use]
    pub fn start<S: Send + Sync + 'static>(builder: WorkerBuilder<S>) -> Self {
        run(builder.build().expect("the worker is built"))
    }

    /// Stops gracefully, and waits for the end.
    pub async fn stop(self) {
        self.handle.stop();
        self.ended().await;
    }

    /// Stops without grace, and waits for the end.
    pub async fn stop_now(self) {
        self.handle.stop_now();
        self.ended().await;
    }

    async fn ended(self) {
        let ended = self.task.await.expect("the worker does not panic");
        ended.expect("the worker ends well");
    }
}
