//! Once warm, no format allocates per record.

use std::sync::atomic::Ordering::Relaxed;

use record::format::{LineParser, Mode, registry};
use record::{BatchBuilder, Context, IdSource, Timestamp, Zone};

#[path = "../../benches/counting.rs"]
mod counting;
use counting::ALLOCATIONS;

#[test]
fn no_allocation_per_record() {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(1_762_905_600_000_000), &zone);
    let mut ids = IdSource::new(|| 0);
    let mut builder = BatchBuilder::new(1);
    let mut parser = LineParser::new();
    let mut lines: Vec<&str> = registry().iter().map(|parser| parser.info().example).collect();
    lines.extend([
        r#"{"message":"a \"quoted\" \u00e9","metadata":{"a":[1, 2],"b":{"c":null}},"k":"v","level":"warn","log":{"level":"x"}}"#,
        r#"{"log":{"level":"warn","logger":"x"},"host":{"name":"h","ip":["1"]},"message":"m"}"#,
        r#"{"log":"{\"level\":\"error\",\"message\":\"wrapped\",\"k\":1}\n","stream":"stdout","time":"2025-11-11T16:00:00Z"}"#,
        "2025-11-11T16:00:00Z stdout F level=error msg=\"wrapped too\" k=v",
        "<14>1 2025-02-11T12:31:28Z host app - - [a@1 x=\"1\\]\" y=\"2\"][b] text \u{fc}",
        r#"10.0.4.17, 10.1.0.2 - - [10/Oct/2000:13:55:36 +0000] "GET /a\"b HTTP/1.1" 200 1 "-" "agent \u{fc}" 0.1"#,
        "[Wed Feb 14 08:00:00.000000001 2024] [core:trace3] [pid 9:tid 7] (1)x.c: [client 2001:db8::42:51234] AH01630: x, referer: http://x/",
        r#"2025/11/11 16:00:00 [error] 1#1: *1 x "y", client: c, server: s, request: "GET /\"x\"", host: "h""#,
        "<189>45: router1: Mar  1 18:46:11.123 CEST: %SYS-5-CONFIG_I: Configured",
        r#"{"__REALTIME_TIMESTAMP":"1762876800123456","PRIORITY":"3","SYSLOG_IDENTIFIER":"a","_HOSTNAME":"h","MESSAGE":"m","fields":{"a":1}}"#,
        "\x1b[2m2025-11-11T16:00:00.5Z\x1b[0m \x1b[33m WARN\x1b[0m colours",
        r#"type=LOGIN msg=audit(1762876800.123:456): pid=1 msg='op=login acct="root"'"#,
        r#"date=2025-11-11 time=16:00:00 tz="-0500" devname="fw1" level="notice""#,
        "logger=x t=2025-11-11T16:00:00.520963849Z level=warn msg=\"tab\\there\" version=11 flag=",
    ]);
    let mut round = |lines: &[&str], parser: &mut LineParser| {
        builder.clear();
        for line in lines {
            parser.push_line(line.as_bytes(), Mode::Auto, &context, &mut ids, &mut builder).expect("any line is taken");
        }
    };
    for line in &lines {
        let one = [*line; 20];
        round(&one, &mut parser);
        let before = ALLOCATIONS.load(Relaxed);
        round(&one, &mut parser);
        assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0, "{line}");
    }
}
