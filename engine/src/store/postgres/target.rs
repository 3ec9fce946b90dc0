//! Where Postgres is, and a connection to it.
//!
//! In goes `db_url`; out comes a [`Client`] whose other half runs as a task on the caller's tokio runtime. A connection
//! that hangs is noticed by the kernel: keepalives while idle, `tcp_user_timeout` while it sends.

use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;
use super::tls::{Trust, connector};

/// Longer than a handshake over any distance takes; a server that is up answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that nobody acknowledges for this long have nobody to go to.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection is asked after this long, and each interval from then on; after so many it is dead.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVES_MAX: u32 = 3;
/// Postgres cuts longer names (NAMEDATALEN - 1), and the end is what tells ours apart.
const APPLICATION_NAME_BYTES_MAX: usize = 63;

const FORM: &str = "write postgresql://user:password@host:5432/database (%-encode what is special in the password)";

/// Where the server is: a URL that was read, and the TLS that goes with it.
#[derive(Clone)]
pub struct Target {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Target {
    /// The error says what would be right, and never shows the password.
    pub fn parse(url: &str) -> Result<Target, String> {
        let url = url.trim();
        if !["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(format!("not the URL of a Postgres: {FORM}"));
        }
        let (url, ssl) = take_ssl(url)?;
        // The crate's errors name the option that is wrong, not its value.
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("not the URL of a Postgres ({cause}): {FORM}")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(format!("there is no host in it: {FORM}"));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(format!("there is no database in it: {FORM}"));
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(format!("there is no user in it: {FORM}"));
        }
        config.ssl_mode(ssl.mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if !url.contains("keepalives") {
            config.keepalives_idle(KEEPALIVE_IDLE);
            config.keepalives_interval(KEEPALIVE_INTERVAL);
            config.keepalives_retries(KEEPALIVES_MAX);
        }
        let tls = connector(ssl.trust, ssl.roots.as_deref())?;
        Ok(Target { config, tls })
    }

    /// The URL without its password.
    pub fn shown(&self) -> String {
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let named = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string().replace('/', "%2F"),
        });
        let mut hosts: Vec<String> = named.collect();
        if hosts.is_empty() {
            hosts = self.config.get_hostaddrs().iter().map(ToString::to_string).collect();
        }
        let hosts: Vec<String> =
            hosts.iter().enumerate().map(|(index, host)| format!("{host}:{}", port(index))).collect();
        let user = self.config.get_user().unwrap_or_default();
        format!("postgresql://{user}@{}/{}", hosts.join(","), self.database())
    }

    /// As the driver has it, the password included.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// A connection; its other half is a task of the runtime that this is called on, and ends with the client.
    pub async fn connect(&self, application_name: &str) -> Result<Client, PostgresError> {
        let mut config = self.config.clone();
        config.application_name(shorten(application_name));
        // The crate's own timeout is for each address, and does not cover the handshake that follows.
        let limit = 2 * config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let connecting = config.connect(self.tls.clone());
        let (client, connection) = match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected.map_err(|error| self.named(error.into()))?,
            Err(_) => {
                let text = format!("no answer within {} s: is the server all right?", limit.as_secs());
                return Err(self.named(PostgresError::Away(text)));
            }
        };
        tokio::spawn(async move {
            // Whoever waits for an answer is told of the failure; nobody else needs it.
            if let Err(error) = connection.await {
                tracing::debug!("a connection to Postgres ended: {error}");
            }
        });
        Ok(client)
    }

    fn named(&self, error: PostgresError) -> PostgresError {
        let text = format!("{}: {}", self.shown(), error.text());
        if error.is_away() { PostgresError::Away(text) } else { PostgresError::Refused(text) }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.shown())
    }
}

/// What Postgres will keep of an application's name.
pub(super) fn shorten(name: &str) -> &str {
    let mut end = name.len().min(APPLICATION_NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// What of the URL concerns TLS.
struct Ssl {
    mode: SslMode,
    trust: Trust,
    roots: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out of the URL: the crate knows neither all modes nor files.
fn take_ssl(url: &str) -> Result<(String, Ssl), String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut word, mut roots, mut rest) = ("prefer".to_owned(), None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => word = value.to_owned(),
            Some(("sslrootcert", value)) if !value.is_empty() => roots = Some(percent_decoded(value)?),
            _ => rest.push(pair),
        }
    }
    let (mode, trust) = match (word.as_str(), &roots) {
        ("disable", _) => (SslMode::Disable, Trust::Any),
        ("allow" | "prefer", _) => (SslMode::Prefer, Trust::Any),
        ("require", None) => (SslMode::Require, Trust::Any),
        ("require" | "verify-ca", _) => (SslMode::Require, Trust::Authority),
        ("verify-full", _) => (SslMode::Require, Trust::Host),
        _ => {
            let modes = "disable, allow, prefer, require, verify-ca or verify-full";
            return Err(format!("sslmode={word} is unknown: write {modes}"));
        }
    };
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((url, Ssl { mode, trust, roots }))
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let wrong = || format!("sslrootcert={text} is not %-encoded text");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(wrong);
        out.push((digit()? << 4 | digit()?) as u8);
    }
    String::from_utf8(out).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_without_its_password() {
        for (url, shown) in [
            (
                "postgresql://log_user:log_password@localhost:5433/log_aggregation",
                "postgresql://log_user@localhost:5433/log_aggregation",
            ),
            (" postgres://u:p%40ss@h/db?sslmode=disable ", "postgresql://u@h:5432/db"),
            ("postgresql://u:p@[::1]:1/db?connect_timeout=3&sslmode=require", "postgresql://u@[::1]:1/db"),
            ("postgresql://u:p@a:1,b:2/db?sslmode=prefer", "postgresql://u@a:1,b:2/db"),
            ("postgresql://u:p@%2Frun%2Fpostgresql/db", "postgresql://u@%2Frun%2Fpostgresql:5432/db"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(target.shown(), shown);
            assert!(!format!("{target:?}").contains("log_password"));
        }
    }

    #[test]
    fn a_wrong_url_says_what_would_be_right() {
        for (url, word) in [
            ("", "postgresql://user:password@host"),
            ("localhost:5432", "postgresql://user:password@host"),
            ("mysql://u:secret@h/db", "postgresql://user:password@host"),
            ("postgresql://", "there is no host"),
            ("postgresql://u:secret@h", "there is no database"),
            ("postgresql://h/db", "there is no user"),
            ("postgresql://u:secret@h:port/db", "port"),
            ("postgresql://u:secret@h/db?sslmode=maybe", "verify-full"),
            ("postgresql://u:secret@h/db?sslmode=verify-ca&sslrootcert=%2Fnot%2Fthere", "/not/there"),
            ("postgresql://u:secret@h/db?nonsense=1", "nonsense"),
        ] {
            let error = Target::parse(url).expect_err(url);
            assert!(error.contains(word), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_letters() {
        assert_eq!(shorten("logboom/x"), "logboom/x");
        let long = "ä".repeat(60);
        assert_eq!(shorten(&long).chars().count(), 31);
    }
}
