//! Servers that cannot be used, each with its mend; migrations.

use super::super::{Migrated, PostgresError, SCHEMA_VERSION, Schema, Trigrams, script};
use super::*;

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, PostgresError>, words: &[&str]) {
    match result {
        Err(PostgresError::Refused(text)) => {
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
            assert!(!text.contains("log_password"), "{text}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn target(url: &str) -> Target {
    Target::parse(url).unwrap()
}

#[test]
fn a_server_that_answers_and_refuses_says_what_to_do() {
    let bed = Bed::bare(Postgres::start_new());
    let url = bed.server.url();
    let found = bed.run(bed.target.inspect()).unwrap();
    assert_eq!((found.schema, found.is_durable, found.is_standby), (Schema::None, true, false));
    refusal(found.for_writing(), &["log_aggregation", "logboom migrate"]);
    // A database that is not there.
    refusal(bed.run(target(&url.replace("log_aggregation", "nowhere")).inspect()), &["nowhere", "CREATE DATABASE"]);
    // One that is not UTF8.
    let made =
        "CREATE DATABASE ascii OWNER log_user TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    bed.server.sql_as("postgres", "postgres", made);
    let ascii = target(&url.replace("log_aggregation", "ascii"));
    refusal(bed.run(ascii.inspect()), &["SQL_ASCII", "ENCODING 'UTF8'"]);
    refusal(bed.run(migrate(&ascii)), &["SQL_ASCII", "ENCODING 'UTF8'"]);
    // A role that may do nothing.
    bed.server.sql_as("postgres", "postgres", "CREATE ROLE guest LOGIN");
    let guest = target(&url.replace("log_user:log_password", "guest"));
    refusal(bed.run(migrate(&guest)), &["guest", "may not make tables", "GRANT CREATE ON SCHEMA public TO guest"]);
    bed.run(migrate(&bed.target)).unwrap();
    let found = bed.run(guest.inspect()).unwrap();
    refusal(found.for_reading(), &["guest", "GRANT SELECT"]);
    // One that may read, and not store.
    bed.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest");
    let found = bed.run(guest.inspect()).unwrap();
    found.for_reading().unwrap();
    refusal(found.for_writing(), &["guest", "does not own the tables"]);
    let mut writer = Writer::new(Arc::new(guest), "0", WriterOptions::default(), bed.counters.clone());
    assert_refused(bed.store(&mut writer, &Source::new(NOON).batches(1, 1)), "does not own the tables");
    // A password that is asked for and wrong, or not there.
    bed.server.set_access("local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n");
    bed.run(bed.target.inspect()).unwrap();
    refusal(bed.run(target(&url.replace("log_password", "wrong")).inspect()), &["28P01", "correct db_url"]);
    refusal(bed.run(target(&url.replace(":log_password", "")).inspect()), &["password", "postgresql://user:password@"]);
    bed.server.set_access("local all all trust\nhost all postgres all trust\nhost all all all reject\n");
    refusal(bed.run(bed.target.inspect()), &["28000", "pg_hba.conf"]);
    bed.server.set_access("local all all trust\nhost all all all trust\n");
    // A schema from a newer program, found at the start and while running.
    let mut writer = bed.writer("0");
    bed.sql("INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
    refusal(bed.run(bed.target.inspect()), &["version 99", "newer logboom"]);
    refusal(bed.run(migrate(&bed.target)), &["version 99", "newer logboom"]);
    assert_refused(bed.store(&mut writer, &Source::new(NOON).batches(1, 1)), "version 99");
    // The same number, and another content.
    bed.sql("DELETE FROM refinery_schema_history; INSERT INTO refinery_schema_history VALUES (0, 'x', '2030-01-01T00:00:00Z', '1')");
    refusal(bed.run(migrate(&bed.target)), &["another build"]);
}

#[test]
fn a_server_that_cannot_be_reached_is_away() {
    let nobody = servers::free_port();
    let mut bed = Bed::bare(Postgres::with(&["max_connections=5", "superuser_reserved_connections=3", "fsync=off"]));
    let away = |url: String| match bed.run(target(&url).inspect()) {
        Err(PostgresError::Away(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(
        away(format!("postgresql://u:log_password@127.0.0.1:{nobody}/d")).contains("is the server of db_url running")
    );
    assert!(away("postgresql://u:log_password@no-such-host.invalid/d".to_owned()).contains("host in db_url"));
    let taken: Vec<Client> = (0..2).map(|_| bed.connect("test")).collect();
    assert!(away(bed.server.url()).contains("max_connections"));
    drop(taken);
    bed.wait_for("count(*) = 0 FROM pg_stat_activity WHERE application_name = 'test'");
    let found = bed.run(bed.target.inspect()).unwrap();
    assert!(!found.is_durable && found.remarks()[0].contains("fsync = on"));
    assert!(found.to_string().starts_with("Postgres 1"), "{found}");
    bed.server.stop("fast");
    assert!(bed.run(bed.target.inspect()).unwrap_err().is_away());
}

#[test]
fn many_processes_may_migrate_at_once() {
    let bed = Bed::bare(Postgres::start_new());
    assert_eq!(bed.run(bed.target.inspect()).unwrap().trigrams, Trigrams::Installable);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let target = bed.target.clone();
            bed.runtime.spawn(async move { migrate(&target).await })
        })
        .collect();
    let migrated: Vec<Migrated> = tasks.into_iter().map(|task| bed.run(task).unwrap().unwrap()).collect();
    assert_eq!(migrated.iter().filter(|migrated| migrated.from == 0).count(), 1);
    assert!(migrated.iter().all(|migrated| migrated.to == SCHEMA_VERSION && migrated.trigrams));
    let found = bed.run(bed.target.inspect()).unwrap();
    assert_eq!((found.schema, found.trigrams), (Schema::Ours, Trigrams::Installed));
    found.for_writing().unwrap();
}

#[test]
fn the_script_does_what_migrate_does() {
    let bed = Bed::bare(Postgres::start_new());
    let file = bed.server.folder().join("schema.sql");
    std::fs::write(&file, script()).unwrap();
    bed.server.sql_file(&file);
    // A second time there is nothing to do, and it says so by doing nothing.
    bed.server.sql_file(&file);
    let found = bed.run(bed.target.inspect()).unwrap();
    assert_eq!((found.schema, found.trigrams), (Schema::Ours, Trigrams::Installed));
    let migrated = bed.run(migrate(&bed.target)).unwrap();
    assert_eq!(migrated, Migrated { from: SCHEMA_VERSION, to: SCHEMA_VERSION, trigrams: true });
    let shape = "SELECT string_agg(table_name || '.' || column_name || ' ' || data_type, ', ' ORDER BY table_name,
        ordinal_position) FROM information_schema.columns WHERE table_schema = 'public'";
    let by_script = bed.sql(shape);
    let other = Bed::new();
    assert_eq!(other.sql(shape), by_script);
    let history = "SELECT version, name, checksum FROM refinery_schema_history";
    assert_eq!(other.sql(history), bed.sql(history));
    // And the other way about.
    let file = other.server.folder().join("schema.sql");
    std::fs::write(&file, script()).unwrap();
    other.server.sql_file(&file);
}

/// A role or a database may have defaults that would lose or break transactions.
#[test]
fn defaults_of_the_role_do_not_weaken_a_commit() {
    let bed = Bed::new();
    for setting in [
        "synchronous_commit = off",
        "statement_timeout = '1ms'",
        "default_transaction_isolation = 'serializable'",
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'SQL, DMY'",
    ] {
        bed.as_superuser(&format!("ALTER ROLE log_user SET {setting}"));
    }
    let mut writer = bed.writer("0");
    let batches = Source::new(NOON + DAY / 2 - 5 * SECOND).batches(3, 2_000);
    // A statement of 1 ms would not do even to look at the server.
    bed.as_superuser("ALTER ROLE log_user SET statement_timeout = '5s'");
    assert_eq!(bed.store(&mut writer, &batches).unwrap().rows, 6_000);
    assert_eq!(bed.partitions(), "logs_2026_11_20 logs_2026_11_21");
    assert_eq!(bed.store(&mut writer, &batches).unwrap().known, 3);
}
