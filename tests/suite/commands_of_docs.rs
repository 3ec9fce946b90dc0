//! What the documents tell to run, run as it stands there: all blocks of a document in one bash, in their order, in a
//! folder of its own.
//!
//! | block | is |
//! |---|---|
//! | `sh` | run; a line that fails fails the test |
//! | `sql` | given to psql, as whom the document says |
//! | `js` | run in a page of the server |
//! | `json` | looked for in what was printed: the same members, of the same kinds |
//!
//! Ports are replaced by free ones. Where a person would look whether a server is up, open another terminal or press
//! Ctrl-C, [`PERSON`] does so. What a test adds to that stands in it, before or after the block that it names.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use servers::{Postgres, Redis, free_port};
use sonic_rs::{JsonContainerTrait, JsonType, JsonValueTrait, Value};
use tempfile::TempDir;

use crate::harness::{BINARY, check_told, without_settings};

/// Longer than any document takes on a machine that does other things too.
const DOCUMENT_TIME_MAX: Duration = Duration::from_secs(60);

/// Those that tests here run.
const RUN: [&str; 9] = [
    "README.md",
    "docs/API.md",
    "docs/CONFIGURATION.md",
    "docs/DASHBOARD.md",
    "docs/PARSER_GUIDE.md",
    "docs/POSTGRES.md",
    "docs/REDIS_QUICK_START.md",
    "docs/STORAGE.md",
    "docs/WEBSOCKET.md",
];

#[test]
fn readme() {
    let (redis, postgres) = (Redis::durable(), Postgres::start_new());
    let mut play = Play::of("README.md");
    play.ports([(6379, redis.port()), (5432, postgres.port())]);
    // On Redis and Postgres now.
    play.after("export DB_URL", "tell_of_trouble; psql \"$DB_URL\" -Atc 'SELECT message FROM logs' | grep timeout");
    let said = play.run();
    let answers: Vec<String> = play.blocks("json").iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    assert_eq!(answers.len(), 3);
    for answer in answers {
        assert!(said.contains(&answer), "{answer} is not what is answered: {said}");
    }
}

#[test]
fn api() {
    let mut play = Play::of("docs/API.md");
    play.before_all("stays logboom; tell_of_trouble");
    // The id is that of the record which the document has sent; the `curl` of PERSON puts it in.
    play.after(
        "/data/fast",
        "until id=$(curl \"$LOGBOOM_URL/logs/?level=ERROR&to=2026-01-01\" | grep -o '[0-9a-f-]\\{36\\}'); do sleep 0.05; done",
    );
    play.example_id = "019a73a4-d800-7000-8000-04d2000004d2";
    play.after("/metrics", "command curl -sS \"$LOGBOOM_URL/logs/?colour=red\"");
    play.run();
}

#[test]
fn websocket() {
    let mut play = Play::of("docs/WEBSOCKET.md");
    play.before_all("stays logboom");
    play.run();
}

#[test]
fn dashboard() {
    let mut play = Play::of("docs/DASHBOARD.md");
    std::os::unix::fs::symlink(root().join("api"), play.folder.path().join("api")).unwrap();
    play.after("--dev", "curl -H 'accept: text/html' \"$LOGBOOM_URL/\" | grep -ci '<!doctype html>'");
    play.run();
}

#[test]
fn configuration() {
    let mut play = Play::of("docs/CONFIGURATION.md");
    play.after("--toml", "logboom config | grep '^retain_bytes .*logboom.toml'");
    play.run();
}

/// Its SQL is for DuckDB, and run by tests/python/read_parquet.py.
#[test]
fn storage() {
    let mut play = Play::of("docs/STORAGE.md");
    play.run_elsewhere = &["sql"];
    play.before_all("stays logboom; tell_of_trouble");
    play.after("fsck", "stays logboom --data-dir copy; curl \"$LOGBOOM_URL/stats\" | grep '\"total\":1,'");
    play.run();
}

/// Its Rust is compiled and run by record/tests/parser_guide.rs.
#[test]
fn parser_guide() {
    let mut play = Play::of("docs/PARSER_GUIDE.md");
    play.run_elsewhere = &["rust"];
    play.run();
}

#[test]
fn redis_quick_start() {
    let postgres = Postgres::start_new();
    let mut play = Play::of("docs/REDIS_QUICK_START.md");
    play.ports([(6379, free_port()), (5433, postgres.port())]);
    const FOUND: &str = "until curl \"$LOGBOOM_URL/logs/?q=WORD\" | grep '\"message\"'; do sleep 0.05; done";
    play.after("q=disk", &FOUND.replace("WORD", "disk"));
    play.after("q=stored", &FOUND.replace("WORD", "stored"));
    play.after("ACL SETUSER", "REDIS_URL=redis://logboom:PASSWORD@localhost:6379 logboom doctor | grep -i redis");
    play.after("SHUTDOWN", "if command redis-cli -p 6379 ping || (exec 3<> /dev/tcp/127.0.0.1/$PORT); then exit 1; fi");
    play.run();
    assert_eq!(postgres.sql("SELECT message FROM logs"), "stored by a worker");
}

#[test]
fn postgres() {
    let postgres = Postgres::bare(&[]);
    postgres.set_access("host all postgres all trust\nhost all all all scram-sha-256\n");
    let owner = format!("postgresql://log_user:log_password@127.0.0.1:{}/log_aggregation", postgres.port());
    let superuser = |database| postgres.superuser_url(database);
    let mut play = Play::of("docs/POSTGRES.md");
    play.ports([(5433, postgres.port())]);
    play.sql_as = vec![superuser("postgres"), owner.clone(), owner.clone(), owner, superuser("log_aggregation")];
    play.before("FROM logs\nWHERE timestamp >= now() - interval '1 hour'", "tell_of_trouble");
    let reader = format!("postgresql://log_reader:reader_password@127.0.0.1:{}/log_aggregation", postgres.port());
    play.after("CREATE ROLE log_reader", &format!("psql {reader} -Atc 'SELECT message FROM logs' | grep timeout"));
    play.after("pg_dump", "pg_restore --list logs.dump | grep 'TABLE DATA public logs_2'");
    play.run();
}

#[test]
fn every_document_is_run() {
    /// It measures for minutes, and fetches what it measures beside; `docs.rs` looks whether its commands are there.
    const NOT_RUN: &str = "docs/PERFORMANCE_RESULTS.md";
    let mut documents = Vec::new();
    for folder in ["", "docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().flatten();
        let names = entries.map(|entry| Path::new(folder).join(entry.file_name()).to_string_lossy().into_owned());
        documents.extend(names.filter(|name| name.ends_with(".md")));
    }
    for document in documents.iter().filter(|name| !RUN.contains(&name.as_str()) && *name != NOT_RUN) {
        let blocks = blocks(&read(document));
        assert!(
            blocks.iter().all(|block| block.language.is_empty()),
            "nothing runs the blocks of {document}: {blocks:?}"
        );
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where programs are found: `logboom` first.
pub fn path() -> String {
    let program = Path::new(BINARY).parent().unwrap();
    format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default())
}

/// What a person at the terminal adds to what is written.
const PERSON: &str = r#"
set -E
trap 'echo "failed with $? in line $LINENO: $BASH_COMMAND" >&2' ERR

# Looks whether it went well, and at one answer after the other.
curl() { command curl -sS --fail-with-body -w '\n' "${@//$EXAMPLE_ID/${id-}}"; }
redis-cli() { command redis-cli -e "$@"; }

# Goes on when it listens.
listens() { until (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; do kill -0 $!; sleep 0.02; done; }

# Leaves it in the first terminal, until something else is wanted there.
stays() {
  ends
  "$@" &
  first=$!
  listens "$PORT"
}
ends() { if [ -n "${first-}" ]; then kill "$first"; wait "$first"; first=; fi; }

# Looks at it in another terminal, until it shows what comes.
shows() {
  "$@" > shown &
  local watcher=$!
  until [ "$(viewers)" = 1 ]; do kill -0 $watcher; sleep 0.02; done
  tell_of_trouble
  until grep timeout shown; do kill -0 $watcher; sleep 0.02; done
  kill $watcher
  wait $watcher || true
  until [ "$(viewers)" = 0 ]; do sleep 0.02; done
}
viewers() { command curl -sS "$LOGBOOM_URL/metrics" | sed -n 's/^logboom_viewers //p'; }

# A record that the examples look for, there to be found.
tell_of_trouble() {
  curl "$LOGBOOM_URL/data/" -H 'content-type: application/json' \
    -d '{"level":"ERROR","source":"db-1","application":"storage","message":"timeout: disk slow, connection refused"}'
}

# Prints what it finds, and finds something.
ask() {
  local rows
  rows=$(psql -X -At -v ON_ERROR_STOP=1 "$1" -f "$2")
  echo "$rows"
  ! grep -q '^SELECT' "$2" || [ -n "$rows" ]
}
"#;

#[derive(Debug)]
struct Block {
    language: String,
    text: String,
}

/// What stands between fences.
fn blocks(document: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(language) if !inside => found.push(Block { language: language.to_owned(), text: String::new() }),
            None if inside => *found.last_mut().map(|block| &mut block.text).unwrap() += &format!("{line}\n"),
            _ => {}
        }
        inside ^= line.starts_with("```");
    }
    assert!(!inside, "a block does not end");
    found
}

struct Play {
    document: &'static str,
    blocks: Vec<Block>,
    folder: TempDir,
    /// Those that the document names, and those in their place.
    ports: Vec<(u16, u16)>,
    /// Of each block of SQL, the database and who asks.
    sql_as: Vec<String>,
    /// An id of the document; the bash variable `id` has the one that goes into its place.
    example_id: &'static str,
    /// Languages of blocks that another test runs.
    run_elsewhere: &'static [&'static str],
    before_all: String,
    /// Before or after the block that has this text: more lines for bash.
    added: Vec<(bool, String, String)>,
}

impl Play {
    fn of(document: &'static str) -> Play {
        assert!(RUN.contains(&document));
        Play {
            document,
            blocks: blocks(&read(document)),
            folder: tempfile::tempdir().unwrap(),
            ports: vec![(5000, free_port()), (5001, free_port())],
            sql_as: Vec::new(),
            example_id: "no example",
            run_elsewhere: &[],
            before_all: String::new(),
            added: Vec::new(),
        }
    }

    fn ports<const N: usize>(&mut self, ports: [(u16, u16); N]) {
        self.ports.extend(ports);
    }

    fn before_all(&mut self, lines: &str) {
        self.before_all = lines.to_owned();
    }

    fn before(&mut self, block: &str, lines: &str) {
        self.added.push((true, block.to_owned(), lines.to_owned()));
    }

    fn after(&mut self, block: &str, lines: &str) {
        self.added.push((false, block.to_owned(), lines.to_owned()));
    }

    fn blocks(&self, language: &str) -> Vec<&str> {
        self.blocks.iter().filter(|block| block.language == language).map(|block| &block.text[..]).collect()
    }

    /// Runs it all; what was printed.
    fn run(&self) -> String {
        let folder = self.folder.path();
        let script = self.script();
        std::fs::write(folder.join("script"), &script).unwrap();
        std::fs::write(folder.join("person"), PERSON).unwrap();
        let file = |name: &str| std::fs::File::create(folder.join(name)).unwrap();
        let mut command = without_settings("bash", folder);
        command.args(["-euo", "pipefail", "script"]).env("HOME", folder).env("PATH", path());
        command.env("LOGBOOM_LISTEN", self.with_ports("127.0.0.1:5000")).env("PORT", self.with_ports("5000"));
        command.env("LOGBOOM_URL", self.with_ports("http://127.0.0.1:5000")).env("EXAMPLE_ID", self.example_id);
        let mut bash = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap();
        let _all = Below(folder.to_owned());
        let deadline = Instant::now() + DOCUMENT_TIME_MAX;
        let status = loop {
            match bash.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = bash.kill();
                    break bash.wait().unwrap();
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let [said, told] = ["out", "err"].map(|name| std::fs::read(folder.join(name)).unwrap());
        let [said, told] = [said, told].map(|text| String::from_utf8_lossy(&text).into_owned());
        let in_time = status.signal().is_none();
        let numbered: String = script.lines().enumerate().map(|(n, line)| format!("{:4} {line}\n", n + 1)).collect();
        let document = self.document;
        assert!(
            status.success(),
            "{document}: {status}, in time: {in_time}\n{numbered}\n--- said\n{said}\n--- told\n{told}"
        );
        check_told(&told, &[]);
        let answers: Vec<Value> = said.lines().filter_map(|line| sonic_rs::from_str(line).ok()).collect();
        for text in self.blocks("json") {
            for example in values(text) {
                let is_there = answers.iter().any(|answer| is_within(answer, &example));
                assert!(is_there, "{document} shows what nothing answers: {example}\n{said}");
            }
        }
        said
    }

    fn script(&self) -> String {
        let mut script = format!("source person\n{}\n", self.before_all);
        let mut sql_as = self.sql_as.iter();
        let mut unused: Vec<&str> = self.added.iter().map(|(_, block, _)| &block[..]).collect();
        for (n, Block { language, text }) in self.blocks.iter().enumerate() {
            let added =
                |wanted| self.added.iter().filter(move |(before, block, _)| *before == wanted && text.contains(block));
            unused.retain(|block| !text.contains(block));
            added(true).for_each(|(_, _, lines)| script.push_str(&format!("{lines}\n")));
            let file = format!("block-{n}");
            std::fs::write(self.folder.path().join(&file), self.with_ports(text)).unwrap();
            match &language[..] {
                language if self.run_elsewhere.contains(&language) => {}
                "sh" => text.lines().for_each(|line| script.push_str(&as_a_person(line))),
                "sql" => {
                    let url = sql_as.next().expect("who asks is said of each block of SQL");
                    script.push_str(&format!("ask {url} {file}\n"));
                }
                "js" => {
                    let made = Command::new("make").args(["-s", "browser-modules"]).current_dir(root()).status();
                    assert!(made.expect("make").success(), "`make browser-modules` failed");
                    let console = root().join("tests/browser/console.mjs");
                    script.push_str(&format!("shows node {} $LOGBOOM_URL {file}\n", console.display()));
                }
                "json" => {}
                other => panic!("{}: nothing is known of blocks of `{other}`: {text}", self.document),
            }
            added(false).for_each(|(_, _, lines)| script.push_str(&format!("{lines}\n")));
        }
        assert!(unused.is_empty() && sql_as.next().is_none(), "{} has no blocks with {unused:?}", self.document);
        self.with_ports(&format!("{script}\nends\n"))
    }

    /// A number that is the port of a server is replaced.
    fn with_ports(&self, text: &str) -> String {
        let mut out = String::new();
        let is_digit = |c: char| c.is_ascii_digit();
        let mut rest = text;
        while let Some(at) = rest.find(is_digit) {
            let number = &rest[at..];
            let number = &number[..number.find(|c| !is_digit(c)).unwrap_or(number.len())];
            let is_port = at > 0 && matches!(rest.as_bytes()[at - 1], b':' | b' ') || rest.len() == number.len();
            let port = self.ports.iter().find(|(named, _)| is_port && number == named.to_string());
            out.push_str(&rest[..at]);
            out.push_str(&port.map_or_else(|| number.to_owned(), |(_, free)| free.to_string()));
            rest = &rest[at + number.len()..];
        }
        out + rest
    }
}

/// What does not end goes into a terminal of its own; what is sent to the background is waited for until it listens.
fn as_a_person(line: &str) -> String {
    let line = line.split("  #").next().unwrap_or_default().trim_end();
    // The binary is built already, and all tests would begin again from here.
    let line =
        line.replace("cargo run --release", "logboom").replace("make test", "true").replace("cargo run --", "logboom");
    let starts = |start: &str| line == start || line.starts_with(&format!("{start} "));
    let in_background = line.ends_with('&') && !line.ends_with("&&");
    if in_background && starts("logboom worker") {
        format!("{line}\n")
    } else if in_background && starts("logboom api") {
        format!("{line}\nlistens 5001\n")
    } else if in_background {
        format!("{line}\nlistens 5000\n")
    } else if starts("logboom tail") {
        format!("shows {line}\n")
    } else if line == "logboom" || starts("logboom serve") {
        format!("stays {line}\n")
    } else {
        format!("{line}\n")
    }
}

/// Every process that was started in this folder or below, ended with it: what the script left, and what has made itself
/// a daemon.
struct Below(PathBuf);

impl Drop for Below {
    fn drop(&mut self) {
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            if std::fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder.starts_with(&self.0)) {
                let process = rustix::process::Pid::from_raw(id).expect("not 0");
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
    }
}

/// JSON, each value on lines of its own.
fn values(text: &str) -> Vec<Value> {
    let (mut found, mut begun) = (Vec::new(), String::new());
    for line in text.lines() {
        begun.push_str(line);
        if let Ok(value) = sonic_rs::from_str(&begun) {
            found.push(value);
            begun.clear();
        }
    }
    assert!(begun.is_empty(), "this is no JSON: {begun}");
    found
}

/// Whether an answer, or a part of it, is of the form that an example shows.
fn is_within(answer: &Value, example: &Value) -> bool {
    let inner = || match answer.get_type() {
        JsonType::Object => {
            answer.as_object().is_some_and(|members| members.iter().any(|(_, value)| is_within(value, example)))
        }
        JsonType::Array => answer.as_array().is_some_and(|values| values.iter().any(|value| is_within(value, example))),
        _ => false,
    };
    answer.is_object() && is_alike(answer, example) || inner()
}

/// The same members of the same types; `"…": "…"` stands for further ones. Values may differ, as may names where they are
/// what was sent.
fn is_alike(answer: &Value, example: &Value) -> bool {
    /// Members whose own members are data.
    const MAPS: [&str; 2] = ["metadata", "levels"];
    if answer.is_null() || example.is_null() || example.as_str() == Some("…") {
        return true;
    }
    if let (Some(answer), Some(example)) = (answer.as_array(), example.as_array()) {
        return answer.iter().zip(example.iter()).all(|(answer, example)| is_alike(answer, example));
    }
    let (Some(answer), Some(example)) = (answer.as_object(), example.as_object()) else {
        return answer.get_type() == example.get_type();
    };
    let shown = |(name, example): (&str, &Value)| {
        name == "…"
            || answer
                .get(&name)
                .is_some_and(|value| MAPS.contains(&name) && value.is_object() || is_alike(value, example))
    };
    let all = answer.len() == example.len() || example.contains_key(&"…");
    all && example.iter().all(shown)
}
