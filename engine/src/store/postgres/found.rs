//! Whether the server that was found is one to use: its version, the database's encoding, rights, the schema.

use tokio_postgres::Client;

use super::error::PostgresError;
use super::migrate::{HISTORY, SCHEMA_VERSION};
use super::target::Target;

/// `server_version_num` of the oldest version that is tried: 15.
const SERVER_VERSION_MIN: i32 = 150_000;

/// What a server that may be used is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As `15.18 (Debian …)`.
    pub version: String,
    pub schema: Schema,
    pub rights: Rights,
    pub trigrams: Trigrams,
    /// `fsync` is on: what was committed outlives a crash of the machine.
    pub is_durable: bool,
    /// A standby, which takes no rows.
    pub is_standby: bool,
    role: String,
    database: String,
}

/// The schema, against this program's. A newer one is refused by [`Target::inspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    None,
    Older(i32),
    Ours,
}

/// What the role of the URL may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Make tables: what `migrate` needs.
    pub create: bool,
    /// Owns the tables: what storing needs, since days become partitions. Meaningful once there is a schema.
    pub own: bool,
    /// Make temporary tables: what a batch that is stored again goes through.
    pub temporary: bool,
    pub read: bool,
}

/// `pg_trgm`, which makes words quick to find in days that are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigrams {
    Installed,
    /// `migrate` will install it.
    Installable,
    /// It is not on the server, or the role may not install it: all works, words are found more slowly.
    Missing,
}

impl std::fmt::Display for Found {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Postgres {}, database {}, ", self.version, self.database)?;
        match self.schema {
            Schema::None => out.write_str("no schema yet"),
            Schema::Older(version) => write!(out, "schema version {version} of {SCHEMA_VERSION}"),
            Schema::Ours => write!(out, "schema version {SCHEMA_VERSION}"),
        }
    }
}

impl Found {
    /// What could be better, each with its mend.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.is_durable {
            remarks.push("fsync is off: a crash of its machine loses records; set fsync = on".to_owned());
        }
        if self.is_standby {
            remarks.push("it is a standby, which takes no records: point db_url to the primary".to_owned());
        }
        if self.trigrams == Trigrams::Missing {
            remarks.push(format!(
                "words are found slowly in days that are over: install the extension pg_trgm (Debian: \
                 postgresql-contrib; then CREATE EXTENSION pg_trgm in {})",
                self.database
            ));
        }
        remarks
    }

    /// Whether rows can be stored, as it is now.
    pub fn for_writing(&self) -> Result<(), PostgresError> {
        self.for_reading()?;
        let (role, database) = (&self.role, &self.database);
        let lacks = |what: String| Err(PostgresError::Refused(format!("the role {role} {what}")));
        if !self.rights.own {
            return lacks(format!(
                "does not own the tables of Logboom in {database}: use the role that owns them, or run as the owner of \
                 the database: REASSIGN OWNED BY old_owner TO {role}"
            ));
        }
        if !self.rights.create {
            return lacks(format!("may not make tables: GRANT CREATE ON SCHEMA public TO {role}"));
        }
        if !self.rights.temporary {
            return lacks(format!("may not make temporary tables: GRANT TEMPORARY ON DATABASE {database} TO {role}"));
        }
        Ok(())
    }

    /// Whether queries can be answered.
    pub fn for_reading(&self) -> Result<(), PostgresError> {
        match self.schema {
            Schema::None => Err(PostgresError::Refused(format!(
                "the database {} has no tables of Logboom yet: run `logboom migrate`",
                self.database
            ))),
            Schema::Older(version) => Err(PostgresError::Refused(format!(
                "the schema of {} is version {version}, and this program's is {SCHEMA_VERSION}: run `logboom migrate`",
                self.database
            ))),
            Schema::Ours if !self.rights.read => Err(PostgresError::Refused(format!(
                "the role {} may not read the logs: GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}",
                self.role
            ))),
            Schema::Ours => Ok(()),
        }
    }

    /// Whether the schema can be made or brought up to date.
    pub fn for_migrating(&self) -> Result<(), PostgresError> {
        let (role, database) = (&self.role, &self.database);
        if self.schema != Schema::Ours && !self.rights.create {
            return Err(PostgresError::Refused(format!(
                "the role {role} may not make tables in {database}: GRANT CREATE ON SCHEMA public TO {role}, or ALTER \
                 DATABASE {database} OWNER TO {role}"
            )));
        }
        if self.is_standby {
            return Err(PostgresError::Away("the server is a standby: point db_url to the primary".to_owned()));
        }
        Ok(())
    }
}

impl Target {
    /// Looks at the server. One that is too old, not UTF8, or whose schema is a newer program's is
    /// [`Refused`](PostgresError::Refused); rights are for the caller to ask of [`Found`].
    pub async fn inspect(&self) -> Result<Found, PostgresError> {
        let client = self.connect("logboom/inspect").await?;
        inspect(&client).await
    }
}

const SERVER: &str = "
    SELECT current_setting('server_version_num')::int, current_setting('server_version'),
        current_setting('server_encoding'), current_database()::text, current_user::text,
        pg_is_in_recovery(), current_setting('fsync')::bool";

/// `to_regclass` finds a table by the search path and, unlike a cast, does not fail where there is none.
const RIGHTS: &str = "
    SELECT to_regclass('logs') IS NOT NULL,
        coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
        has_database_privilege(current_database(), 'TEMPORARY'),
        coalesce((SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) FROM pg_class c
            WHERE c.oid IN (to_regclass('logs'), to_regclass('log_counts'), to_regclass('ingested_batches'),
                to_regclass('dead_letters'))), false),
        coalesce(has_table_privilege(to_regclass('logs'), 'SELECT')
            AND has_table_privilege(to_regclass('log_counts'), 'SELECT'), false),
        EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm'),
        EXISTS (SELECT FROM pg_available_extension_versions WHERE name = 'pg_trgm'
            AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                OR name = 'pg_trgm' AND trusted AND has_database_privilege(current_database(), 'CREATE'))";

pub(super) async fn inspect(client: &Client) -> Result<Found, PostgresError> {
    let server = client.query_one(SERVER, &[]).await?;
    let (version, text): (i32, String) = (server.get(0), server.get(1));
    let (encoding, database, role): (String, String, String) = (server.get(2), server.get(3), server.get(4));
    check_server(version, &text, &encoding, &database)?;
    let rights = client.query_one(RIGHTS, &[]).await?;
    let schema = schema(client, rights.get(0)).await?;
    let trigrams = match (rights.get(5), rights.get(6)) {
        (true, _) => Trigrams::Installed,
        (false, true) => Trigrams::Installable,
        (false, false) => Trigrams::Missing,
    };
    let rights = Rights { create: rights.get(1), temporary: rights.get(2), own: rights.get(3), read: rights.get(4) };
    let (is_standby, is_durable) = (server.get(5), server.get(6));
    Ok(Found { version: text, schema, rights, trigrams, is_durable, is_standby, role, database })
}

fn check_server(version: i32, text: &str, encoding: &str, database: &str) -> Result<(), PostgresError> {
    if version < SERVER_VERSION_MIN {
        return Err(PostgresError::Refused(format!(
            "the server is Postgres {text}, and Logboom needs 15 or later: use a newer server"
        )));
    }
    if encoding != "UTF8" {
        return Err(PostgresError::Refused(format!(
            "the database {database} is {encoding}, which cannot hold every text: make one that is UTF8, as CREATE \
             DATABASE logs TEMPLATE template0 ENCODING 'UTF8', and name it in db_url"
        )));
    }
    Ok(())
}

async fn schema(client: &Client, has_logs: bool) -> Result<Schema, PostgresError> {
    let asked = format!("SELECT to_regclass('{HISTORY}') IS NOT NULL AND has_table_privilege('{HISTORY}', 'SELECT')");
    let readable: Option<bool> = match client.query_one(&asked, &[]).await {
        Ok(row) => row.get(0),
        // No such table.
        Err(error) if error.as_db_error().is_some() => Some(false),
        Err(error) => return Err(error.into()),
    };
    if readable != Some(true) {
        // A role that may only read need not see the history: what it is to read is there or not.
        return Ok(if has_logs { Schema::Ours } else { Schema::None });
    }
    let row = client.query_one(&format!("SELECT max(version)::int FROM {HISTORY}"), &[]).await?;
    match row.get::<_, Option<i32>>(0) {
        None => Ok(Schema::None),
        Some(version) if version > SCHEMA_VERSION => Err(PostgresError::Refused(format!(
            "the schema is version {version}, and this program knows {SCHEMA_VERSION} at most: run the newer logboom"
        ))),
        Some(version) if version < SCHEMA_VERSION => Ok(Schema::Older(version)),
        Some(_) => Ok(Schema::Ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_and_another_encoding_are_refused() {
        assert!(check_server(150_000, "15.0", "UTF8", "logs").is_ok());
        let error = check_server(140_011, "14.11", "UTF8", "logs").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server is Postgres 14.11, and Logboom needs 15 or later: use a newer server"
        );
        let error = check_server(150_000, "15.0", "SQL_ASCII", "logs").unwrap_err();
        assert!(error.text().contains("SQL_ASCII") && error.text().contains("ENCODING 'UTF8'"), "{error}");
    }
}
