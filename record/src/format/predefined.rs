//! Patterns for what well-known systems write, by name: `?format=postgres`. They are not detected, as many of these
//! lines differ in little but their origin.

use std::sync::OnceLock;

use super::pattern::Pattern;
use super::{FormatInfo, Malformed, Parser, mismatch};
use crate::fields::{Context, Fields};

/// A pattern that is compiled when it is first used.
pub struct Predefined {
    pub info: FormatInfo,
    pub expression: &'static str,
    /// The shape of its times, where it is no usual one.
    pub time_format: Option<&'static str>,
    compiled: OnceLock<Option<Pattern>>,
}

impl Parser for Predefined {
    fn info(&self) -> &FormatInfo {
        &self.info
    }

    fn parse<'a>(&self, line: &'a [u8], context: &Context, out: &mut Fields<'a>) -> Result<(), Malformed> {
        let compile = || Pattern::named(self.info, self.expression, self.time_format).ok();
        match self.compiled.get_or_init(compile) {
            Some(pattern) => pattern.parse(line, context, out),
            None => Err(mismatch(self.info.name, "its expression is broken", 0)),
        }
    }
}

const fn predefined(
    name: &'static str,
    title: &'static str,
    example: &'static str,
    fields: &'static [&'static str],
    expression: &'static str,
    time_format: Option<&'static str>,
) -> Predefined {
    let info = FormatInfo { name, title, example, fields, specification: expression };
    Predefined { info, expression, time_format, compiled: OnceLock::new() }
}

/// All of them.
pub static PREDEFINED: [Predefined; 15] = [
    predefined(
        "hdfs",
        "Hadoop's distributed file system (HDFS)",
        "251111 160000 148 INFO dfs.DataNode$DataXceiver: Received block blk_1073741825 of size 134217728 from 10.0.4.17",
        &["timestamp", "level", "message", "metadata.thread", "metadata.component"],
        r#"^(?P<timestamp>\d{6} \d{6}) (?P<thread__int>\d+) (?P<level>\w+) (?P<component>[^\s:]+): (?P<message>.*)$"#,
        Some("%y%m%d %H%M%S"),
    ),
    predefined(
        "hadoop",
        "Hadoop, YARN and MapReduce",
        "2025-11-11 16:00:00,978 INFO [main] org.apache.hadoop.yarn.client.RMProxy: Connecting to ResourceManager at rm/10.0.4.2:8032",
        &["timestamp", "level", "message", "metadata.thread", "metadata.class"],
        r#"^(?P<timestamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (?P<level>[A-Z]+) +\[(?P<thread>.*?)\] (?P<class>[\w.$]+): (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "spark",
        "Apache Spark",
        "25/11/11 16:00:00 INFO scheduler.DAGScheduler: Job 7 finished: collect at app.py:31, took 0.153 s",
        &["timestamp", "level", "message", "metadata.class"],
        r#"^(?P<timestamp>\d\d/\d\d/\d\d \d\d:\d\d:\d\d) (?P<level>[A-Z]+) +(?P<class>[\w.$]+): (?P<message>.*)$"#,
        Some("%y/%m/%d %H:%M:%S"),
    ),
    predefined(
        "zookeeper",
        "Apache ZooKeeper",
        "2025-11-11 16:00:00,747 - INFO  [NIOServerCxn.Factory:0.0.0.0/0.0.0.0:2181:NIOServerCnxn@1008] - Closed socket connection for client /10.0.4.17:41207",
        &["timestamp", "level", "message", "metadata.myid", "metadata.thread", "metadata.class", "metadata.line"],
        r#"^(?P<timestamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (?:\[myid:(?P<myid>.*?)\] )?- (?P<level>[A-Z]+) +\[(?P<thread>.*):(?P<class>[^:\]@]*)@(?P<line__int>\d+)\] - (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "openstack",
        "OpenStack (oslo.log)",
        "2025-11-11 16:00:00.008 2931 INFO nova.compute.manager [req-7d1f0c1e-51a5-4d0e-9f2c-1f6a2c6f4f11 demo demo - - -] Took 4.21 seconds to build instance.",
        &["timestamp", "level", "message", "metadata.file", "metadata.pid", "metadata.component", "metadata.request"],
        r#"^(?:(?P<file>\S+\.log\S*) )?(?P<timestamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (?P<pid__int>\d+) (?P<level>[A-Z]+) (?P<component>\S+) \[(?P<request>[^\]]*)\] (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "log4j",
        "log4j and log4j2, the usual layout",
        "2025-11-11 16:00:00,123 [main] INFO  com.example.Pool - 3 connections left",
        &["timestamp", "level", "message", "metadata.thread", "metadata.class"],
        r#"^(?P<timestamp>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[,.]\d{3}) +\[(?P<thread>[^\]]*)\] +(?P<level>[A-Z]+) +(?P<class>[\w.$]+)(?: +-|:) (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "logback",
        "logback and Spring Boot",
        "2025-11-11T16:00:00.123+01:00  WARN 4711 --- [orders] [nio-8080-exec-1] c.e.shop.OrderController : out of stock",
        &["timestamp", "level", "application", "message", "metadata.pid", "metadata.thread", "metadata.class"],
        r#"^(?P<timestamp>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.,]\d{3}(?:Z|[+-]\d\d:?\d\d)?) +(?P<level>[A-Z]+) +(?:(?P<pid__int>\d+) +)?(?:--- )?(?:\[(?P<application>[^\]]*)\] +)??\[ *(?P<thread>[^\]]*)\] +(?P<class>[\w.$/\[\]]+) +[:-] (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "python",
        "Python's logging, the usual layouts",
        "2025-11-11 16:00:00,123 - shop.orders - ERROR - out of stock",
        &["timestamp", "level", "message", "metadata.name"],
        r#"^(?P<timestamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (?:- (?P<name>\S+) - (?P<level>[A-Z]+) - |(?:(?P<severity>[A-Z]+) ))(?P<message>.*)$"#,
        None,
    ),
    predefined(
        "klog",
        "Go's klog and glog (Kubernetes)",
        "W1111 16:00:00.160748       1 reflector.go:424] watch of ConfigMap ended with an error",
        &["timestamp", "level", "message", "metadata.thread", "metadata.file", "metadata.line"],
        r#"^(?P<level>[IWEFD])(?P<timestamp>\d{4} \d\d:\d\d:\d\d\.\d+) +(?P<thread__int>\d+) (?P<file>[^:\]]+):(?P<line__int>\d+)\] (?P<message>.*)$"#,
        Some("%m%d %H:%M:%S.%f"),
    ),
    predefined(
        "rails",
        "Ruby's Logger and Rails",
        r#"I, [2025-11-11T16:00:00.123456 #4711]  INFO -- : Started GET "/" for 127.0.0.1"#,
        &["timestamp", "level", "application", "message", "metadata.pid"],
        r#"^[A-Z], \[(?P<timestamp>\S+) +#(?P<pid__int>\d+)\] +(?P<level>[A-Z]+) -- (?P<program>[^:]*): (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "postgres",
        "PostgreSQL's server log",
        r#"2025-11-11 16:00:00.123 UTC [4711] app@shop ERROR:  relation "orders" does not exist at character 15"#,
        &["timestamp", "level", "message", "metadata.pid", "metadata.user", "metadata.database"],
        r#"^(?P<timestamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [A-Z]{3}|[+-]\d\d:?\d*)?) \[(?P<pid__int>\d+)(?:-\d+)?\]:? (?:(?P<user>[^@\s]*)@(?P<database>\S*) )?(?P<level>[A-Z]+\d?): +(?P<message>.*)$"#,
        None,
    ),
    predefined(
        "mysql",
        "MySQL's error log",
        "2025-11-11T16:00:00.123456Z 0 [Warning] [MY-010068] [Server] CA certificate ca.pem is self signed.",
        &["timestamp", "level", "message", "metadata.thread", "metadata.code", "metadata.subsystem"],
        r#"^(?P<timestamp>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?) (?P<thread__int>\d+) \[(?P<level>\w+)\] (?:\[(?P<code>MY-\d+)\] \[(?P<subsystem>\w+)\] )?(?P<message>.*)$"#,
        None,
    ),
    predefined(
        "redis",
        "Redis' server log",
        "1:M 11 Nov 2025 16:00:00.123 # WARNING Memory overcommit must be enabled",
        &["timestamp", "level", "message", "metadata.pid", "metadata.role"],
        r#"^(?P<pid__int>\d+):(?P<role>[XCSM]) (?P<timestamp>\d\d? \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) (?P<level>[.*#-]) (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "java_gc",
        "Java's unified garbage collection log",
        "[2025-11-11T16:00:00.123+0000][0.005s][info][gc,start] GC(0) Pause Young (Normal)",
        &["timestamp", "level", "message", "metadata.uptime", "metadata.tags"],
        r#"^\[(?P<timestamp>\d{4}-\d\d-\d\dT[^\]]+)\](?:\[(?P<uptime>[\d.]+s)\])?\[(?P<level>\w+) *\]\[(?P<tags>[^\]]+?) *\] (?P<message>.*)$"#,
        None,
    ),
    predefined(
        "haproxy",
        "HAProxy's HTTP log, without syslog's head",
        r#"10.0.4.17:53332 [11/Nov/2025:16:00:00.143] www~ shop/web3 0/0/1/45/47 200 212 - - ---- 4/4/1/1/0 0/0 "GET /admin HTTP/1.1""#,
        &[
            "timestamp",
            "level",
            "message",
            "metadata.client",
            "metadata.port",
            "metadata.frontend",
            "metadata.backend",
            "metadata.server",
            "metadata.timers",
            "metadata.status",
            "metadata.bytes",
            "metadata.state",
            "metadata.connections",
            "metadata.queues",
        ],
        r#"^(?P<client>\S+):(?P<port__int>\d+) \[(?P<timestamp>[^\]]+)\] (?P<frontend>\S+) (?P<backend>[^/\s]+)/(?P<server>\S+) (?P<timers>[\d/+-]+) (?P<status__int>-?\d+) (?P<bytes__int>\+?\d+) \S+ \S+ (?P<state>\S+) (?P<connections>[\d/+]+) (?P<queues>[\d/]+) (?:\{[^}]*\} )*"(?P<message>.*)"$"#,
        None,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::read;
    use crate::format::{Mode, by_name};

    fn check(name: &str, line: &str, want: &str) {
        let parser = by_name(name).unwrap();
        assert_eq!(read(line.as_bytes(), Mode::Named(parser), true).as_deref(), Ok(want), "{line}");
    }

    #[test]
    fn every_example_is_read() {
        for (pattern, want) in PREDEFINED.iter().zip(EXAMPLES_READ) {
            check(pattern.info.name, pattern.info.example, want);
        }
        assert_eq!(PREDEFINED.len(), EXAMPLES_READ.len());
    }

    const EXAMPLES_READ: &[&str] = &[
        r#"hdfs 2025-11-11T16:00:00 INFO -|-|Received block blk_1073741825 of size 134217728 from 10.0.4.17 {"thread":148,"component":"dfs.DataNode$DataXceiver"}"#,
        r#"hadoop 2025-11-11T16:00:00.978 INFO -|-|Connecting to ResourceManager at rm/10.0.4.2:8032 {"thread":"main","class":"org.apache.hadoop.yarn.client.RMProxy"}"#,
        r#"spark 2025-11-11T16:00:00 INFO -|-|Job 7 finished: collect at app.py:31, took 0.153 s {"class":"scheduler.DAGScheduler"}"#,
        r#"zookeeper 2025-11-11T16:00:00.747 INFO -|-|Closed socket connection for client /10.0.4.17:41207 {"thread":"NIOServerCxn.Factory:0.0.0.0/0.0.0.0:2181","class":"NIOServerCnxn","line":1008}"#,
        r#"openstack 2025-11-11T16:00:00.008 INFO -|-|Took 4.21 seconds to build instance. {"pid":2931,"component":"nova.compute.manager","request":"req-7d1f0c1e-51a5-4d0e-9f2c-1f6a2c6f4f11 demo demo - - -"}"#,
        r#"log4j 2025-11-11T16:00:00.123 INFO -|-|3 connections left {"thread":"main","class":"com.example.Pool"}"#,
        r#"logback 2025-11-11T15:00:00.123 WARN -|orders|out of stock {"pid":4711,"thread":"nio-8080-exec-1","class":"c.e.shop.OrderController"}"#,
        r#"python 2025-11-11T16:00:00.123 ERROR -|-|out of stock {"name":"shop.orders"}"#,
        r#"klog 2025-11-11T16:00:00.160748Z WARN -|-|watch of ConfigMap ended with an error {"thread":1,"file":"reflector.go","line":424}"#,
        r#"rails 2025-11-11T16:00:00.123456Z INFO -|-|Started GET "/" for 127.0.0.1 {"pid":4711}"#,
        r#"postgres 2025-11-11T16:00:00.123 ERROR -|-|relation "orders" does not exist at character 15 {"pid":4711,"user":"app","database":"shop"}"#,
        r#"mysql 2025-11-11T16:00:00.123456Z WARN -|-|CA certificate ca.pem is self signed. {"thread":0,"code":"MY-010068","subsystem":"Server"}"#,
        r#"redis 2025-11-11T16:00:00.123 WARN -|-|WARNING Memory overcommit must be enabled {"pid":1,"role":"M"}"#,
        r#"java_gc 2025-11-11T16:00:00.123 INFO -|-|GC(0) Pause Young (Normal) {"uptime":"0.005s","tags":"gc,start"}"#,
        r#"haproxy 2025-11-11T16:00:00.143 INFO -|-|GET /admin HTTP/1.1 {"client":"10.0.4.17","port":53332,"frontend":"www~","backend":"shop","server":"web3","timers":"0/0/1/45/47","status":200,"bytes":212,"state":"----","connections":"4/4/1/1/0","queues":"0/0"}"#,
    ];
}
