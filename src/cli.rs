//! The command line. Flags of settings are made from the one list in [`crate::config`].

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::{SETTINGS, Setting};

/// Takes logs in at the speed of the machine; finds them and shows them live.
#[derive(Debug, Parser)]
#[command(name = "logboom", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub config: ConfigFile,
}

#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// A settings file instead of ./logboom.toml
    #[arg(long = "config", value_name = "FILE", env = "LOGBOOM_CONFIG", global = true)]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take logs, keep them, and show them: all of Logboom in one process (what `logboom` alone does)
    Serve(Serve),
    /// Take logs and hand them on to Redis or Postgres: the engine alone
    Engine,
    /// Store in Postgres what engines have put into Redis; as many processes of it as are wanted
    Worker,
    /// Answer queries from Postgres, and show logs as they come: the sidecar alone
    Api,
    /// Read lines, of whatever format, and print a JSON record for each
    Parse(Parse),
    /// Show logs as they arrive
    Tail(Tail),
    /// Find logs
    Query(Query),
    /// Make up logs, the same ones each time, in any format
    Generate(crate::generate::Generate),
    /// Measure a server under load, beside what this machine can do at most
    Bench(crate::bench::Bench),
    /// Say what on this machine is in the way, and how to mend it
    Doctor,
    /// Check the local log and the store of a data folder that is not in use
    Fsck(Fsck),
    /// Copy a data folder, in use or not, into one that starts by itself
    Snapshot(Snapshot),
    /// Bring the Postgres of db_url to this version's schema
    Migrate(Migrate),
    /// Look at the records that Postgres has refused, try them again, throw them away
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Show the settings in force, and where each came from
    Config(Config),
}

#[derive(Debug, Default, Args)]
pub struct Serve {
    /// For work on the dashboard: one shard, the page's files from ./api/dashboard, reloaded when they change
    #[arg(long)]
    pub dev: bool,
}

#[derive(Debug, Args)]
pub struct Parse {
    /// Files to read, gzip and zstd as well; none, or -: standard input
    pub files: Vec<PathBuf>,
    /// Hold every line to this format or pattern instead of finding it out (GET /parse/formats and /parse/patterns list
    /// them; the settings may add more)
    #[arg(long, conflicts_with = "pattern")]
    pub format: Option<String>,
    /// Hold every line to a regular expression with named groups, or a grok expression
    #[arg(long, value_name = "EXPRESSION")]
    pub pattern: Option<String>,
    /// The shape of the pattern's times, as %d.%m.%Y %H:%M:%S
    #[arg(long, requires = "pattern")]
    pub time_format: Option<String>,
    /// Join lines into records: indent, or start: and the expression with which records begin
    #[arg(long, value_name = "RULE")]
    pub multiline: Option<String>,
    /// Where times without a zone are taken to be; default: as the settings say
    #[arg(long)]
    pub timezone: Option<String>,
    /// Leave logs that are wrapped in a log as they are
    #[arg(long)]
    pub no_unwrap: bool,
    /// Source of records whose line names none
    #[arg(long, default_value = "")]
    pub source: String,
    /// Application of records whose line names none
    #[arg(long, default_value = "")]
    pub application: String,
    /// Say at the end how many lines were of which format, and how fast it went
    #[arg(long)]
    pub stats: bool,
}

/// The filters of `GET /logs/`, by the same names.
#[derive(Debug, Args)]
pub struct Filters {
    /// Only these levels, with commas between
    #[arg(long)]
    pub level: Option<String>,
    /// Only this level and above
    #[arg(long)]
    pub level_min: Option<String>,
    /// Only this source
    #[arg(long)]
    pub source: Option<String>,
    /// Only this application
    #[arg(long)]
    pub application: Option<String>,
    /// Only records whose metadata has this value
    #[arg(long, value_name = "KEY=VALUE")]
    pub metadata: Vec<String>,
    /// Words that must occur, "phrases", -not, or, field:value
    #[arg(value_name = "QUERY")]
    pub q: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Server {
    /// The server to ask
    #[arg(long, env = "LOGBOOM_URL", default_value = "http://127.0.0.1:5000")]
    pub url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line for people
    Text,
    /// The record as JSON
    Ndjson,
}

#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub filters: Filters,
    /// Default: text on a terminal, ndjson elsewhere
    #[arg(long)]
    pub format: Option<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryOutput {
    /// A line for people
    Text,
    /// The record as JSON
    Ndjson,
    /// A table with commas (only with --export)
    Csv,
}

#[derive(Debug, Args)]
pub struct Query {
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub filters: Filters,
    /// Only records from this time on
    #[arg(long)]
    pub from: Option<String>,
    /// Only records before this time
    #[arg(long)]
    pub to: Option<String>,
    /// At most this many records, newest first
    #[arg(long, default_value_t = 100)]
    pub limit: u64,
    /// All that matches, without a limit, as one stream
    #[arg(long, conflicts_with = "limit")]
    pub export: bool,
    /// Default: text on a terminal, ndjson elsewhere
    #[arg(long)]
    pub format: Option<QueryOutput>,
}

#[derive(Debug, Args)]
pub struct Fsck {
    /// Set damaged files of the store aside, and make a lost manifest anew
    #[arg(long)]
    pub repair: bool,
}

#[derive(Debug, Args)]
pub struct Snapshot {
    /// Where the copy is made: a folder that is empty, or not there yet. On the same file system it is made of hard links.
    /// Where a server uses the data folder, that server makes it, as its own user
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
pub struct Migrate {
    /// Print it as a script for psql -f, and touch nothing
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Show them as lines of JSON, the last refused first
    List(ListLetters),
    /// Store them after all: what was in the way is mended
    Replay(WhichLetters),
    /// Throw them away
    Drop(WhichLetters),
}

#[derive(Debug, Args)]
pub struct ListLetters {
    /// At most this many
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WhichLetters {
    /// These, by the `id` of the list
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// All of them
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Config {
    /// As a logboom.toml that sets every setting to what is in force
    #[arg(long)]
    pub toml: bool,
    /// As the table of docs/CONFIGURATION.md
    #[arg(long, hide = true)]
    pub markdown: bool,
}

/// Commands that take the flags of settings, besides none at all.
const WITH_SETTINGS: [&str; 8] = ["serve", "engine", "worker", "api", "doctor", "fsck", "snapshot", "config"];

/// Commands that take one setting of them: where Postgres is.
const WITH_DB_URL: [&[&str]; 4] =
    [&["migrate"], &["dead-letters", "list"], &["dead-letters", "replay"], &["dead-letters", "drop"]];

/// Reads the command line; ends the process where it is wrong, or asks for help.
pub fn parse() -> (Cli, ArgMatches) {
    let matches = command().get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, matches),
        Err(error) => error.exit(),
    }
}

pub fn command() -> clap::Command {
    let mut command = with_settings(Cli::command());
    for name in WITH_SETTINGS {
        command = command.mut_subcommand(name, with_settings);
    }
    for path in WITH_DB_URL {
        command = match path {
            [name, inner] => command.mut_subcommand(name, |command| command.mut_subcommand(inner, with_db_url)),
            path => command.mut_subcommand(path[0], with_db_url),
        };
    }
    command
}

fn with_settings(command: clap::Command) -> clap::Command {
    with_some(command, |_| true)
}

fn with_db_url(command: clap::Command) -> clap::Command {
    with_some(command, |setting| setting.key == "db_url")
}

fn with_some(command: clap::Command, is_wanted: fn(&Setting) -> bool) -> clap::Command {
    command.args(SETTINGS.iter().filter(|setting| is_wanted(setting)).map(|setting| {
        Arg::new(setting.key)
            .long(setting.flag())
            .value_name(setting.value)
            .help(setting.help)
            .help_heading(setting.section)
            .value_parser(clap::value_parser!(String))
    }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
