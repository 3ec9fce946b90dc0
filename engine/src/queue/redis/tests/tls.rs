//! TLS, with an authority of our own: the certificates are named in the environment, so the test runs itself again.

use std::process::Command;

use super::*;

const INNER: &str = "LOGBOOM_TEST_TLS_URL";

#[test]
fn tls_is_spoken_and_certificates_are_checked() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let openssl = |arguments: &str| {
        let made =
            Command::new("openssl").current_dir(folder.path()).args(arguments.split(' ')).output().expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    std::fs::write(path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .expect("written");
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority");
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
    openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names");
    let tls_port = servers::free_port().to_string();
    let (cert, key, ca) = (path("server.crt"), path("server.key"), path("ca.crt"));
    let redis = Redis::with(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "secret",
    ]);
    let again = |url: String, authority: Option<&str>| {
        let mut inner = Command::new(std::env::current_exe().expect("this test"));
        inner.args(["--exact", "queue::redis::tests::tls::inner", "--ignored", "--nocapture"]).env(INNER, url);
        match authority {
            Some(file) => inner.env("SSL_CERT_FILE", file),
            None => inner.env_remove("SSL_CERT_FILE"),
        };
        let output = inner.output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let good = again(format!("rediss://:secret@localhost:{tls_port}"), Some(&ca));
    assert!(good.contains("outcome: in and out"), "{good}");
    let unknown = again(format!("rediss://:secret@localhost:{tls_port}"), None);
    assert!(unknown.contains("outcome: redis refuses") && unknown.contains("SSL_CERT_FILE"), "{unknown}");
    let plain = again(format!("rediss://:secret@localhost:{}", redis.port()), Some(&ca));
    assert!(plain.contains("if it speaks no TLS"), "{plain}");
}

#[tokio::test]
#[ignore = "run by the test above"]
async fn inner() {
    let Ok(url) = std::env::var(INNER) else { return };
    let target = Arc::new(Target::parse(&url).expect("a URL"));
    let outcome = async {
        target.inspect().await?;
        let options = PushOptions { timeout: Duration::from_secs(5), ..PushOptions::new(4, 0) };
        let pushed = Batches::new().some(3);
        Pusher::new(target.clone(), options, Arc::default())
            .push(&pushed)
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        let options = TakeOptions::new(4, "one".into(), Duration::from_secs(30));
        let taken = take_count(&mut Consumer::new(target.clone(), options, Arc::default()), 3).await;
        assert_eq!(ids_of(&taken), ids(&pushed));
        target.listen(Duration::from_secs(5)).await.map(drop)
    };
    match outcome.await {
        Ok(()) => println!("outcome: in and out"),
        Err(error) => println!("outcome: {error}"),
    }
}
