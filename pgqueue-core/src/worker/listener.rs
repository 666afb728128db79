//! Hears what PostgreSQL announces: due jobs on the schema's channel, cancellations on the worker's own.
//!
//! The connection is its own and never reused after a failure. Whatever may have been missed is made up for by a wake-up
//! after every LISTEN; whether notifications really arrive is tried by sending one to itself, since a pooler in
//! transaction mode accepts LISTEN and delivers nothing.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::StreamExt;

use super::engine::Engine;
use super::shutdown::Phase;
use crate::backoff;
use crate::error::{Error, ErrorKind};
use crate::source::{Link, Purpose, answered};

/// How often the connection is tried while nothing is heard.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// How long the answer to a probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// What a probe says. No job has this id.
const PROBE: &str = "probe";

/// Listens until the worker stops, again after every failure.
pub(super) async fn listen_for_ever(engine: Arc<Engine>) {
    let mut failures = 0;
    let mut warned = false;
    while engine.shutdown.phase() < Phase::Stopping {
        let heard = engine.listening.load(Ordering::SeqCst);
        let error = tokio::select! {
            error = listen(&engine) => error,
            () = engine.shutdown.reached(Phase::Stopping) => return,
        };
        failures = if heard || engine.listening.swap(false, Ordering::SeqCst) {
            1
        } else {
            failures + 1
        };
        engine.listening.store(false, Ordering::SeqCst);
        if !warned || failures == 1 {
            tracing::warn!(%error, "no notifications; jobs are found by polling until they come again");
            warned = true;
        }
        let wait =
            backoff::exponential(Duration::from_millis(200), failures).min(Duration::from_secs(15));
        engine
            .sleep_unless(Phase::Stopping, wait.mul_f64(0.5 + fastrand::f64() / 2.0))
            .await;
    }
}

/// Listens on a new connection until it fails.
async fn listen(engine: &Engine) -> Error {
    match hear(engine).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn hear(engine: &Engine) -> Result<std::convert::Infallible, Error> {
    let mut link = Link::new(engine.connections.clone(), Purpose::Other);
    let conn = link.connection().await?;
    loop {
        let mut identity = engine.identity.subscribe();
        let own = own_channel(&engine.channel, *identity.borrow_and_update());
        let channel = quoted(&engine.channel);
        let listen = format!(r#"UNLISTEN *; LISTEN "{channel}"; LISTEN "{own}""#);
        answered(conn.batch_execute(&listen)).await?;
        engine.wakes.wake_all();
        probe(engine, conn, &own).await?;
        loop {
            // A registration under a new id changes the worker's own channel.
            let event = tokio::select! {
                event = next_event(conn, PROBE_INTERVAL) => event?,
                _ = identity.changed() => break,
            };
            match event {
                Some((channel, payload)) => react(engine, &channel, &payload),
                None => probe(engine, conn, &own).await?,
            }
        }
    }
}

/// Gives the channel that reaches one worker.
pub(crate) fn own_channel(channel: &str, worker: i64) -> String {
    format!("{}.{worker}", quoted(channel))
}

fn quoted(channel: &str) -> String {
    channel.replace('"', "\"\"")
}

/// Waits for the next notification; `None`: nothing came within the limit.
async fn next_event(
    conn: &mut AsyncPgConnection,
    limit: Duration,
) -> Result<Option<(String, String)>, Error> {
    let mut stream = pin!(conn.notifications_stream());
    match tokio::time::timeout(limit, stream.next()).await {
        Err(_) => Ok(None),
        Ok(Some(Ok(event))) => Ok(Some((event.channel, event.payload))),
        Ok(Some(Err(error))) => Err(error.into()),
        Ok(None) => Err(Error::new(
            ErrorKind::Connection,
            "the listening connection was closed",
        )),
    }
}

/// Sends itself a notification and waits for it.
async fn probe(engine: &Engine, conn: &mut AsyncPgConnection, own: &str) -> Result<(), Error> {
    let silent = || {
        Error::new(
            ErrorKind::Connection,
            "LISTEN was accepted, but a notification to ourselves did not arrive: \
             behind PgBouncer use a session-mode or direct connection; a custom connection needs `try_from_client_and_connection`",
        )
    };
    let answer = async {
        conn.batch_execute(&format!(r#"NOTIFY "{own}", '{PROBE}'"#))
            .await?;
        loop {
            match next_event(conn, PROBE_LIMIT).await? {
                Some((_, payload)) if payload == PROBE => return Ok(()),
                Some((channel, payload)) => react(engine, &channel, &payload),
                None => return Err(silent()),
            }
        }
    };
    tokio::time::timeout(2 * PROBE_LIMIT, answer)
        .await
        .unwrap_or_else(|_| Err(silent()))?;
    engine.listening.store(true, Ordering::SeqCst);
    Ok(())
}

fn react(engine: &Engine, channel: &str, payload: &str) {
    if channel == engine.channel && payload.is_empty() {
        engine.wakes.ask_to_repoll(); // no queue has an empty name
    } else if channel == engine.channel {
        engine.wakes.wake(payload);
    } else if payload != PROBE {
        engine.cancel_asked.notify_one(); // anybody may send this: the row decides
    }
}
