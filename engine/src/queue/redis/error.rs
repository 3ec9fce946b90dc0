//! What Redis, or the way to it, answered: whether it passes by itself, and how to mend it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::ErrorKind;

/// Why something did not go through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// It does not answer, or says itself that it cannot now. Whether what was sent is in is not known.
    #[error("redis is away: {0}")]
    Away(String),
    #[error("redis is loading its data and answers once it has")]
    Loading,
    #[error(
        "redis is out of memory and takes nothing new: let workers drain it, or raise it with CONFIG SET maxmemory"
    )]
    OutOfMemory,
    #[error("redis is read-only, since it is a replica: name its master in redis_url")]
    ReadOnly,
    /// It answers and will answer the same again, until somebody mends it.
    #[error("redis refuses: {0}")]
    Refused(String),
}

impl RedisError {
    /// Whether it is worth waiting for: nobody need change a setting.
    pub fn is_passing(&self) -> bool {
        !matches!(self, RedisError::Refused(_))
    }
}

/// What an error of the client library means; `at` is the server as it may be shown.
pub(super) fn understand(error: &redis::RedisError, at: &str) -> RedisError {
    let detail = || error.detail().unwrap_or_default();
    if let Some(code) = error.code() {
        return from_server(code, detail(), at);
    }
    match error.kind() {
        ErrorKind::Io => from_io(error, at),
        ErrorKind::AuthenticationFailed => RedisError::Refused(wrong_password(at)),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => RedisError::Refused(format!(
            "{at} does not answer as Redis does ({error}): is it another service's port, or a TLS port (rediss://)?"
        )),
        _ => RedisError::Refused(format!("{at}: {error}")),
    }
}

fn from_io(error: &redis::RedisError, at: &str) -> RedisError {
    if error.is_timeout() {
        let hint = if at.starts_with("rediss:") { "; write redis:// if it speaks no TLS" } else { "" };
        return RedisError::Away(format!("{at} does not answer in time{hint}"));
    }
    // The library keeps the cause in an Arc, which is an error itself.
    let cause = error.source().and_then(|cause| cause.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    match cause.and_then(|cause| cause.downcast_ref::<io::Error>()) {
        // What rustls finds wrong comes as this kind.
        Some(cause) if cause.kind() == io::ErrorKind::InvalidData => RedisError::Refused(format!(
            "TLS with {at} fails: {cause}; write redis:// if it speaks no TLS, and name its certificate authority in SSL_CERT_FILE"
        )),
        Some(cause) => RedisError::Away(format!("{at}: {cause}")),
        None if error.is_connection_dropped() || !at.starts_with("rediss:") => {
            RedisError::Away(format!("{at}: {error}"))
        }
        None => RedisError::Refused(format!(
            "TLS with {at} cannot begin: {error}; name the file of its certificate authority in SSL_CERT_FILE"
        )),
    }
}

fn from_server(code: &str, detail: &str, at: &str) -> RedisError {
    let refused = |mend: &str| RedisError::Refused(format!("{at}: {code} {detail}; {mend}"));
    let away = |mend: &str| RedisError::Away(format!("{at}: {code} {detail}; {mend}"));
    match code {
        "LOADING" => RedisError::Loading,
        "OOM" => RedisError::OutOfMemory,
        "READONLY" => RedisError::ReadOnly,
        "MISCONF" => away("it cannot write to its disk: see its log for why"),
        "NOREPLICAS" => away("fewer replicas are connected than its min-replicas-to-write asks for"),
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" => away("it waits for its master"),
        "BUSY" => away("a script runs too long: SCRIPT KILL ends it"),
        "NOAUTH" => refused("write the password in redis_url, as redis://:PASSWORD@host:6379"),
        "WRONGPASS" => RedisError::Refused(wrong_password(at)),
        "NOPERM" => refused("grant the user what it lacks, as ACL SETUSER NAME ~logboom:* &logboom:* +@all"),
        "WRONGTYPE" => refused(
            "another program writes to keys that begin with `logboom:`: give Logboom a database of its own, as redis://host:6379/1",
        ),
        "MOVED" | "ASK" | "CROSSSLOT" => {
            refused("it is part of a Redis Cluster, which this version does not use: name a single server")
        }
        "ERR" if detail.contains("max number of clients") => away("raise it with CONFIG SET maxclients"),
        "ERR" if detail.contains("without any password configured") => {
            refused("it asks for no password: leave it out of redis_url")
        }
        "ERR" if detail.contains("DB index") || detail.contains("SELECT is not allowed") => {
            refused("the number at the end of redis_url is a database, usually 0 to 15")
        }
        _ => RedisError::Refused(format!("{at}: {code} {detail}")),
    }
}

fn wrong_password(at: &str) -> String {
    format!("{at}: user or password is wrong: write them in redis_url, as redis://USER:PASSWORD@host:6379")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_what_they_mean() {
        for (code, detail, passing, says) in [
            ("LOADING", "", true, "loading"),
            ("OOM", "command not allowed", true, "maxmemory"),
            ("READONLY", "", true, "master"),
            ("MISCONF", "Redis is configured to save RDB snapshots", true, "disk"),
            ("NOREPLICAS", "Not enough good replicas", true, "min-replicas"),
            ("NOAUTH", "Authentication required.", false, "redis://:PASSWORD@"),
            ("WRONGPASS", "invalid", false, "password is wrong"),
            ("NOPERM", "this user has no permissions", false, "ACL SETUSER"),
            ("WRONGTYPE", "Operation against a key", false, "database of its own"),
            ("MOVED", "3999 127.0.0.1:6381", false, "Cluster"),
            ("ERR", "max number of clients reached", true, "maxclients"),
            ("ERR", "DB index is out of range", false, "0 to 15"),
            ("ERR", "unknown command", false, "unknown command"),
        ] {
            let error = from_server(code, detail, "redis://h:1");
            assert_eq!(error.is_passing(), passing, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
