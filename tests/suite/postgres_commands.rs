//! `logboom migrate` and `logboom dead-letters`, against a Postgres of their own.

use std::process::Output;

use servers::Postgres;
use tempfile::TempDir;

use crate::harness::logboom;

struct Shell {
    folder: TempDir,
    url: String,
}

impl Shell {
    fn new(server: &Postgres) -> Shell {
        Shell { folder: tempfile::tempdir().unwrap(), url: server.url() }
    }

    fn run(&self, line: &str) -> Output {
        logboom(self.folder.path()).args(line.split(' ')).env("DB_URL", &self.url).output().unwrap()
    }

    /// What it prints, having done what it should.
    fn out(&self, line: &str) -> String {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it will not.
    fn refusal(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line} succeeds");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!told.contains("log_password"), "{told}");
        told
    }
}

#[test]
fn migrate_makes_the_schema_or_says_why_not() {
    let server = Postgres::start_new();
    let mut shell = Shell::new(&server);
    assert!(shell.refusal("dead-letters list").contains("run `logboom migrate`"));
    assert!(shell.out("migrate").contains("made the schema, version 1"));
    assert!(shell.out("migrate").contains("the schema is version 1 already"));
    assert_eq!(server.sql("SELECT count(*) FROM logs"), "0");
    // The flag goes before the variable.
    let url = std::mem::replace(&mut shell.url, "postgresql://nobody@127.0.0.1:1/nowhere".to_owned());
    assert!(shell.out(&format!("migrate --db-url {url}")).contains("already"));
    assert!(shell.refusal("migrate").contains("is the server of db_url running"));
    shell.url = "mysql://log_user:log_password@localhost/logs".to_owned();
    assert!(shell.refusal("migrate").contains("postgresql://user:password@host"));
    shell.url = String::new();
    assert!(shell.refusal("migrate").contains("set DB_URL"));

    // The script, for whoever keeps the database.
    let script = shell.folder.path().join("schema.sql");
    std::fs::write(&script, shell.out("migrate --print")).unwrap();
    let other = Postgres::start_new();
    other.sql_file(&script);
    shell.url = other.url();
    assert!(shell.out("migrate").contains("the schema is version 1 already"));
}

#[test]
fn dead_letters_are_listed_replayed_and_dropped() {
    let server = Postgres::start_new();
    let shell = Shell::new(&server);
    shell.out("migrate");
    assert_eq!(shell.out("dead-letters list"), "");
    assert!(shell.refusal("dead-letters replay").contains("<ID|--all>"));
    assert!(shell.refusal("dead-letters drop not-an-id").contains("`not-an-id` is no id"));
    // Rows as they came: one that fits, and one that a constraint refuses.
    let row = |id: u8, message: &str| {
        let mut tuple = b"\0\x08\0\0\0\x02\0\x03\0\0\0\x10\x01\x9a\x1f\x8d\x3e\xa0\x70\0\x80\0\0\0\0\0\0".to_vec();
        tuple.push(id);
        tuple.extend(b"\0\0\0\x08\0\x02\xf0\x60\x9c\x25\x40\0\0\0\0\x04INFO");
        for text in ["a-host", "an-app", message, "\u{1}{}"] {
            tuple.extend((text.len() as u32).to_be_bytes());
            tuple.extend(text.as_bytes());
        }
        let hex: String = tuple.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = format!("019a1f8d-3ea0-7000-8000-0000000000{id:02x}");
        server.sql(&format!(
            "INSERT INTO dead_letters VALUES (3, '{id}', '{id}', now(), 'by hand', decode('{hex}', 'hex'))"
        ));
        id
    };
    let fits = row(1, "it fits");
    let refused = row(2, "it does not");
    server.sql("ALTER TABLE logs ADD CONSTRAINT fits CHECK (message <> 'it does not')");
    let listed = shell.out("dead-letters list");
    assert_eq!(listed.lines().count(), 2);
    assert!(listed.contains("\"reason\":\"by hand\"") && listed.contains("\"message\":\"it fits\""), "{listed}");
    assert_eq!(shell.out("dead-letters list --limit 1").lines().count(), 1);
    let output = shell.run("dead-letters replay --all");
    assert!(!output.status.success());
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out, "1 records stored, 0 had been stored before, 1 were refused again\n");
    assert_eq!(server.sql("SELECT id FROM logs"), fits);
    assert!(shell.out("dead-letters list").contains("violates check constraint"));
    assert_eq!(shell.out(&format!("dead-letters drop {refused}")), "1 dead letters dropped\n");
    assert_eq!(shell.out("dead-letters drop --all"), "0 dead letters dropped\n");
}
