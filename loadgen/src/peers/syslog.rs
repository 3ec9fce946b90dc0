//! rsyslog and syslog-ng, as Debian has them: RFC 5424 over TCP in, a file or Postgres out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::Tools;
use super::process::{Folder, Postgres, Running, free_port, listens};
use super::{Peer, started};
use crate::counter::{Counter, Lines, Sql};
use crate::prepared::Framing;
use crate::server::{Process, Server};
use crate::target::Target;

const RSYSLOG: [&str; 5] = ["rsyslog", "rsyslog-pgsql", "libestr0", "libfastjson4", "liblognorm5"];
const SYSLOG_NG: [&str; 7] =
    ["syslog-ng-core", "libivykis0", "libnet1", "libwrap0", "libpcre3", "syslog-ng-mod-sql", "libdbi1"];

/// The same key and indexes that the Python reference has.
const TABLE: &str = "create table logs (id bigserial primary key, timestamp timestamptz, level text, source text, \
                     application text, message text, metadata text); \
                     create index on logs (timestamp); create index on logs (level, timestamp)";

fn unpacked_libraries(tools: &Tools) -> Vec<PathBuf> {
    let root = tools.unpacked().join("usr/lib");
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    vec![root.join(&triplet), root.join("syslog-ng"), tools.unpacked().join("lib").join(triplet)]
}

/// What an unpacked program needs to find its libraries.
fn command(tools: &Tools, program: &Path) -> Command {
    let mut command = Command::new(program);
    if program.starts_with(tools.unpacked()) {
        let libraries = std::env::join_paths(unpacked_libraries(tools)).unwrap_or_default();
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

/// The first number with a point in what a program says of its version.
fn version(tools: &Tools, program: &Path, argument: &str) -> String {
    let said = command(tools, program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let words = said.split(|c: char| c.is_whitespace() || "(),".contains(c));
    let mut numbers = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    numbers.next().unwrap_or_default().to_owned()
}

pub fn rsyslog_to_file(tools: &Tools) -> Result<Peer, String> {
    let folder = Folder::new("rsyslog")?;
    let out = folder.0.join("out.log");
    let action = format!(
        "action(type=\"omfile\" file=\"{}\" template=\"RSYSLOG_SyslogProtocol23Format\" ioBufferSize=\"64k\")",
        out.display()
    );
    rsyslog(tools, folder, &action, Counter::Lines(Lines::of(out)), None, "TCP into a file")
}

pub fn rsyslog_to_postgres(tools: &Tools) -> Result<Peer, String> {
    let program = tools.program_of("rsyslogd", &RSYSLOG)?;
    if module(tools, &program, "ompgsql.so").is_none() {
        return Err("rsyslog's ompgsql.so is not on this machine: `apt-get install rsyslog-pgsql`".to_owned());
    }
    let postgres = Postgres::start(tools)?;
    let sql = table(&postgres)?;
    let insert = "insert into logs (timestamp, level, source, application, message, metadata) values \
                  ('%timereported:::date-rfc3339%', '%msgid%', '%hostname%', '%app-name%', '%msg%', '%structured-data%')";
    let action = format!(
        "template(name=\"row\" type=\"string\" option.stdsql=\"on\" string=\"{insert}\")\n\
         module(load=\"ompgsql\")\n\
         ruleset(name=\"out\") {{ action(type=\"ompgsql\" server=\"127.0.0.1\" serverport=\"{}\" db=\"logs\" user=\"logs\" \
         template=\"row\" queue.type=\"LinkedList\" queue.size=\"100000\" queue.dequeueBatchSize=\"1000\" \
         queue.workerThreads=\"2\") }}\ncall out",
        postgres.port
    );
    // A template and a module cannot stand within the ruleset that is called.
    let (before, call) = action.rsplit_once('\n').unwrap_or((&action, ""));
    let folder = Folder::new("rsyslog")?;
    let mut peer = rsyslog_with(
        tools,
        folder,
        before,
        call,
        Counter::Sql(sql),
        Some(Process { name: "postgres", pid: postgres.pid() }),
        "TCP into Postgres",
    )?;
    peer.keep.push(Box::new(postgres));
    Ok(peer)
}

/// Makes the table that both write into, and tells how it is asked.
fn table(postgres: &Postgres) -> Result<Sql, String> {
    let sql = Sql {
        psql: postgres.psql.clone(),
        url: postgres.url.clone(),
        count: "select count(*) from logs".to_owned(),
        export: "select 'request_id\":\"' || substring(metadata from 'request_id=\"([0-9a-f]+)') from logs".to_owned(),
        bytes: "select pg_total_relation_size('logs')".to_owned(),
    };
    sql.ask(TABLE).map_err(|error| error.to_string())?;
    Ok(sql)
}

fn rsyslog(
    tools: &Tools,
    folder: Folder,
    action: &str,
    counter: Counter,
    beside: Option<Process>,
    work: &str,
) -> Result<Peer, String> {
    rsyslog_with(tools, folder, "", action, counter, beside, work)
}

fn rsyslog_with(
    tools: &Tools,
    folder: Folder,
    before: &str,
    action: &str,
    counter: Counter,
    beside: Option<Process>,
    work: &str,
) -> Result<Peer, String> {
    let program = tools.program_of("rsyslogd", &RSYSLOG)?;
    let port = free_port()?;
    let config = format!(
        "global(workDirectory=\"{}\" maxMessageSize=\"64k\")\nmodule(load=\"imtcp\" maxSessions=\"200\")\n{before}\n\
         ruleset(name=\"in\") {{ {action} }}\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"in\")\n",
        folder.0.display()
    );
    let file = folder.0.join("rsyslog.conf");
    fs::write(&file, config).map_err(|error| error.to_string())?;
    let mut start = command(tools, &program);
    start.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.0.join("pid"));
    if let Some(folder) = module(tools, &program, "imtcp.so").and_then(|file| file.parent().map(Path::to_owned)) {
        start.arg("-M").arg(folder);
    }
    let mut running = Running::start(&mut start, &folder.0.join("log"))?;
    running.wait_until(|| listens(port))?;
    let name = format!("rsyslog {}", version(tools, &program, "-v"));
    let processes = [Process { name: "rsyslog", pid: running.pid() }].into_iter().chain(beside).collect();
    let server = Server::with(format!("127.0.0.1:{port}"), processes, Target::Syslog(Framing::Octets), counter);
    Ok(started(name, work, server, vec![Box::new(running), Box::new(folder)]))
}

/// One of rsyslog's modules, of the program that is used.
fn module(tools: &Tools, program: &Path, name: &str) -> Option<PathBuf> {
    let triplet = format!("usr/lib/{}-linux-gnu/rsyslog", std::env::consts::ARCH);
    let root = if program.starts_with(tools.unpacked()) { tools.unpacked() } else { PathBuf::from("/") };
    Some(root.join(triplet).join(name)).filter(|file| file.is_file())
}

pub fn syslog_ng_to_file(tools: &Tools) -> Result<Peer, String> {
    let folder = Folder::new("syslog-ng")?;
    let out = folder.0.join("out.log");
    let destination =
        format!("file(\"{}\" template(\"<$PRI>1 $ISODATE $HOST $PROGRAM $PID $MSGID $SDATA $MSG\\n\"))", out.display());
    syslog_ng(tools, folder, &destination, Counter::Lines(Lines::of(out)), None, "TCP into a file")
}

/// By its `sql()`, 1,000 INSERTs a transaction: it has no other way.
pub fn syslog_ng_to_postgres(tools: &Tools) -> Result<Peer, String> {
    // libdbi looks for its drivers in one place only, so that it is no use to unpack them elsewhere.
    if !PathBuf::from(format!("/usr/lib/{}-linux-gnu/dbd/libdbdpgsql.so", std::env::consts::ARCH)).is_file() {
        return Err("libdbi's driver for Postgres is not on this machine: `apt-get install libdbd-pgsql`".to_owned());
    }
    let postgres = Postgres::start(tools)?;
    let sql = table(&postgres)?;
    let destination = format!(
        "sql(type(pgsql) host(\"127.0.0.1\") port(\"{}\") username(\"logs\") password(\"\") database(\"logs\") \
         table(\"logs\") columns(\"timestamp\", \"level\", \"source\", \"application\", \"message\", \
         \"metadata\") values(\"$ISODATE\", \"$MSGID\", \"$HOST\", \"$PROGRAM\", \"$MSG\", \"$SDATA\") \
         flush-lines(1000) flags(explicit-commits))",
        postgres.port
    );
    let folder = Folder::new("syslog-ng")?;
    let beside = Some(Process { name: "postgres", pid: postgres.pid() });
    let mut peer = syslog_ng(tools, folder, &destination, Counter::Sql(sql), beside, "TCP into Postgres")?;
    peer.keep.push(Box::new(postgres));
    Ok(peer)
}

fn syslog_ng(
    tools: &Tools,
    folder: Folder,
    destination: &str,
    counter: Counter,
    beside: Option<Process>,
    work: &str,
) -> Result<Peer, String> {
    let program = tools.program_of("syslog-ng", &SYSLOG_NG)?;
    let version = version(tools, &program, "--version");
    let short: Vec<&str> = version.split('.').take(2).collect();
    let port = free_port()?;
    let config = format!(
        "@version: {}\noptions {{ keep-hostname(yes); use-dns(no); flush-lines(1000); stats-freq(0); }};\n\
         source in {{ syslog(transport(\"tcp\") ip(\"127.0.0.1\") port({port}) max-connections(100) \
         log-iw-size(100000) log-fetch-limit(1000)); }};\n\
         destination out {{ {destination}; }};\n\
         log {{ source(in); destination(out); flags(flow-control); }};\n",
        short.join(".")
    );
    let file = folder.0.join("syslog-ng.conf");
    fs::write(&file, config).map_err(|error| error.to_string())?;
    let mut start = command(tools, &program);
    start.args(["-F", "--no-caps", "-f"]).arg(&file).arg("-p").arg(folder.0.join("pid"));
    start.arg("-R").arg(folder.0.join("persist")).arg("-c").arg(folder.0.join("ctl"));
    if program.starts_with(tools.unpacked()) {
        start.arg("--module-path").arg(tools.unpacked().join("usr/lib/syslog-ng/").join(short.join(".")));
    }
    let mut running = Running::start(&mut start, &folder.0.join("log"))?;
    running.wait_until(|| listens(port))?;
    let name = format!("syslog-ng {version}");
    let processes = [Process { name: "syslog-ng", pid: running.pid() }].into_iter().chain(beside).collect();
    let server = Server::with(format!("127.0.0.1:{port}"), processes, Target::Syslog(Framing::Octets), counter);
    Ok(started(name, work, server, vec![Box::new(running), Box::new(folder)]))
}
