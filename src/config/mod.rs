//! What is in force, and where it came from: defaults < `logboom.toml` < `.env` < environment < flags.
//!
//! Everything is read as text, setting by setting, and checked once; the rest of the program gets [`Settings`] and
//! asks nothing again.

mod kind;
mod print;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;

pub use print::print;
pub use settings::{SETTINGS, Setting, Settings, Sidecar};

/// Read in the current folder, where it exists.
const FILE: &str = "logboom.toml";
const DOT_ENV: &str = ".env";
/// The table of the file that holds formats of the user's own.
const PATTERNS: &str = "patterns";
/// A setting named in the environment that is this many letters from a known one is taken for a slip of the pen.
/// Others are left alone: Kubernetes sets `LOGBOOM_PORT` and the like for a service of that name.
const SLIP_LETTERS_MAX: usize = 2;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    Default,
    File(PathBuf),
    DotEnv,
    Environment,
    Flag,
}

impl fmt::Display for From {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Default => out.write_str("default"),
            From::File(path) => write!(out, "{}", path.display()),
            From::DotEnv => out.write_str(DOT_ENV),
            From::Environment => out.write_str("environment"),
            From::Flag => out.write_str("flag"),
        }
    }
}

/// Why the settings do not stand.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is not TOML: {reason}")]
    NotToml { path: PathBuf, reason: String },
    #[error("{path}: there is no setting `{key}`; the nearest is `{nearest}` (`logboom config` lists all)")]
    UnknownKey { path: PathBuf, key: String, nearest: &'static str },
    #[error("{DOT_ENV}, line {line}: not of the form NAME=value: `{text}`")]
    NotAnAssignment { line: usize, text: String },
    #[error("{name} = `{text}` (from: {from}): {reason}")]
    Value { name: String, text: String, from: From, reason: String },
    #[error("{0}")]
    Together(String),
}

/// The settings in force, each with its origin.
#[derive(Debug)]
pub struct Config {
    pub settings: Settings,
    /// By key; a setting that is not here has its default.
    from: BTreeMap<&'static str, From>,
    /// What should be told once diagnostics are set up.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads all layers. `flags` are the matches of every command level, outermost first; `file` the one that
    /// `--config` names.
    pub fn load(file: Option<&Path>, flags: &[&ArgMatches]) -> Result<Config, ConfigError> {
        let mut config = Config { settings: Settings::default(), from: BTreeMap::new(), warnings: Vec::new() };
        match file {
            Some(path) => config.read_file(path)?,
            None if Path::new(FILE).exists() => config.read_file(Path::new(FILE))?,
            None => {}
        }
        let dot_env = match std::fs::read_to_string(DOT_ENV) {
            Ok(text) => parse_dot_env(&text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ConfigError::Unreadable { path: DOT_ENV.into(), source }),
        };
        config.read_variables(dot_env, From::DotEnv)?;
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
        config.read_variables(environment, From::Environment)?;
        for matches in flags {
            for setting in SETTINGS {
                if let Ok(Some(text)) = matches.try_get_one::<String>(setting.key) {
                    config.set(setting, text, From::Flag)?;
                }
            }
        }
        check(&config.settings).map_err(ConfigError::Together)?;
        Ok(config)
    }

    pub fn from(&self, setting: &Setting) -> &From {
        self.from.get(setting.key).unwrap_or(&From::Default)
    }

    fn set(&mut self, setting: &Setting, text: &str, from: From) -> Result<(), ConfigError> {
        (setting.set)(&mut self.settings, text).map_err(|reason| {
            let name = match from {
                From::DotEnv | From::Environment => setting.env.to_owned(),
                From::Flag => format!("--{}", setting.flag()),
                From::Default | From::File(_) => setting.key.to_owned(),
            };
            let text = if setting.value == "URL" { kind::masked(text) } else { text.to_owned() };
            ConfigError::Value { name, text, from: from.clone(), reason }
        })?;
        self.from.insert(setting.key, from);
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map_or_else(String::new, |line| format!("line {line}: "));
            ConfigError::NotToml { path: path.to_owned(), reason: format!("{place}{}", error.message().trim()) }
        })?;
        for (key, value) in table {
            if key == PATTERNS {
                self.read_patterns(path, &value)?;
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                let nearest = nearest(&key, |setting| setting.key).0.key;
                return Err(ConfigError::UnknownKey { path: path.to_owned(), key, nearest });
            };
            let from = From::File(path.to_owned());
            match toml_text(&value) {
                Some(text) => self.set(setting, &text, from)?,
                None => {
                    let reason = "neither text, number, true or false, nor a list of texts".to_owned();
                    return Err(ConfigError::Value { name: key, text: value.type_str().to_owned(), from, reason });
                }
            }
        }
        Ok(())
    }

    /// `[patterns]`: each key a name, each value an expression, or a table of `expression` and `time_format`.
    fn read_patterns(&mut self, path: &Path, value: &toml::Value) -> Result<(), ConfigError> {
        let wrong = |name: &str, text: &toml::Value, reason: String| ConfigError::Value {
            name: format!("{PATTERNS}.{name}"),
            text: toml_text(text).unwrap_or_else(|| text.type_str().to_owned()),
            from: From::File(path.to_owned()),
            reason,
        };
        let form = || "write NAME = 'expression', or [patterns.NAME] with expression and time_format".to_owned();
        let table = value.as_table().ok_or_else(|| wrong("", value, form()))?;
        for (name, value) in table {
            if record::format::by_name(name).is_some() || name == "auto" {
                return Err(wrong(name, value, "a format of this name is built in: choose another".to_owned()));
            }
            let (expression, time_format) = match value {
                toml::Value::Table(fields) => {
                    if let Some(key) = fields.keys().find(|key| !["expression", "time_format"].contains(&key.as_str()))
                    {
                        return Err(wrong(name, value, format!("`{key}` is no part of a pattern; {}", form())));
                    }
                    let text = |key| fields.get(key).and_then(toml::Value::as_str);
                    (text("expression"), text("time_format"))
                }
                value => (value.as_str(), None),
            };
            let expression = expression.ok_or_else(|| wrong(name, value, form()))?;
            let pattern = record::format::Pattern::from_settings(name, expression, time_format)
                .map_err(|error| wrong(name, value, error.to_string()))?;
            self.settings.patterns.0.push(pattern);
        }
        Ok(())
    }

    fn read_variables(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        from: From,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.env == name) {
                self.set(setting, &value, from.clone())?;
            } else if name.starts_with("LOGBOOM_") {
                let (nearest, letters) = nearest(&name, |setting| setting.env);
                if letters <= SLIP_LETTERS_MAX {
                    self.warnings.push(format!("{name} is no setting and is ignored; is {} meant?", nearest.env));
                }
            }
        }
        Ok(())
    }
}

/// What single settings cannot see: how they fit together.
fn check(settings: &Settings) -> Result<(), String> {
    const MIB: u64 = 1 << 20;
    /// Shorter, and records could be gone before anybody has seen them.
    const RETAIN_MIN: Duration = Duration::from_secs(60);
    /// Shorter, and batches would be taken from workers that are only slow.
    const CLAIM_AFTER_MIN: Duration = Duration::from_secs(1);
    let config = &settings.engine;
    let show = |key: &str| {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        format!("{key} ({})", setting.map_or_else(String::new, |setting| (setting.show)(settings)))
    };
    let within = |key: &str, value: u64, min: u64, max: u64| match value {
        value if value < min => Err(format!("{} is below its least value, {min}", show(key))),
        value if value > max => Err(format!("{} is above its greatest value, {max}", show(key))),
        _ => Ok(()),
    };
    let not_below = |key: &str, value: u64, than: &str, least: u64| {
        if value < least { Err(format!("{} is below {}", show(key), show(than))) } else { Ok(()) }
    };
    // A shard is a thread with a ring; more than this is a slip of the pen.
    within("shards", config.shards as u64, 1, 256)?;
    // Repair can double a line, and a record must fit into an encoded row.
    within("line_bytes_max", config.line_bytes_max as u64, 1, record::row::RECORD_BYTES_MAX as u64 / 2)?;
    not_below(
        "atomic_body_bytes_max",
        config.atomic_body_bytes_max as u64,
        "line_bytes_max",
        config.line_bytes_max as u64,
    )?;
    not_below("body_bytes_max", config.body_bytes_max, "atomic_body_bytes_max", config.atomic_body_bytes_max as u64)?;
    within("discard_bytes_max", config.discard_bytes_max, 8 * MIB, u64::MAX)?;
    within("head_bytes_max", config.head_bytes_max as u64, 1024, MIB)?;
    within("headers_max", config.headers_max as u64, 16, engine::http::head::HEADERS_MAX as u64)?;
    within("connections_max", config.connections_max as u64, 1, 1_000_000)?;
    // A segment must hold the largest batch with room to spare.
    within("segment_bytes", config.segment_bytes, 4 * MIB, 4096 * MIB)?;
    not_below("queue_bytes_max", config.queue_bytes_max, "segment_bytes", config.segment_bytes)?;
    within("flush_bytes", config.flush_bytes, 64 * 1024, u64::MAX)?;
    not_below("memory_bytes_max", config.memory_bytes_max, "flush_bytes", config.flush_bytes)?;
    if config.retain.is_some_and(|retain| retain < RETAIN_MIN) {
        return Err(format!(
            "{} is below its least value, 1m; leave it empty to keep records for ever",
            show("retain")
        ));
    }
    // A file that a flush has just written would go at once.
    not_below("retain_bytes", config.retain_bytes.unwrap_or(u64::MAX), "flush_bytes", config.flush_bytes)?;
    if let Some(url) = &config.redis_url {
        engine::queue::redis::Target::parse(url).map_err(|reason| format!("{}: {reason}", show("redis_url")))?;
    }
    // An idle worker asks every stream 50 times a second.
    within("streams", config.streams.into(), 1, 1024)?;
    // A worker says that it is at it still every third of this.
    if config.claim_after < CLAIM_AFTER_MIN {
        return Err(format!("{} is below its least value, 1s", show("claim_after")));
    }
    within("workers", config.workers as u64, 1, 256)?;
    within("batch_size", config.batch_size as u64, 1, 1_000_000)?;
    within("queries_max", settings.api.queries_max as u64, 1, 10_000)?;
    within("exports_max", settings.api.exports_max as u64, 1, 10_000)?;
    within("viewers_max", settings.api.viewers_max as u64, 0, 1_000_000)?;
    within("ring_bytes", config.ring_bytes as u64, 64 * 1024, 1024 * MIB)?;
    for origin in &config.origins {
        if origin != "*" && !origin.contains("://") {
            return Err(format!(
                "origins: `{origin}` is no origin: write it with its scheme, as https://logs.example.com"
            ));
        }
    }
    Ok(())
}

/// The setting whose name, as `name_of` gives it, is nearest to `name`, and the letters between.
fn nearest(name: &str, name_of: fn(&Setting) -> &'static str) -> (&'static Setting, usize) {
    let distance = |setting: &&Setting| letters_between(name, name_of(setting));
    let found = SETTINGS.iter().min_by_key(distance).expect("the list is not empty");
    (found, letters_between(name, name_of(found)))
}

/// Levenshtein's distance.
fn letters_between(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A TOML value as the text that a flag would have.
fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

/// `NAME=value` lines, with `export` before and quotes around where people write them so; `#` begins a comment.
fn parse_dot_env(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let assignment = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(ConfigError::NotAnAssignment { line: index + 1, text: line.to_owned() });
        };
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote));
        let value = match quoted {
            Some((inside, _)) => inside,
            None => value.split(" #").next().unwrap_or(value).trim_end(),
        };
        found.push((name.trim().to_owned(), value.to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_shows_what_it_reads() {
        let defaults = Settings::default();
        for setting in SETTINGS {
            let shown = (setting.show)(&defaults);
            let mut settings = Settings::default();
            (setting.set)(&mut settings, &shown).unwrap_or_else(|error| panic!("{}: {error}", setting.key));
            assert_eq!((setting.show)(&settings), shown, "{}", setting.key);
            let own = format!("LOGBOOM_{}", setting.key.to_uppercase());
            assert!(["LOG_LEVEL", "DB_URL", "REDIS_URL", &own].contains(&setting.env), "{}", setting.env);
        }
        check(&defaults).unwrap();
    }

    #[test]
    fn a_dot_env_is_read_as_shells_write_it() {
        let text = "# a comment\n\nA=1\nexport B=\"two # words\" # told\n C = 'x' \nD=a=b # c\nE=\n";
        let found = parse_dot_env(text).unwrap();
        let expected = [("A", "1"), ("B", "two # words"), ("C", "x"), ("D", "a=b"), ("E", "")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let error = parse_dot_env("A=1\nnonsense").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("nonsense"), "{error}");
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        assert_eq!(nearest("lisen", |setting| setting.key).0.key, "listen");
        assert_eq!(nearest("data-dir", |setting| setting.key).0.key, "data_dir");
        assert_eq!(nearest("LOGBOOM_SHARD", |setting| setting.env), (nearest("shards", |s| s.key).0, 1));
        assert!(nearest("LOGBOOM_SERVICE_HOST", |setting| setting.env).1 > SLIP_LETTERS_MAX);
        assert!(nearest("LOGBOOM_PORT_5000_TCP", |setting| setting.env).1 > SLIP_LETTERS_MAX);
    }

    impl PartialEq for Setting {
        fn eq(&self, other: &Self) -> bool {
            self.key == other.key
        }
    }

    impl fmt::Debug for Setting {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.key)
        }
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused() {
        let mut settings = Settings::default();
        settings.engine.body_bytes_max = 10;
        assert_eq!(check(&settings).unwrap_err(), "body_bytes_max (10) is below atomic_body_bytes_max (8MiB)");
        let mut settings = Settings::default();
        settings.engine.shards = 0;
        assert_eq!(check(&settings).unwrap_err(), "shards (0) is below its least value, 1");
        let mut settings = Settings::default();
        settings.engine.retain = Some(Duration::ZERO);
        assert!(check(&settings).unwrap_err().contains("retain (0s)"));
        let mut settings = Settings::default();
        settings.engine.retain_bytes = Some(1 << 20);
        assert_eq!(check(&settings).unwrap_err(), "retain_bytes (1MiB) is below flush_bytes (48MiB)");
        let mut settings = Settings::default();
        settings.engine.origins = vec!["logs.example.com".to_owned()];
        assert!(check(&settings).unwrap_err().contains("https://"));
        let mut settings = Settings::default();
        settings.engine.redis_url = Some("http://:secret@h".to_owned());
        let error = check(&settings).unwrap_err();
        assert!(error.contains("http://:***@h") && error.contains("write redis://"), "{error}");
    }
}
