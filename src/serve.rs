//! `logboom serve`: engine and sidecar in one process, from the first line on the terminal to a graceful stop.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use engine::{Durability, Upstream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::Failure;
use crate::cli::Serve;
use crate::config::{Config, Settings};

/// Where `--dev` finds the dashboard's files.
const DASHBOARD_FOLDER: &str = "api/dashboard";
/// Threads that wait for sockets of the sidecar; queries run elsewhere.
const SIDECAR_THREADS: usize = 2;
/// What an exit by a signal looks like to a shell.
const EXIT_BY_SIGNAL: i32 = 128;

pub fn run(config: Config, options: &Serve) -> Result<ExitCode, Failure> {
    tell_on_stderr(&config.settings.log_level)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let Settings { engine: mut settings, api, .. } = config.settings;
    raise_open_files(&settings);
    let dashboard_folder = options.dev.then(|| PathBuf::from(DASHBOARD_FOLDER));
    if let Some(folder) = &dashboard_folder {
        settings.shards = 1;
        if !folder.join("index.html").is_file() {
            return Err(
                format!("--dev: there is no {DASHBOARD_FOLDER}/index.html here: start it in the source tree").into()
            );
        }
    }
    // glommio opens relative paths from no folder at all.
    settings.data_dir = std::path::absolute(&settings.data_dir)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SIDECAR_THREADS)
        .thread_name("sidecar")
        .enable_all()
        .build()?;
    // Before anything is started, so that a signal that comes early is not lost.
    let mut signals = runtime.block_on(async { Signals::new() })?;

    // The sidecar listens before the engine does, so that no request finds it missing.
    let sidecar = match settings.api_upstream {
        Some(_) => None,
        None => {
            let name = format!("logboom-{}-{:x}", std::process::id(), std::time::UNIX_EPOCH.elapsed()?.as_nanos());
            settings.api_upstream = Some(Upstream::Abstract(name.clone()));
            let listen = api::Listen::Abstract(name);
            let server = runtime.block_on(async { api::Server::bind(&listen) })?;
            Some((server, api::ApiConfig { dashboard_folder, ..api_config(listen, &settings, api) }))
        }
    };
    let shown = settings.clone();
    let running = engine::start(settings)?;
    let (stop_sidecar, stopped) = tokio::sync::oneshot::channel::<()>();
    let sidecar = sidecar.map(|(server, config)| {
        let stopped = async {
            let _ = stopped.await;
        };
        runtime.spawn(server.serve(config, running.reader(), running.tail(), stopped))
    });

    let address = running.local_addr();
    if !address.ip().is_loopback() {
        tracing::warn!(
            "{address} can be reached from outside, and there is no authentication yet: let nobody near it who may not read and write all logs"
        );
    }
    greet(address, &shown);

    let first = runtime.block_on(signals.next());
    tracing::info!("{first}: stopping; once more to stop at once");
    runtime.spawn(async move {
        signals.next().await;
        std::process::exit(EXIT_BY_SIGNAL + SignalKind::terminate().as_raw_value());
    });
    let _ = stop_sidecar.send(());
    running.stop();
    if let Some(sidecar) = sidecar {
        runtime.block_on(sidecar)?;
    }
    // A query that does not end must not hold the process: nothing of it is worth keeping.
    runtime.shutdown_timeout(Duration::from_secs(1));
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn api_config(listen: api::Listen, engine: &engine::Config, limits: crate::config::Sidecar) -> api::ApiConfig {
    api::ApiConfig {
        origins: engine.origins.clone(),
        timezone: engine.timezone.clone(),
        query_seconds_max: engine.query_timeout.as_secs().max(1),
        queries_max: limits.queries_max,
        exports_max: limits.exports_max,
        viewers_max: limits.viewers_max,
        connections_max: engine.connections_max,
        stop_seconds_max: engine.stop_timeout.as_secs().max(1),
        ..api::ApiConfig::new(listen)
    }
}

/// One line an event, on stderr; colours only for people.
fn tell_on_stderr(level: &str) -> Result<(), Failure> {
    // glommio tells of every ring it makes.
    let filter = EnvFilter::try_new(format!("glommio=warn,{level}"))
        .map_err(|error| format!("log_level = `{level}`: {error}; write error, warn, info, debug or trace"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

/// Every connection is an open file, and the usual soft limit of 1,024 is for programs that use select.
fn raise_open_files(config: &engine::Config) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = config.open_files.min(maximum.unwrap_or(u64::MAX));
    if current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        if let Err(error) = raised {
            tracing::warn!("the limit of open files stays at {current:?}: {error}");
        }
    }
}

/// What runs where, where the data is, and something to try.
fn greet(address: std::net::SocketAddr, config: &engine::Config) {
    let promise = match config.durability {
        Durability::Sync => "on disk before it is acknowledged",
        Durability::Flush => "with the kernel before it is acknowledged; --durability sync outlives the machine",
    };
    let shards = if config.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", config.shards) };
    let text = format!(
        r#"Logboom {version}
  takes logs   http://{address}/data/  ({shards}, {promise})
  dashboard    http://{address}/
  API          http://{address}/api/docs
  data         {data}

Try it:
  curl -X POST http://{address}/data/fast -H "Content-Type: application/json" -d '{{"timestamp": "2025-11-11T16:00:00", "level": "ERROR",
    "source": "web-server", "application": "api", "message": "Database connection failed", "metadata": {{"user_id": 12345}}}}'
"#,
        version = env!("CARGO_PKG_VERSION"),
        data = config.data_dir.display(),
    );
    // Nobody may be reading.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
