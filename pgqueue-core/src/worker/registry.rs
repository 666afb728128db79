//! Which handler runs which kind, and how each form of handler becomes one task that can be watched.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use crate::context::{Context, RawJob, Run};
use crate::job::Job;
use crate::outcome::{Ending, Failure, HandlerResult};

/// A started run: its task, and whether aborting the task stops it.
pub(crate) struct Started {
    pub(crate) task: JoinHandle<Ending>,
    pub(crate) abortable: bool,
}

type Start = dyn Fn(Value, Arc<Run>) -> Started + Send + Sync;

/// One kind's handler with what its type says.
pub(crate) struct Handler {
    start: Box<Start>,
    /// The queue of the type; `None` for a kind named by a text.
    pub(crate) queue: Option<&'static str>,
    backoff: fn(i32) -> Option<Duration>,
}

impl Handler {
    pub(crate) fn start(&self, payload: Value, run: Arc<Run>) -> Started {
        (self.start)(payload, run)
    }

    /// Asks the type for its wait. A panic there must not end the loop that asks: the worker's own wait stands in.
    pub(crate) fn backoff(&self, attempt: i32) -> Option<Duration> {
        let backoff = self.backoff;
        catch_unwind(|| backoff(attempt)).unwrap_or_else(|panic| {
            std::mem::forget(panic); // its drop may panic, too
            None
        })
    }

    pub(super) fn asynchronous<S, J, F, Fut, R>(state: Arc<S>, handler: F) -> Self
    where
        S: Send + Sync + 'static,
        J: Job,
        F: Fn(J, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult,
    {
        let handler = Arc::new(handler);
        let start = move |payload, run: Arc<Run>| {
            let (handler, context) = (Arc::clone(&handler), Context::new(Arc::clone(&state), run));
            spawn(async move {
                match read::<J>(payload) {
                    Ok(job) => handler(job, context).await.into_outcome().0,
                    Err(dead) => dead,
                }
            })
        };
        Self {
            start: Box::new(start),
            queue: Some(J::QUEUE),
            backoff: J::backoff,
        }
    }

    pub(super) fn blocking<S, J, F, R>(state: Arc<S>, handler: F) -> Self
    where
        S: Send + Sync + 'static,
        J: Job,
        F: Fn(J, Context<S>) -> R + Send + Sync + 'static,
        R: HandlerResult,
    {
        let handler = Arc::new(handler);
        let start = move |payload, run: Arc<Run>| {
            let (handler, context) = (Arc::clone(&handler), Context::new(Arc::clone(&state), run));
            spawn_thread(move || match read::<J>(payload) {
                Ok(job) => handler(job, context).into_outcome().0,
                Err(dead) => dead,
            })
        };
        Self {
            start: Box::new(start),
            queue: Some(J::QUEUE),
            backoff: J::backoff,
        }
    }

    pub(super) fn of_kind<S, F, Fut, R>(state: Arc<S>, handler: F) -> Self
    where
        S: Send + Sync + 'static,
        F: Fn(RawJob, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult,
    {
        let handler = Arc::new(handler);
        let start = move |payload, run: Arc<Run>| {
            let job = RawJob {
                kind: run.kind.clone(),
                payload,
            };
            let (handler, context) = (Arc::clone(&handler), Context::new(Arc::clone(&state), run));
            spawn(async move { handler(job, context).await.into_outcome().0 })
        };
        Self {
            start: Box::new(start),
            queue: None,
            backoff: |_| None,
        }
    }
}

/// A task of its own: a panic in the handler, in its poll or in a drop, ends the task and nothing else.
fn spawn(run: impl Future<Output = Ending> + Send + 'static) -> Started {
    Started {
        task: tokio::spawn(run.in_current_span()),
        abortable: true,
    }
}

/// A thread of its own, not one of tokio's: a runtime waits for those when it ends, and a handler that does not stop
/// would hold up the end of the process. A panic comes out of the task as it does for an async handler.
fn spawn_thread(run: impl FnOnce() -> Ending + Send + 'static) -> Started {
    let (sender, ended) = oneshot::channel();
    let (runtime, span) = (Handle::current(), Span::current());
    let thread = std::thread::Builder::new().name("pgqueue-handler".to_owned());
    let started = thread.spawn(move || {
        let _runtime = runtime.enter();
        let ending = catch_unwind(AssertUnwindSafe(|| span.in_scope(run)));
        let _gone = sender.send(ending); // the worker has ended: nobody waits any more
    });
    let task = async move {
        if let Err(cause) = started {
            let message = format!("cannot start a thread for the handler: {cause}");
            return Ending::Failed(Failure::new("error", &message));
        }
        let ending = ended.await;
        ending
            .expect("invariant: the thread sends before it ends")
            .unwrap_or_else(|panic| resume_unwind(panic))
    };
    Started {
        task: tokio::spawn(task),
        abortable: false,
    }
}

fn read<J: Job>(payload: Value) -> Result<J, Ending> {
    serde_json::from_value(payload).map_err(|cause| {
        let message = format!(
            "the payload is no {} (kind {:?}): {cause}",
            std::any::type_name::<J>(),
            J::KIND
        );
        Ending::Dead(Failure::new("payload", &message))
    })
}

/// All handlers of a worker by kind.
pub(crate) type Registry = HashMap<String, Handler>;
