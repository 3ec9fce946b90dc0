//! Brings the schema to this program's version: by itself, or as a script for `psql -f`.
//!
//! The migrations are the files of `migrations/`, each applied once, in order, under an advisory lock, so that many
//! processes may start at once. Who applied what stands in refinery's table, which the script writes as well.

use refinery::{Migration, Runner};
use tokio_postgres::Client;

use super::error::{PostgresError, tell};
use super::found::{self, Schema, Trigrams};
use super::locks;
use super::target::Target;

/// Refinery's table.
pub(super) const HISTORY: &str = "refinery_schema_history";
/// The last of [`FILES`].
pub const SCHEMA_VERSION: i32 = FILES.len() as i32;

/// Every migration ever released, in order.
const FILES: [(&str, &str); 1] = [("V1__logs.sql", include_str!("../../../../migrations/V1__logs.sql"))];

/// How long to wait for another process that migrates.
const LOCK_TIMEOUT: &str = "60s";

/// Versions of the schema, 0 where there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub from: i32,
    pub to: i32,
    /// Whether words are quick to find in days that are over.
    pub trigrams: bool,
}

/// Refuses a server that is too old, a database that is not UTF8, and a schema that a newer program made.
pub async fn migrate(target: &Target) -> Result<Migrated, PostgresError> {
    let mut client = target.connect("logboom/migrate").await?;
    found::inspect(&client).await?.for_migrating()?;
    // The lock belongs to the session, and goes with it.
    let lock = format!("SET lock_timeout = '{LOCK_TIMEOUT}'; SELECT pg_advisory_lock({})", locks::SCHEMA);
    client.batch_execute(&lock).await.map_err(|error| match error.code() {
        Some(state) if state == &tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE => PostgresError::Away(format!(
            "another process has been migrating the schema for {LOCK_TIMEOUT}: look for application_name \
             logboom/migrate in pg_stat_activity"
        )),
        _ => error.into(),
    })?;
    // Whoever had the lock before may have done it all.
    let found = found::inspect(&client).await?;
    let from = match found.schema {
        Schema::None => 0,
        Schema::Older(version) => version,
        Schema::Ours => SCHEMA_VERSION,
    };
    if from < SCHEMA_VERSION {
        Runner::new(&migrations()).run_async(&mut client).await.map_err(failed)?;
    }
    let trigrams = match found.trigrams {
        Trigrams::Installed => true,
        Trigrams::Installable => install_trigrams(&client).await,
        Trigrams::Missing => false,
    };
    // Whoever may make tables, or found them made, may still lack what storing needs.
    found::inspect(&client).await?.for_writing()?;
    Ok(Migrated { from, to: SCHEMA_VERSION, trigrams })
}

/// Words are found without it as well, so that a failure is told and no more.
async fn install_trigrams(client: &Client) -> bool {
    match client.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_trgm").await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("pg_trgm cannot be installed, so words are found more slowly: {}", tell(&error));
            false
        }
    }
}

fn failed(error: refinery::Error) -> PostgresError {
    match error.kind() {
        refinery::error::Kind::Connection(what, source) => match source.downcast_ref::<tokio_postgres::Error>() {
            Some(cause) if super::error::Fault::of(cause) != super::error::Fault::Refused => {
                PostgresError::Away(format!("{what}: {}", tell(cause)))
            }
            Some(cause) => PostgresError::Refused(format!("{what}: {}", tell(cause))),
            None => PostgresError::Away(format!("{what}: {source}")),
        },
        // A migration that is in the database and not, or not so, in this program.
        _ => PostgresError::Refused(format!("{error}: the schema was made by another build; run that one")),
    }
}

fn migrations() -> Vec<Migration> {
    let read = |(name, sql): &(&str, &str)| Migration::unapplied(name, sql).expect("a migration's name has its form");
    FILES.iter().map(read).collect()
}

/// All migrations for `psql -f`: those that are applied are passed over, and a later [`migrate`] agrees.
pub fn script() -> String {
    let mut out = format!(
        "-- The schema of Logboom, version {SCHEMA_VERSION}, for psql -f: applies what is missing.\n\
         \\set ON_ERROR_STOP on\n\
         BEGIN;\n\
         SET LOCAL client_min_messages = warning;\n\
         SELECT pg_advisory_xact_lock({lock}) \\g /dev/null\n\
         DO $check$ BEGIN\n\
         \x20   IF current_setting('server_encoding') <> 'UTF8' THEN\n\
         \x20       RAISE 'the database is %, and must be UTF8', current_setting('server_encoding');\n\
         \x20   END IF;\n\
         \x20   IF current_setting('server_version_num')::int < 150000 THEN\n\
         \x20       RAISE 'the server is Postgres %, and must be 15 or later', current_setting('server_version');\n\
         \x20   END IF;\n\
         END $check$;\n\
         CREATE TABLE IF NOT EXISTS {HISTORY}(version int4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), \
         checksum VARCHAR(255));\n",
        lock = locks::SCHEMA,
    );
    for migration in migrations() {
        let (version, name, checksum) = (migration.version(), migration.name(), migration.checksum());
        out.push_str(&format!(
            "SELECT NOT EXISTS (SELECT FROM {HISTORY} WHERE version = {version}) AS apply_{version} \\gset\n\
             \\if :apply_{version}\n\
             {}\n\
             INSERT INTO {HISTORY} (version, name, applied_on, checksum) VALUES ({version}, '{name}',\n\
             \x20   to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), '{checksum}');\n\
             \\endif\n",
            migration.sql().unwrap_or_default().trim_end(),
        ));
    }
    out.push_str(
        "COMMIT;\n\
         DO $trigrams$ BEGIN\n\
         \x20   CREATE EXTENSION IF NOT EXISTS pg_trgm;\n\
         EXCEPTION WHEN OTHERS THEN\n\
         \x20   RAISE NOTICE 'pg_trgm cannot be installed, so words are found more slowly: %', SQLERRM;\n\
         END $trigrams$;\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_applied() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("migrations/")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort_by_key(|name| Migration::unapplied(name, "").expect("its name has its form").version());
        assert_eq!(files, FILES.map(|(name, _)| name));
        let versions: Vec<i32> = migrations().iter().map(Migration::version).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }
}
