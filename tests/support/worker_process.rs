//! The program of a worker process, see `process.rs`.

use std::io::{BufRead, Write};
use std::time::Duration;

use diesel_async::{AsyncConnection, RunQueryDsl};
use pgqueue_core::{BoxError, Context, ErrorKind, Worker};
use pgqueue_suite::process::{Act, Grind, SETTINGS, Settings};
use tokio::sync::watch;

type Gate = watch::Receiver<bool>;

fn main() -> Result<(), BoxError> {
    let settings: Settings = serde_json::from_str(&std::env::var(SETTINGS)?)?;
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "pgqueue_core=info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .init();
    std::panic::set_hook(Box::new(|panic| say(format_args!("{panic}"))));
    let gate = read_gate();
    if settings.actix {
        return actix_web::rt::System::new().block_on(beside_actix(settings, gate));
    }
    let mut runtime = match settings.threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(threads);
            runtime
        }
    };
    runtime.enable_all().build()?.block_on(work(settings, gate))
}

async fn work(settings: Settings, gate: Gate) -> Result<(), BoxError> {
    worker(&settings, gate)?.run_until_signal().await?;
    say(format_args!("stopped"));
    Ok(())
}

/// As a host does that serves the web and works in one process, both with the signal handling they come with.
async fn beside_actix(settings: Settings, gate: Gate) -> Result<(), BoxError> {
    let server = actix_web::HttpServer::new(actix_web::App::new)
        .workers(1)
        .bind(("127.0.0.1", 0))?
        .run();
    let served = async {
        server.await?;
        say(format_args!("server stopped"));
        Ok(())
    };
    let (served, worked): (Result<(), BoxError>, _) = tokio::join!(served, work(settings, gate));
    served.and(worked)
}

fn worker(settings: &Settings, gate: Gate) -> Result<Worker, BoxError> {
    let worker = Worker::builder(settings.url.as_str())
        .state(gate)
        .name(settings.name.as_str())
        .lease(settings.lease)
        .lost_base_wait(Duration::ZERO)
        .retry_base_wait(Duration::from_millis(100))
        .max_lost(settings.max_lost)
        .concurrency(settings.concurrency)
        .shutdown_grace(settings.grace)
        .handle(act)
        .handle_blocking(grind)
        .build()?;
    Ok(worker)
}

async fn act(act: Act, ctx: Context<Gate>) -> Result<(), BoxError> {
    say(format_args!("began {} attempt {}", ctx.id(), ctx.attempt()));
    let mut gate = ctx.state().clone();
    match act {
        Act::Return => {}
        Act::Wait => {
            gate.wait_for(|open| *open).await?;
        }
        Act::CompleteIn => {
            gate.wait_for(|open| *open).await?;
            complete_in(&ctx).await?;
        }
        Act::Block(length) => std::thread::sleep(length),
        Act::Never => std::future::pending().await,
        Act::Panic => std::panic::panic_any("as it was told to"),
        Act::Abort => std::process::abort(),
    }
    say(format_args!("ended {}", ctx.id()));
    Ok(())
}

async fn complete_in(ctx: &Context<Gate>) -> Result<(), BoxError> {
    let mut conn = ctx.connection().await?;
    let written = conn
        .transaction(async |conn| {
            let effect = diesel::sql_query("INSERT INTO effects (job, token) VALUES ($1, $2)")
                .bind::<diesel::sql_types::BigInt, _>(ctx.id())
                .bind::<diesel::sql_types::BigInt, _>(ctx.fencing_token());
            effect.execute(conn).await?;
            ctx.complete_in_async(conn).await
        })
        .await;
    if let Err(error) = &written
        && pgqueue_core::Error::of(error).is_some_and(|error| error.kind() == ErrorKind::LeaseLost)
    {
        say(format_args!("refused {}", ctx.id()));
    }
    Ok(written?)
}

fn grind(job: Grind, ctx: Context<Gate>) -> Result<(), BoxError> {
    say(format_args!("began {} attempt {}", ctx.id(), ctx.attempt()));
    std::thread::sleep(job.0);
    say(format_args!("ended {}", ctx.id()));
    Ok(())
}

/// Opens the gate at the first line, and ends the process when whoever started it is gone.
fn read_gate() -> Gate {
    let (opener, gate) = watch::channel(false);
    std::thread::spawn(move || {
        for _line in std::io::stdin().lock().lines().map_while(Result::ok) {
            opener.send_replace(true);
        }
        std::process::exit(3);
    });
    gate
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: then the process ends by the end of its stdin.
    let _gone = writeln!(out, "{line}").and_then(|()| out.flush());
}
