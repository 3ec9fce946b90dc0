//! The Python reference: the same doors, with Redis Streams, a pool of workers and Postgres.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::Tools;
use super::process::{Folder, Running, free_port};
use super::{Peer, started};
use crate::counter::{Counter, Sql};
use crate::server::{Process, Server};
use crate::target::Target;

pub const FOLDER: &str = "benches/peers/fastapi-baseline";
const NAME: &str = "Python reference (FastAPI, Redis, Postgres)";

pub fn start(tools: &Tools, work: &str, target: Target) -> Result<Peer, String> {
    let script = Path::new(FOLDER).join("run.sh");
    if !script.is_file() {
        return Err(format!("{} is not here: run it in a checkout of the project", script.display()));
    }
    for (program, package) in [("redis-server", "redis-server"), ("psql", "postgresql")] {
        if tools.program(program).is_none() {
            return Err(format!("{program} is not on this machine: `apt-get install {package}`"));
        }
    }
    let requirements = Path::new(FOLDER).join("requirements.txt");
    let venv = tools.python("baseline", &["-r", &requirements.to_string_lossy()], "uvicorn, asyncpg, redis, uvloop")?;
    let venv = std::path::absolute(venv).map_err(|error| error.to_string())?;
    let folder = Folder::new("baseline")?;
    // Three ports in a row are wanted; each has a name of its own.
    let (port, redis, postgres) = (free_port()?, free_port()?, free_port()?);
    let mut command = Command::new("bash");
    command.arg(&script).args(["--port", &port.to_string()]).env("BASELINE_VENV", &venv);
    command.env("REDIS_PORT", redis.to_string()).env("PG_PORT", postgres.to_string());
    let mut running = Running::start(&mut command, &folder.0.join("log"))?;
    let log = folder.0.join("log");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    running.wait_until(|| said().contains("ready http://"))?;
    let said = said();
    let env: PathBuf = said
        .lines()
        .find(|line| line.starts_with("ready "))
        .and_then(|line| line.rsplit_once(": "))
        .map(|(_, path)| path.trim().into())
        .ok_or("it does not say where its env file is")?;
    let env = std::fs::read_to_string(&env).map_err(|error| format!("{}: {error}", env.display()))?;
    let processes = [("API_PID", "api"), ("POOL_PID", "workers"), ("REDIS_PID", "redis"), ("PG_PID", "postgres")]
        .into_iter()
        .filter_map(|(word, name)| {
            let pid =
                env.split_whitespace().find_map(|pair| pair.strip_prefix(word)?.strip_prefix('=')?.parse().ok())?;
            Some(Process { name, pid })
        })
        .collect();
    let sql = Sql {
        psql: tools.program("psql").unwrap_or_else(|| "psql".into()),
        url: format!("postgresql://logs@127.0.0.1:{postgres}/logs"),
        count: "select count(*) from logs".to_owned(),
        export: "select 'request_id\":\"' || (metadata->>'request_id') from logs".to_owned(),
        bytes: "select pg_total_relation_size('logs')".to_owned(),
    };
    let server = Server::with(format!("127.0.0.1:{port}"), processes, target, Counter::Sql(sql));
    Ok(started(NAME.to_owned(), work, server, vec![Box::new(running), Box::new(folder)]))
}
