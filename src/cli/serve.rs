//! Pages, API and jobs.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use granary_metering::{ApiCalls, FLUSH_SECONDS};
use granary_pdf::TypstRenderer;
use granary_tenants::Tenants;
use granary_web::{AppState, Intake, Pace, Stir};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::arguments::{Global, Serve, Worker};
use super::doors::Doors;
use super::house::{House, Rooms, configuration};
use super::listener::Listener;
use super::output::print_json;
use super::progress::Reporter;
use super::tls::Tls;
use super::{Failure, events, metrics, migrate, recovery};

/// Serves until Ctrl-C.
pub(crate) async fn serve(global: &Global, command: Serve) -> Result<ExitCode, Failure> {
    let mut config = configuration(global)?;
    let reporter = Reporter::shared();
    let tls = Tls::of(&config.tls)?;
    let listener = Listener::start(command.listen.unwrap_or(config.server.listen), Arc::clone(&reporter), tls).await?;
    // Letters lead there.
    config.server.listen = listener.address;
    let house = unless_interrupted(House::open_with(config, reporter.port())).await?;
    unless_interrupted(migrate::catch_up(&house)).await?;
    run(house, listener, command.with_worker).await
}

/// Hands the listener the real pages, works if asked to, and ends everything at Ctrl-C.
pub(crate) async fn run(house: House, listener: Listener, with_worker: bool) -> Result<ExitCode, Failure> {
    let api_calls = ApiCalls::default();
    listener.hand_over(granary_web::router(state(&house, listener.is_https, api_calls.clone())));
    let counting = keep_counting(&house, &api_calls);
    let metrics = metrics::listen(&house).await?;
    let doors = Doors::open(&house).await?;
    say!("listening on {} (Ctrl-C stops)", listener.url());
    let (stop, stopped) = watch::channel(false);
    let worker = if with_worker {
        let worker = events::worker(&house).with_crons(events::crons(&house)?);
        let shipping = recovery::keep_shipping(&house, stopped.clone());
        Some((tokio::spawn(async move { worker.run(stopped).await }), shipping))
    } else {
        None
    };
    interrupted().await?;
    say!("stopping");
    // Without a worker nobody listens.
    let _ = stop.send(true);
    tokio::join!(listener.stop(), doors.stop());
    counting.abort();
    write_calls(&house.tenants, &api_calls).await;
    if let Some(metrics) = metrics {
        metrics.stop().await;
    }
    if let Some((worker, shipping)) = worker {
        worker.await?;
        ended(shipping).await?;
    }
    house.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Works until Ctrl-C, or until nothing is left.
pub(crate) async fn worker(global: &Global, command: Worker) -> Result<ExitCode, Failure> {
    if command.until_idle {
        let work = House::with(global, async |house| {
            migrate::catch_up(house).await?;
            Ok(events::worker(house).run_until_idle().await?)
        });
        let ended = unless_interrupted(work).await?;
        print_json(&serde_json::json!({"jobs_ended": ended}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let house = unless_interrupted(House::open(global)).await?;
    unless_interrupted(migrate::catch_up(&house)).await?;
    let metrics = metrics::listen(&house).await?;
    let worker = events::worker(&house);
    let worker = worker.with_crons(events::crons(&house)?);
    let (stop, stopped) = watch::channel(false);
    let shipping = recovery::keep_shipping(&house, stopped.clone());
    let task = tokio::spawn(async move { worker.run(stopped).await });
    interrupted().await?;
    // An error means that the worker has ended by itself.
    let _ = stop.send(true);
    task.await?;
    ended(shipping).await?;
    if let Some(metrics) = metrics {
        metrics.stop().await;
    }
    house.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for the shipping of the log, where there is one.
async fn ended(shipping: Option<tokio::task::JoinHandle<()>>) -> Result<(), Failure> {
    match shipping {
        Some(shipping) => Ok(shipping.await?),
        None => Ok(()),
    }
}

/// A command that was asked to end before it was done.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; run the command again and it goes on from here")]
pub(crate) struct Interrupted;

/// Works until it is done or asked to end. What is dropped then lets go of the embedded Postgres, which runs in a process group
/// of its own and would stay behind.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        outcome = work => outcome,
        interrupted = interrupted() => interrupted.and_then(|()| Err(Interrupted.into())),
    }
}

/// Waits for Ctrl-C or a polite end from outside. One that came between two waits counts too.
pub(crate) async fn interrupted() -> Result<(), Failure> {
    static SEEN: OnceLock<watch::Receiver<bool>> = OnceLock::new();
    let mut seen = match SEEN.get() {
        Some(seen) => seen.clone(),
        None => SEEN.get_or_init(listen()?).clone(),
    };
    Ok(seen.wait_for(|is_seen| *is_seen).await.map(drop)?)
}

fn listen() -> Result<impl FnOnce() -> watch::Receiver<bool>, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(move || {
        let (tell, seen) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tell.send_replace(true);
        });
        seen
    })
}

/// Writes every few seconds what was counted; what is left at the end is written by whoever ends.
fn keep_counting(rooms: &Rooms, calls: &ApiCalls) -> tokio::task::JoinHandle<()> {
    let (tenants, calls) = (rooms.tenants.clone(), calls.clone());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(FLUSH_SECONDS)).await;
            write_calls(&tenants, &calls).await;
        }
    })
}

async fn write_calls(tenants: &Tenants, calls: &ApiCalls) {
    if let Err(error) = calls.flush(tenants).await {
        tracing::warn!(%error, "the calls of programs were not written; the next time writes them too");
    }
}

fn state(rooms: &Rooms, is_https: bool, api_calls: ApiCalls) -> AppState {
    AppState {
        tenants: rooms.tenants.clone(),
        lifecycle: rooms.lifecycle.clone(),
        access: rooms.access.clone(),
        lake: rooms.lake.clone(),
        retention: rooms.retention.clone(),
        warehouse: rooms.warehouse.clone(),
        renderer: Arc::new(TypstRenderer::new()),
        clock: rooms.clock.clone(),
        max_body_bytes: rooms.config.server.max_body_bytes,
        // Two of the largest deliveries, or many usual ones; read as JSON they take several times as much.
        intake: Intake::new(rooms.config.server.max_body_bytes.saturating_mul(2)),
        is_https: is_https || rooms.config.server.behind_https,
        is_behind_proxy: rooms.config.server.behind_https,
        pace: Pace::default(),
        stir: Stir::default(),
        api_calls,
    }
}
