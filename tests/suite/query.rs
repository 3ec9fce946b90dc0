//! Reading: pages, filters, counts, exports.

use std::collections::HashSet;
use std::time::Duration;

use sonic_rs::{JsonContainerTrait, JsonValueTrait};

use crate::harness::{Server, request, text, wait_until};

/// Small enough that a test's rows go through memory, flushes and files.
const OFTEN: [&str; 4] = ["--flush-bytes", "64KiB", "--flush-age", "300ms"];

/// Records 2025-01-01 00:00:00 + `index` seconds.
fn line(index: usize) -> String {
    let level = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"][index % 6];
    let (minute, second) = (index / 60, index % 60);
    format!(
        r#"{{"timestamp":"2025-01-01T{:02}:{:02}:{second:02}Z","level":"{level}","source":"host-{}","application":"app-{}","message":"event {index} of kind k{}","metadata":{{"n":{index},"even":{},"path":"/p/{}"}}}}"#,
        minute / 60,
        minute % 60,
        index % 4,
        index % 3,
        index % 7,
        index.is_multiple_of(2),
        index % 5,
    ) + "\n"
}

fn fill(server: &Server, range: std::ops::Range<usize>) {
    let body: String = range.clone().map(line).collect();
    let answer = server.post("/data/batch", "application/x-ndjson", body);
    assert_eq!(answer.json()["accepted"].as_u64(), Some(range.len() as u64), "{}", answer.text());
}

#[test]
fn pages_stay_right_while_rows_arrive_and_files_change() {
    let server = Server::with(&OFTEN);
    fill(&server, 0..5_000);
    server.wait_for_count("", 5_000);
    let mut seen = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let target = match &cursor {
            None => "/logs/?limit=271&to=2025-01-01T01:23:20Z".to_owned(),
            Some(cursor) => format!("/logs/?limit=271&to=2025-01-01T01:23:20Z&cursor={cursor}"),
        };
        let answer = server.get(&target);
        seen.extend(answer.logs().iter().map(|log| log["metadata"]["n"].as_u64().expect("n")));
        // More arrive meanwhile, newer and older than where the page is.
        let newer = 5_000 + seen.len() * 3;
        fill(&server, newer..newer + 500);
        cursor = answer.json()["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<u64> = (0..5_000).rev().collect();
    assert_eq!(seen, expected);
    let other = server.get(&format!(
        "/logs/?limit=10&level=ERROR&cursor={}",
        server.get("/logs/?limit=10").json()["next_cursor"].as_str().unwrap()
    ));
    assert_eq!(other.status, 400, "a cursor belongs to its filter: {}", other.text());
}

#[test]
fn filters_find_what_they_say() {
    let server = Server::with(&OFTEN);
    fill(&server, 0..2_000);
    server.wait_for_count("", 2_000);
    let count = |test: &dyn Fn(usize) -> bool| (0..2_000).filter(|index| test(*index)).count() as u64;
    for (query, expected) in [
        ("?level=ERROR", count(&|i| i % 6 == 4)),
        ("?level=error,FATAL", count(&|i| i % 6 >= 4)),
        ("?level=warning", count(&|i| i % 6 == 3)),
        ("?level_min=WARN", count(&|i| i % 6 >= 3)),
        ("?source=host-1", count(&|i| i % 4 == 1)),
        ("?application=app-2", count(&|i| i % 3 == 2)),
        ("?from=2025-01-01T00:10:00Z", 1_400),
        ("?to=2025-01-01T00:10:00Z", 600),
        ("?from=2025-01-01T00:10:00Z&to=2025-01-01T00:11:00Z", 60),
        ("?metadata.n=77", 1),
        ("?metadata.even=true", 1_000),
        ("?metadata.path=/p/3", 400),
        ("?q=event", 2_000),
        ("?q=EVENT%20k3", count(&|i| i % 7 == 3)),
        ("?q=%22of%20kind%20k3%22", count(&|i| i % 7 == 3)),
        ("?q=k3%20-level:ERROR", count(&|i| i % 7 == 3 && i % 6 != 4)),
        ("?q=k3%20or%20k4", count(&|i| i % 7 == 3 || i % 7 == 4)),
        ("?q=level:(ERROR,FATAL)", count(&|i| i % 6 >= 4)),
        ("?q=n:%3E1989", 10),
        ("?q=metadata.n:*", 2_000),
        ("?q=nowhere", 0),
        ("?level=ERROR&source=host-0&q=k1", count(&|i| i % 6 == 4 && i % 4 == 0 && i % 7 == 1)),
    ] {
        assert_eq!(server.count(query), expected, "/stats{query}");
        let page = server.get(&format!("/logs/{query}&limit=10000")).logs();
        assert_eq!(page.len() as u64, expected, "/logs/{query}");
        let export = server.get(&format!("/logs/export{query}&format=ndjson"));
        assert_eq!((export.status, export.text().lines().count() as u64), (200, expected), "/logs/export{query}");
    }
    for (query, status) in [
        ("?level=LOUD", 400),
        ("?level_min=x", 400),
        ("?from=nonsense", 400),
        ("?limit=0", 400),
        ("?limit=10001", 400),
        ("?limit=x", 400),
        ("?cursor=x", 400),
        ("?q=%22open", 400),
        ("?q=n:%3Ex", 400),
    ] {
        let answer = server.get(&format!("/logs/{query}"));
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert!(!answer.code().is_empty(), "{query}: {}", answer.text());
    }
}

#[test]
fn counts_are_exact_and_shapes_are_as_documented() {
    let server = Server::with(&OFTEN);
    fill(&server, 0..1_200);
    server.wait_for_count("", 1_200);
    let stats = server.get("/stats").json();
    assert_eq!(stats["by_level"]["ERROR"].as_u64(), Some(200), "{stats:?}");
    let rate = stats["error_rate"].as_f64().expect("a rate");
    assert!((rate - 1.0 / 3.0).abs() < 1e-6, "{rate}: ERROR and FATAL of all");
    assert!(stats["per_second"].is_number(), "{stats:?}");
    let histogram = server.get("/stats/histogram?interval=1m").json();
    assert_eq!(histogram["interval_seconds"].as_u64(), Some(60), "{histogram:?}");
    let buckets = histogram["buckets"].as_array().expect("buckets");
    assert_eq!(buckets.len(), 20);
    assert!(
        buckets
            .iter()
            .all(|bucket| bucket["total"].as_u64() == Some(60) && bucket["levels"]["INFO"].as_u64() == Some(10))
    );
    assert_eq!(text(&buckets[0], "from").get(..19), Some("2025-01-01T00:00:00"));
    let facets = server.get("/stats/facets?field=source&limit=3").json();
    let values = facets["values"].as_array().expect("values");
    assert_eq!(
        (values.len(), values[0]["count"].as_u64(), facets["other"].as_u64()),
        (3, Some(300), Some(300)),
        "{facets:?}"
    );
    let facets = server.get("/stats/facets?field=metadata.path&level=ERROR").json();
    assert_eq!(facets["values"].as_array().map(|values| values.len()), Some(5), "{facets:?}");
    for bad in [
        "/stats/facets",
        "/stats/facets?field=nothing.of.the.kind:",
        "/stats/histogram?interval=x",
        "/stats/histogram?interval=2d",
    ] {
        let answer = server.get(bad);
        assert!(matches!(answer.status, 400 | 200), "{bad}: {}", answer.text());
    }
    let one = server.get("/logs/?metadata.n=600").logs();
    let id = text(&one[0], "id");
    let context = server.get(&format!("/logs/{id}/context?before=2&after=3")).json();
    let ns = |key: &str| -> Vec<u64> {
        context[key].as_array().expect("logs").iter().map(|log| log["metadata"]["n"].as_u64().expect("n")).collect()
    };
    assert_eq!((ns("before"), ns("after")), (vec![592, 596], vec![604, 608, 612]));
    assert_eq!(text(&context["log"], "id"), id);
    assert_eq!(server.get("/logs/00000000-0000-7000-8000-000000000000").status, 404);
    assert_eq!(server.get("/logs/nonsense").status, 400);
}

#[test]
fn an_export_waits_for_a_slow_reader() {
    let server = Server::with(&OFTEN);
    for part in 0..10 {
        fill(&server, part * 5_000..(part + 1) * 5_000);
    }
    server.wait_for_count("", 50_000);
    let mut connection = server.connect();
    connection.send(&request("GET", "/logs/export?format=ndjson", &[], b""));
    // Longer than buffers hold, while the server does other things.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.count(""), 50_000);
    fill(&server, 50_000..51_000);
    std::thread::sleep(Duration::from_millis(700));
    let answer = connection.answer();
    let export = answer.text();
    let found: HashSet<u64> = export
        .lines()
        .map(|line| sonic_rs::from_str::<sonic_rs::Value>(line).expect("JSON")["metadata"]["n"].as_u64().expect("n"))
        .collect();
    assert_eq!((export.lines().count(), found.len()), (50_000, 50_000), "one snapshot, each record once");
    let csv = server.get("/logs/export?format=csv&level=ERROR").text();
    assert!(
        csv.starts_with("id,timestamp,level,source,application,message,metadata"),
        "{}",
        &csv[..200.min(csv.len())]
    );
    // Whoever leaves early is not missed.
    let mut leaver = server.connect();
    leaver.send(&request("GET", "/logs/export?format=ndjson", &[], b""));
    let mut some = [0; 1000];
    assert!(leaver.read(&mut some) > 0);
    drop(leaver);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn documents_and_the_dashboard_are_served() {
    let server = Server::start();
    for (target, part) in [("/", "<html"), ("/api/openapi.json", "\"openapi\""), ("/api/docs", "swagger")] {
        let mut answer = server.get(target);
        if let (301..=308, Some(location)) = (answer.status, answer.header("location")) {
            answer = server.get(location);
        }
        assert_eq!(answer.status, 200, "{target}");
        assert!(answer.text().to_lowercase().contains(part), "{target}: {}", answer.text());
    }
    let openapi = server.get("/api/openapi.json").text();
    for route in ["/data/fast", "/data/batch", "/parse/auto", "/logs/export", "/stats/histogram", "/ws/logs"] {
        assert!(openapi.contains(&format!("\"{route}")), "{route}");
    }
}

#[test]
fn queries_tell_what_they_read() {
    let server = Server::with(&["--flush-age", "100ms", "--query-bytes-max", "64KiB"]);
    fill(&server, 0..2_000);
    wait_until("a flush", || server.get("/metrics").text().contains("logboom_memory_rows 0\n"));
    for (target, rows) in [
        ("/logs/?q=event&limit=5", true),
        ("/stats?q=event", true),
        ("/stats/facets?field=metadata.path&q=event", true),
        // From kept counts.
        ("/stats", false),
        ("/stats/histogram?interval=1m", false),
        ("/stats/facets?field=source", false),
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let timing = answer.header("server-timing").unwrap_or_else(|| panic!("{target} tells nothing"));
        assert!(timing.starts_with("query;dur=") && timing.contains("wait;dur=") && timing.contains("files;desc="));
        assert_eq!(!timing.contains("rows;desc=\"0 read\""), rows, "{target}: {timing}");
    }
    let answer = server.get("/logs/?limit=2000");
    assert_eq!((answer.status, answer.code().as_str()), (503, "query_too_large"), "{}", answer.text());
    let metrics = server.get("/metrics").text();
    for line in ["logboom_query_failures_total{reason=\"memory\"} 1\n", "logboom_queries_total{kind=\"histogram\"} 1\n"]
    {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
