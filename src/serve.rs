//! `logboom serve`: engine and sidecar in one process, from the first line on the terminal to a graceful stop; and
//! `logboom engine`, `worker` and `api`: the same parts in processes of their own.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use engine::servers::Servers;
use engine::tail::Tail;
use engine::{Durability, Role, Upstream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::Failure;
use crate::cli::Serve;
use crate::config::{Config, Settings};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where `--dev` finds the dashboard's files.
const DASHBOARD_FOLDER: &str = "api/dashboard";
/// Threads that wait for sockets of the sidecar; queries run elsewhere.
const SIDECAR_THREADS: usize = 2;
/// What an exit by a signal looks like to a shell.
const EXIT_BY_SIGNAL: i32 = 128;

/// All in one process.
pub fn serve(config: Config, options: &Serve) -> Result<ExitCode, Failure> {
    let dashboard_folder = options.dev.then(|| PathBuf::from(DASHBOARD_FOLDER));
    let Settings { engine: mut settings, api, .. } = begin(config)?;
    if let Some(folder) = &dashboard_folder {
        settings.shards = 1;
        if !folder.join("index.html").is_file() {
            return Err(
                format!("--dev: there is no {DASHBOARD_FOLDER}/index.html here: start it in the source tree").into()
            );
        }
    }
    let (runtime, signals) = runtime()?;
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
    let running = engine::start(settings, Role::Serve)?;
    let (stop_sidecar, stopped) = tokio::sync::oneshot::channel::<()>();
    let sidecar = sidecar.zip(running.reader()).map(|((server, config), reader)| {
        let stopped = async {
            let _ = stopped.await;
        };
        runtime.spawn(server.serve(config, reader, running.tail(), stopped))
    });
    warn_of_outsiders(running.local_addr());
    greet(running.local_addr(), &shown);

    until_told(&runtime, signals);
    let _ = stop_sidecar.send(());
    running.stop();
    if let Some(sidecar) = sidecar {
        runtime.block_on(sidecar)?;
    }
    end(runtime)
}

/// Takes logs, and hands them on.
pub fn engine(config: Config) -> Result<ExitCode, Failure> {
    let Settings { engine: settings, .. } = begin(config)?;
    let (runtime, signals) = runtime()?;
    let running = engine::start(settings, Role::Engine)?;
    warn_of_outsiders(running.local_addr());
    say(&format!("Logboom {VERSION}\n  takes logs   http://{}/data/\n", running.local_addr()));
    until_told(&runtime, signals);
    running.stop();
    end(runtime)
}

/// Takes batches out of Redis, and stores them in Postgres.
pub fn worker(config: Config) -> Result<ExitCode, Failure> {
    let Settings { engine: settings, .. } = begin(config)?;
    match (&settings.redis_url, &settings.db_url) {
        (Some(_), Some(_)) => {}
        (Some(_), None) => return Err("a worker needs a Postgres to store in: set DB_URL, or --db-url".into()),
        (None, _) => {
            return Err("a worker needs a Redis to take from: set REDIS_URL, or --redis-url; \
                without one the engine stores what it takes itself"
                .into());
        }
    }
    let (runtime, signals) = runtime()?;
    let workers = settings.workers;
    let servers = Servers::start(settings.into())?;
    servers.start_workers();
    servers.start_upkeep(|| None);
    say(&format!("Logboom {VERSION}\n  {workers} workers take from Redis into Postgres\n"));
    until_told(&runtime, signals);
    servers.stop();
    end(runtime)
}

/// Answers queries, and shows logs as they come.
pub fn sidecar(config: Config) -> Result<ExitCode, Failure> {
    let Settings { engine: settings, api, .. } = begin(config)?;
    if settings.db_url.is_none() {
        return Err("a sidecar of its own reads from Postgres: set DB_URL, or --db-url; \
            `logboom serve` has the one for the files of its folder"
            .into());
    }
    let (runtime, signals) = runtime()?;
    let listen = api::Listen::Tcp(settings.api_listen);
    let server = runtime.block_on(async { api::Server::bind(&listen) })?;
    let api_config = api_config(listen, &settings, api);
    let address = server.address().clone();
    let servers = Servers::start(settings.into())?;
    let tail = Tail::default();
    servers.watch(&tail);
    let reader = servers.reader().ok_or("there is no store to read from")?;
    let (stop_sidecar, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(server.serve(api_config, reader, tail, async {
        let _ = stopped.await;
    }));
    if let api::Listen::Tcp(address) = address {
        warn_of_outsiders(address);
        say(&format!(
            "Logboom {VERSION}\n  answers      http://{address}/  (engines relay to it with --api-upstream {address})\n"
        ));
    }
    until_told(&runtime, signals);
    let _ = stop_sidecar.send(());
    runtime.block_on(serving)?;
    servers.stop();
    end(runtime)
}

/// What every one of them does first.
fn begin(config: Config) -> Result<Settings, Failure> {
    tell_on_stderr(&config.settings.log_level)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut settings = config.settings;
    raise_open_files(&settings.engine);
    // glommio opens relative paths from no folder at all.
    settings.engine.data_dir = std::path::absolute(&settings.engine.data_dir)?;
    Ok(settings)
}

/// Signals are watched before anything is started, so that one that comes early is not lost.
fn runtime() -> Result<(Runtime, Signals), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SIDECAR_THREADS)
        .thread_name("sidecar")
        .enable_all()
        .build()?;
    let signals = runtime.block_on(async { Signals::new() })?;
    Ok((runtime, signals))
}

/// Waits for the first signal; the second one ends the process at once.
fn until_told(runtime: &Runtime, mut signals: Signals) {
    let first = runtime.block_on(signals.next());
    tracing::info!("{first}: stopping; once more to stop at once");
    runtime.spawn(async move {
        signals.next().await;
        std::process::exit(EXIT_BY_SIGNAL + SignalKind::terminate().as_raw_value());
    });
}

fn end(runtime: Runtime) -> Result<ExitCode, Failure> {
    // A query that does not end must not hold the process: nothing of it is worth keeping.
    runtime.shutdown_timeout(Duration::from_secs(1));
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn warn_of_outsiders(address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            "{address} can be reached from outside, and there is no authentication yet: let nobody near it who may not read and write all logs"
        );
    }
}

/// Nobody may be reading.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
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
        version = VERSION,
        data = config.data_dir.display(),
    );
    say(&text);
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
