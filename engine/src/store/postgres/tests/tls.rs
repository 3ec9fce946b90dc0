//! `sslmode`, against a server with a certificate of an authority that nobody knows.

use std::path::Path;
use std::process::Command;

use super::super::PostgresError;
use super::*;

fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn each_mode_looks_at_what_it_should() {
    let mut server = Postgres::start_new();
    let url = server.url();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let connect = |url: String, query: &str| {
        let target = Target::parse(&format!("{url}?{query}")).unwrap();
        runtime.block_on(async {
            let client = target.connect("test").await?;
            let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            Ok::<bool, PostgresError>(client.query_one(asked, &[]).await?.get(0))
        })
    };
    // Where the server has none, only those that ask for it fail.
    assert_eq!(connect(url.clone(), "sslmode=prefer"), Ok(false));
    let refused = connect(url.clone(), "sslmode=require").unwrap_err();
    assert!(!refused.is_away() && refused.text().contains("takes no TLS"), "{refused}");

    server.stop("fast");
    let data = server.folder().join("data");
    openssl(
        &data,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
    );
    openssl(
        &data,
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=db -addext subjectAltName=DNS:db -keyout server.key -out server.csr",
    );
    openssl(
        &data,
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out server.crt",
    );
    server.own(&data.join("server.key"));
    server.own(&data.join("server.crt"));
    server.set_option("ssl=on");
    server.start();
    let roots = data.join("ca.crt").display().to_string().replace('/', "%2F");
    for (query, expected) in [
        ("sslmode=disable".to_owned(), Some(false)),
        (String::new(), Some(true)),
        ("sslmode=prefer".to_owned(), Some(true)),
        ("sslmode=require".to_owned(), Some(true)),
        // The machine's authorities do not know this one.
        ("sslmode=verify-ca".to_owned(), None),
        ("sslmode=verify-full".to_owned(), None),
        (format!("sslmode=verify-ca&sslrootcert={roots}"), Some(true)),
        (format!("sslmode=require&sslrootcert={roots}"), Some(true)),
        // The certificate is for the host `db`, and this is 127.0.0.1.
        (format!("sslmode=verify-full&sslrootcert={roots}"), None),
        (format!("sslmode=verify-full&sslrootcert={roots}&hostaddr=127.0.0.1"), Some(true)),
    ] {
        let url = if query.contains("hostaddr") { url.replace("127.0.0.1", "db") } else { url.clone() };
        match (connect(url, &query), expected) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected, "{query}"),
            (Err(PostgresError::Refused(text)), None) => {
                assert!(text.contains("sslrootcert") && text.contains("certificate"), "{query}: {text}");
            }
            (other, _) => panic!("{query}: {other:?}"),
        }
    }
}
