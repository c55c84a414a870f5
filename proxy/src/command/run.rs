//! `ownergate`: the proxy itself, from checked settings to its end. This is the control plane, on the main thread;
//! exchanges have threads of their own.

use std::{
    cell::Cell, ffi::OsString, future::pending, io, path::PathBuf, process::ExitStatus, rc::Rc, sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ownergate::{
    config::Address,
    serve::{
        Control, Drained, Proxy, Telemetry,
        admin::{self, Admin, Phase, Readiness},
        child::Backend,
        jwks::Pace,
        log::{Logger, LostLines},
        metrics::{Metrics, Sight},
        reload::{Load, Reloader},
        systemd::{self, Inherited},
        trace::Exporter,
    },
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_local,
    time::{interval, sleep},
};
use tracing::{error, info, warn};

use super::{
    CommandFault,
    check::{access_text, keys_text},
    load::{self, Loaded},
};

/// Between two times that metrics are summed up. Until then every sample takes memory.
const SUM_UP: Duration = Duration::from_secs(1);

/// The backend that the proxy is to supervise.
pub(super) struct Supervised {
    /// The program and its arguments.
    pub(super) command: Vec<OsString>,
    /// Environment variables that it must not see.
    pub(super) secrets: Vec<String>,
}

/// What operators read.
struct Instruments<'a> {
    logger: &'a Logger,
    metrics: Metrics,
}

/// Serves until a signal or the backend's end. Runs within a [`tokio::task::LocalSet`].
///
/// # Errors
/// What kept the proxy from starting, or ended it against the operator's will.
pub(super) async fn run(
    loaded: Loaded,
    load: Box<Load>,
    logger: &Logger,
    supervised: Option<Supervised>,
    inherited: Inherited,
) -> Result<(), CommandFault> {
    let Loaded { config, files, warnings } = loaded;
    // Before keys are read, which is counted.
    let instruments = Instruments { logger, metrics: Metrics::start().map_err(anyhow::Error::from)? };
    let fetcher = load::fetcher(&config);
    let keys = load::open_keys(&config, &fetcher).await?;
    let state = load::prepare(config, keys)?;
    for warning in &warnings {
        warn!("{warning}");
    }
    if inherited.count() > 0 && !state.config.server.listen.iter().any(|address| matches!(address, Address::Systemd(_)))
    {
        warn!("the service manager has passed sockets that nothing listens on: put \"systemd\" into server.listen");
    }
    let exporter = state.config.traces.as_ref().map(|traces| Exporter::new(traces, fetcher.clone()));
    let (exporter, spans) = exporter.unzip();
    let proxy = Proxy::bind(state, Arc::new(Telemetry { spans }), inherited).map_err(anyhow::Error::from)?;
    let export = exporter.map(Exporter::start);
    let reloader = Reloader::new(load, proxy.control(), logger.threshold.clone(), fetcher, Pace::default());
    let ended = operate(proxy, Rc::new(reloader), files, &instruments, supervised).await;
    if let Some(export) = export {
        export.finish().await;
    }
    Ok(ended?)
}

async fn operate(
    proxy: Proxy,
    reloader: Rc<Reloader>,
    files: Vec<PathBuf>,
    instruments: &Instruments<'_>,
    supervised: Option<Supervised>,
) -> Result<()> {
    let mut signals = Signals::listen()?;
    let control = proxy.control();
    let phase = Rc::new(Cell::new(Phase::Starting));
    inform(&control, &reloader, &phase, instruments)?;
    let mut backend = supervised.map(|it| Backend::start(&it.command, &it.secrets)).transpose()?;
    if let Some(group) = backend.as_ref().and_then(Backend::group) {
        spawn_local(async move { report("passing signals on", group.pass_signals_on().await) });
    }
    let grace = control.state().config.timeouts.drain;
    tokio::select! {
        accepted = accepts(backend.as_mut(), &control) => accepted?,
        name = signals.next() => {
            info!(signal = name, "stopped before the backend accepted a connection");
            return stop(backend, grace).await;
        }
    }
    phase.set(Phase::Serving);
    tell(&control);
    systemd::tell_ready();
    spawn_local(async move { report("reloading", reloader.run(files).await) });
    serve(proxy, signals, backend.as_mut(), &phase).await?;
    stop(backend, grace).await
}

/// Serves until there is reason to stop, and drains.
async fn serve(proxy: Proxy, mut signals: Signals, backend: Option<&mut Backend>, phase: &Cell<Phase>) -> Result<()> {
    let mut again = Signals::listen()?;
    let control = proxy.control();
    let mut died = None;
    let drain = || {
        phase.set(Phase::Draining);
        systemd::tell_stopping();
    };
    let shutdown = async {
        tokio::select! {
            name = signals.next() => {
                info!(signal = name, "draining");
                drain();
                sleep(control.state().config.timeouts.drain_delay).await;
            }
            status = ended(backend) => {
                error!(%status, "the backend ended: draining");
                drain();
                died = Some(status);
            }
        }
    };
    let impatience = async {
        again.next().await;
        again.next().await
    };
    tokio::select! {
        drained = proxy.run(shutdown) => match drained? {
            Drained::Whole => info!("drained"),
            Drained::Cut(connections) => warn!(connections, "the drain time is over: connections were cut"),
        },
        name = impatience => bail!("a second {name} cut the drain short"),
    }
    match died {
        Some(status) => bail!("the backend ended ({status})"),
        None => Ok(()),
    }
}

/// Starts the listener for operators, and what it tells of.
fn inform(
    control: &Control,
    reloader: &Rc<Reloader>,
    phase: &Rc<Cell<Phase>>,
    instruments: &Instruments<'_>,
) -> Result<()> {
    let Instruments { logger, metrics } = instruments;
    spawn_local(sum_up(metrics.clone(), control.clone(), logger.lost.clone()));
    let state = control.state();
    let Some(address) = &state.config.server.admin else { return Ok(()) };
    let listener = admin::bind(address, state.config.server.sockets)
        .with_context(|| format!("cannot listen on {address} (--admin)"))?;
    let jwks = {
        let control = control.clone();
        move || control.state().jwks().map(str::to_owned)
    };
    let (control, reloader, phase) = (control.clone(), Rc::clone(reloader), Rc::clone(phase));
    let readiness = move || Readiness::new(phase.get(), control.state().keys.report(), reloader.fault());
    let admin = Admin { readiness, metrics: metrics.clone(), threshold: logger.threshold.clone(), jwks };
    spawn_local(admin.serve(listener));
    Ok(())
}

async fn sum_up(metrics: Metrics, control: Control, lost: LostLines) {
    let mut ticks = interval(SUM_UP);
    loop {
        ticks.tick().await;
        metrics.look(&Sight { control: &control, lost: &lost });
        metrics.sum_up();
    }
}

/// Returns once the backend accepts connections at the first upstream; at once, if there is none to wait for.
async fn accepts(backend: Option<&mut Backend>, control: &Control) -> Result<()> {
    let state = control.state();
    let endpoint = state.config.upstreams.first().and_then(|upstream| upstream.endpoints.first());
    if let (Some(backend), Some(endpoint)) = (backend, endpoint) {
        backend.accepts(endpoint).await?;
    }
    Ok(())
}

/// Returns when the backend has ended; never, if there is none.
async fn ended(backend: Option<&mut Backend>) -> ExitStatus {
    match backend {
        Some(backend) => backend.ended().await,
        None => pending().await,
    }
}

async fn stop(backend: Option<Backend>, grace: Duration) -> Result<()> {
    if let Some(backend) = backend {
        let status = backend.stop(grace).await;
        info!(%status, "the backend has stopped");
    }
    Ok(())
}

fn report(what: &str, result: io::Result<()>) {
    if let Err(fault) = result {
        error!(%fault, "{what} has ended");
    }
}

/// Tells what is served, where, and by whose word.
fn tell(control: &Control) {
    let state = control.state();
    for issuer in &state.config.issuers {
        info!(name = &*issuer.rules.name, keys = keys_text(&issuer.keys), "issuer");
    }
    for upstream in &state.config.upstreams {
        let endpoints: Vec<String> = upstream.endpoints.iter().map(ToString::to_string).collect();
        info!(name = &*upstream.name, endpoints = endpoints.join(", "), "upstream");
    }
    for route in state.config.policy.routes() {
        info!(path = route.pattern.as_str(), access = access_text(&route.access), "route");
    }
    for address in control.addresses() {
        info!(%address, "listening");
    }
    if let Some(address) = &state.config.server.admin {
        info!(%address, "listening for operators");
    }
}

/// The signals that stop the proxy.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
