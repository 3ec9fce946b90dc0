//! Lines as services write them, in every format: the same in every run, on every machine.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub const LINES: usize = 10_000;

const SOURCES: [&str; 6] = ["us2-db1", "eu1-mq1", "eu1-mq2", "ap1-web14", "us1-web3", "eu2-cache1"];
const APPLICATIONS: [&str; 5] = ["audit-sync", "order-sync", "order-worker", "payment-api", "session-gateway"];
const LEVELS: [&str; 6] = ["INFO", "DEBUG", "INFO", "WARN", "INFO", "ERROR"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Numbers that look random and are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    fn address(&mut self) -> String {
        format!("{}.{}.{}.{}", self.below(223) + 1, self.below(256), self.below(256), self.below(254) + 1)
    }

    fn clock(&mut self) -> String {
        format!("{:02}:{:02}:{:02}", self.below(24), self.below(60), self.below(60))
    }

    fn message(&mut self) -> String {
        match self.below(4) {
            0 => format!(
                "order {} accepted, {} items, payment ref {:08x}",
                self.below(900_000),
                self.below(9),
                self.0 as u32
            ),
            1 => format!("SELECT on orders returned {} rows in {}.93 ms", self.below(100), self.below(100)),
            2 => {
                format!("user {} logged in from {} session={:08x}", self.below(900_000), self.address(), self.0 as u32)
            }
            _ => format!(
                "cache miss for key product:{}:price, fetched from origin in {} ms",
                self.below(99_999),
                self.below(90)
            ),
        }
    }
}

/// A line of a format; the JSON ones are 245 bytes long on average.
pub fn line(format: &str, n: &mut Numbers) -> String {
    let (source, application, level) = (n.pick(&SOURCES), n.pick(&APPLICATIONS), n.pick(&LEVELS));
    let (message, clock, day) = (n.message(), n.clock(), n.below(28) + 1);
    let (id, took, pid) = (n.below(1 << 31) << 16 | n.below(1 << 16), n.below(900), n.below(30_000));
    match format {
        "json" => format!(
            r#"{{"timestamp":"2026-11-{day:02}T{clock}.{took:03}Z","level":"{level}","source":"{source}","application":"{application}","message":"{message}","metadata":{{"request_id":"{id:012x}","region":"us-west-2","duration_ms":{took},"user_id":{pid}}}}}"#
        ),
        "docker_json" => format!(
            r#"{{"log":"{message}\n","stream":"stdout","time":"2026-11-{day:02}T{clock}.{id:09}Z"}}"#,
            id = id % 1_000_000_000
        ),
        "cri" => format!("2026-11-{day:02}T{clock}.{:09}Z stdout F {message}", id % 1_000_000_000),
        "syslog_rfc5424" => format!(
            r#"<134>1 2026-11-{day:02}T{clock}.{took:03}Z {source} {application} {pid} {level} [meta@32473 request_id="{id:012x}" region="us-west-2" duration_ms="{took}"] {message}"#
        ),
        "syslog_rfc3164" => {
            format!("<{}>{} {day:2} {clock} {source} {application}[{pid}]: {message}", n.below(192), n.pick(&MONTHS))
        }
        "apache_common" => format!(
            r#"{} - - [{day:02}/{}/2026:{clock} +0000] "GET /product/{pid}/images/{took}x200.jpg HTTP/1.1" {} {}"#,
            n.address(),
            n.pick(&MONTHS),
            n.pick(&["200", "200", "304", "404", "500"]),
            n.below(99_999)
        ),
        "apache_combined" => format!(
            r#"{} "https://www.example.com/shop/{took}" "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36""#,
            line("apache_common", n)
        ),
        "apache_error" => format!(
            "[Fri Nov {day:02} {clock}.902022 2026] [core:error] [pid {pid}:tid 4328636416] [client {}:4711] AH00128: File does not exist: /usr/local/apache2/htdocs/{took}.ico",
            n.address()
        ),
        "nginx_error" => format!(
            r#"2026/11/{day:02} {clock} [error] {pid}#{pid}: *{took} open() "/usr/share/nginx/html/a{took}" failed (2: No such file or directory), client: {}, server: www.example.com, request: "GET /a{took} HTTP/1.1", host: "www.example.com""#,
            n.address()
        ),
        "logfmt" => format!(
            r#"ts=2026-11-{day:02}T{clock}.{took:03}Z level={level} host={source} app={application} msg="{message}" request_id={id:012x} region=us-west-2 duration_ms={took}"#
        ),
        _ => format!("2026-11-{day:02} {clock},{took:03} [main] {level} com.example.{application} - {message}"),
    }
}

pub const FORMATS: [&str; 11] = [
    "json",
    "docker_json",
    "syslog_rfc5424",
    "syslog_rfc3164",
    "apache_combined",
    "apache_common",
    "nginx_error",
    "apache_error",
    "cri",
    "logfmt",
    "plain",
];

pub fn lines(format: &str) -> Vec<String> {
    let mut numbers = Numbers(42);
    (0..LINES).map(|_| line(format, &mut numbers)).collect()
}

pub fn mixed() -> Vec<String> {
    let mut numbers = Numbers(42);
    (0..LINES)
        .map(|_| {
            let format = numbers.pick(&FORMATS);
            line(format, &mut numbers)
        })
        .collect()
}
