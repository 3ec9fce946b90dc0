//! `logboom migrate`: brings the Postgres of `db_url` to this version's schema, or prints how.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use engine::store::postgres::{self, Target};

use crate::Failure;
use crate::cli::Migrate;
use crate::config::Settings;

pub fn run(settings: &Settings, options: &Migrate) -> Result<ExitCode, Failure> {
    if options.print {
        std::io::stdout().write_all(postgres::script().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = target(settings)?;
    let migrated = on_runtime(postgres::migrate(&target))??;
    let mut out = std::io::stdout().lock();
    match (migrated.from, migrated.to) {
        (from, to) if from == to => writeln!(out, "{}: the schema is version {to} already", target.shown())?,
        (0, to) => writeln!(out, "{}: made the schema, version {to}", target.shown())?,
        (from, to) => writeln!(out, "{}: brought the schema from version {from} to {to}", target.shown())?,
    }
    if !migrated.trigrams {
        writeln!(
            out,
            "pg_trgm is not installed, so words are found slowly in days that are over: install it (Debian: \
             postgresql-contrib) and run this again"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where `db_url` points.
pub fn target(settings: &Settings) -> Result<Arc<Target>, Failure> {
    let url = settings.engine.db_url.as_deref();
    let url =
        url.ok_or("no Postgres is named: set DB_URL, or --db-url postgresql://user:password@host:5432/database")?;
    Ok(Arc::new(Target::parse(url).map_err(|reason| format!("db_url: {reason}"))?))
}

/// The driver wants a runtime.
pub fn on_runtime<T>(asking: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking))
}
