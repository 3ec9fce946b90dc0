//! Grok expressions (`%{IP:client} %{NUMBER:bytes:int}`) made into regular ones, over the usual base patterns.
//!
//! The names are Logstash's; the expressions are written anew for an engine of linear time, which knows neither
//! look-around nor back references: they take the same text where it stands between blanks.

use super::pattern::PatternError;

/// Patterns may be made of patterns this deep.
const DEPTH_MAX: usize = 16;
/// What an expression may grow to: ten times the longest of the usual ones.
const EXPANDED_BYTES_MAX: usize = 64 * 1024;

/// A field that an expression names, in the order of its groups `g0`, `g1`, ….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrokField {
    /// `[http][status]` has become `http.status`.
    pub name: String,
    /// `int` or `float`, where the expression says so.
    pub kind: Option<String>,
}

/// A grok expression made into a regular one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    pub regex: String,
    pub fields: Vec<GrokField>,
    /// Where pieces of the expression itself have gone: (at in `regex`, at in the expression, length).
    pieces: Vec<(usize, usize, usize)>,
}

impl Expanded {
    /// The place in the expression that a place in `regex` comes from: of what a `%{…}` has become, that `%{`.
    pub fn origin(&self, at: usize) -> usize {
        let before = self.pieces.iter().rev().find(|(start, _, _)| *start <= at);
        before.map_or(0, |(start, origin, length)| origin + (at - start).min(*length))
    }
}

/// Makes a regular expression of a grok expression.
pub fn expand(expression: &str) -> Result<Expanded, PatternError> {
    let mut expanded = Expanded::default();
    expand_into(expression, &mut expanded, 0)?;
    Ok(expanded)
}

fn expand_into(expression: &str, expanded: &mut Expanded, depth: usize) -> Result<(), PatternError> {
    if depth > DEPTH_MAX || expanded.regex.len() > EXPANDED_BYTES_MAX {
        return Err(PatternError::TooLarge);
    }
    let piece = |from: usize, text: &str, expanded: &mut Expanded| {
        if depth == 0 {
            expanded.pieces.push((expanded.regex.len(), from, text.len()));
        }
        expanded.regex.push_str(text);
    };
    let mut from = 0;
    while let Some(start) = expression[from..].find("%{").map(|start| from + start) {
        let unknown = |name: &str| PatternError::UnknownGrok { name: name.to_owned(), at: start };
        let end = expression[start..].find('}').ok_or_else(|| unknown(&expression[start..]))?;
        piece(from, &expression[from..start], expanded);
        let mut parts = expression[start + 2..start + end].splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let base = base(name).ok_or_else(|| unknown(name))?;
        match parts.next().filter(|field| !field.is_empty()) {
            Some(field) => {
                expanded.regex.push_str(&format!("(?P<g{}>", expanded.fields.len()));
                let name = field.trim_matches(['[', ']']).replace("][", ".");
                expanded.fields.push(GrokField { name, kind: parts.next().map(str::to_owned) });
            }
            None => expanded.regex.push_str("(?:"),
        }
        expand_into(base, expanded, depth + 1)?;
        expanded.regex.push(')');
        from = start + end + 1;
    }
    piece(from, &expression[from..], expanded);
    Ok(())
}

/// The expression of a base pattern.
fn base(name: &str) -> Option<&'static str> {
    BASE.iter().find(|(base, _)| *base == name).map(|(_, expression)| *expression)
}

/// The names of all base patterns, and what they stand for.
pub static BASE: &[(&str, &str)] = &[
    ("USERNAME", r"[a-zA-Z0-9._-]+"),
    ("USER", "%{USERNAME}"),
    ("EMAILLOCALPART", r"[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~.]+"),
    ("EMAILADDRESS", "%{EMAILLOCALPART}@%{HOSTNAME}"),
    ("INT", r"[+-]?[0-9]+"),
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("NUMBER", "%{BASE10NUM}"),
    ("BASE16NUM", "[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("POSINT", r"\b[1-9][0-9]*\b"),
    ("NONNEGINT", r"\b[0-9]+\b"),
    ("WORD", r"\b\w+\b"),
    ("NOTSPACE", r"\S+"),
    ("SPACE", r"\s*"),
    ("DATA", ".*?"),
    ("GREEDYDATA", ".*"),
    ("QUOTEDSTRING", r#"(?:"(?:\\.|[^\\"])*"|'(?:\\.|[^\\'])*'|`(?:\\.|[^\\`])*`)"#),
    ("QS", "%{QUOTEDSTRING}"),
    ("UUID", "[A-Fa-f0-9]{8}-(?:[A-Fa-f0-9]{4}-){3}[A-Fa-f0-9]{12}"),
    ("URN", r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:\S+"),
    ("CISCOMAC", r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}"),
    ("WINDOWSMAC", "(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}"),
    ("COMMONMAC", "(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}"),
    ("MAC", "(?:%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC})"),
    ("IPV6", r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:%{IPV4}|[0-9A-Fa-f]{0,4})(?:%[0-9A-Za-z]+)?"),
    ("IPV4", r"(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"),
    ("IP", "(?:%{IPV6}|%{IPV4})"),
    ("HOSTNAME", r"\b[0-9A-Za-z][0-9A-Za-z_-]{0,62}(?:\.[0-9A-Za-z][0-9A-Za-z_-]{0,62})*\.?\b"),
    ("HOST", "%{HOSTNAME}"),
    ("IPORHOST", "(?:%{IP}|%{HOSTNAME})"),
    ("HOSTPORT", "%{IPORHOST}:%{POSINT}"),
    ("UNIXPATH", r"(?:/[\w%!$@:.,+~-]*)+"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+"),
    ("PATH", "(?:%{UNIXPATH}|%{WINPATH})"),
    ("TTY", "/dev/(?:pts|tty(?:[pq])?)(?:[0-9]+)?/?(?:[0-9]+)?"),
    ("URIPROTO", r"[A-Za-z][A-Za-z0-9+\-.]*"),
    ("URIHOST", "%{IPORHOST}(?::%{POSINT})?"),
    ("URIPATH", r"(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_\-]*)+"),
    ("URIQUERY", r"[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\-\[\]<>]*"),
    ("URIPARAM", r"\?%{URIQUERY}"),
    ("URIPATHPARAM", "%{URIPATH}(?:%{URIPARAM})?"),
    ("URI", r"%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?"),
    (
        "MONTH",
        r"\b(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?|[Aa]ug(?:ust)?|[Ss]ep(?:tember)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)\b",
    ),
    ("MONTHNUM", "(?:0?[1-9]|1[0-2])"),
    ("MONTHNUM2", "(?:0[1-9]|1[0-2])"),
    ("MONTHDAY", "(?:0[1-9]|[12][0-9]|3[01]|[1-9])"),
    ("DAY", "(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)"),
    ("YEAR", r"[0-9]{2}(?:[0-9]{2})?"),
    ("HOUR", "(?:2[0123]|[01]?[0-9])"),
    ("MINUTE", "[0-5][0-9]"),
    ("SECOND", "(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?"),
    ("TIME", "%{HOUR}:%{MINUTE}(?::%{SECOND})"),
    ("DATE_US", "%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    ("DATE_EU", "%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("DATE", "(?:%{DATE_US}|%{DATE_EU})"),
    ("ISO8601_TIMEZONE", "(?:Z|[+-]%{HOUR}(?::?%{MINUTE}))"),
    ("ISO8601_SECOND", "%{SECOND}"),
    (
        "TIMESTAMP_ISO8601",
        "%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?(?:%{ISO8601_TIMEZONE})?",
    ),
    ("DATESTAMP", "%{DATE}[- ]%{TIME}"),
    ("TZ", "(?:[APMCE][SD]T|UTC|GMT)"),
    ("DATESTAMP_RFC822", "%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}"),
    ("DATESTAMP_RFC2822", "%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}"),
    ("DATESTAMP_EVENTLOG", "%{YEAR}%{MONTHNUM2}%{MONTHDAY}%{HOUR}%{MINUTE}%{SECOND}"),
    ("HTTPDATE", "%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("SYSLOGTIMESTAMP", "%{MONTH} +%{MONTHDAY} %{TIME}"),
    ("PROG", r"[\x21-\x5a\x5c\x5e-\x7e]+"),
    ("SYSLOGPROG", r"%{PROG:program}(?:\[%{POSINT:pid:int}\])?"),
    ("SYSLOGHOST", "%{IPORHOST}"),
    ("SYSLOGFACILITY", "<%{NONNEGINT:facility:int}.%{NONNEGINT:priority:int}>"),
    ("SYSLOGBASE", "%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:host} %{SYSLOGPROG}:"),
    (
        "LOGLEVEL",
        r"(?i:alert|trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe|emerg(?:ency)?|panic)",
    ),
    ("JAVACLASS", r"(?:[a-zA-Z$_][a-zA-Z$_0-9]*\.)*[a-zA-Z$_][a-zA-Z$_0-9]*"),
    ("JAVAFILE", r"[a-zA-Z$_0-9. -]+"),
    ("JAVAMETHOD", r"(?:<(?:cl)?init>|[a-zA-Z$_][a-zA-Z$_0-9]*)"),
    ("HTTPDUSER", "(?:%{EMAILADDRESS}|%{USER})"),
    (
        "COMMONAPACHELOG",
        r#"%{IPORHOST:client} %{HTTPDUSER:ident} %{HTTPDUSER:user} \[%{HTTPDATE:timestamp}\] "(?:%{WORD:method} %{NOTSPACE:path}(?: (?P<protocol>HTTP/[0-9.]+))?|%{DATA:message})" (?:-|%{NUMBER:status:int}) (?:-|%{NUMBER:bytes:int})"#,
    ),
    ("COMBINEDAPACHELOG", "%{COMMONAPACHELOG} %{QS:referer} %{QS:user_agent}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_pattern_compiles() {
        for (name, _) in BASE {
            let expression = expand(&format!("^%{{{name}}}$")).unwrap().regex;
            assert!(regex::bytes::Regex::new(&expression).is_ok(), "{name}: {expression}");
        }
    }

    #[test]
    fn base_patterns_take_what_they_are_named_for() {
        for (name, text) in [
            ("IP", "192.168.0.1"),
            ("IP", "2001:db8::1"),
            ("IP", "::ffff:10.0.0.1"),
            ("HOSTNAME", "a-1.example.com"),
            ("HTTPDATE", "10/Oct/2000:13:55:36 -0700"),
            ("TIMESTAMP_ISO8601", "2025-11-11T16:00:00.123Z"),
            ("TIMESTAMP_ISO8601", "2025-11-11 16:00:00,123+01:00"),
            ("SYSLOGTIMESTAMP", "Oct  1 22:14:15"),
            ("LOGLEVEL", "WARNING"),
            ("NUMBER", "-1.5"),
            ("QS", r#""a \" b""#),
            ("UUID", "8601b555-6a83-4c12-8269-97c8e32cdb22"),
            ("MAC", "00:1b:44:11:3a:b7"),
            ("URI", "https://user@example.com:8080/a/b?c=d"),
            ("PATH", r"C:\Windows\x"),
            ("JAVACLASS", "org.example.Main$Inner"),
        ] {
            let expression = expand(&format!("^%{{{name}}}$")).unwrap().regex;
            assert!(regex::Regex::new(&expression).unwrap().is_match(text), "{name}: {text}");
        }
    }

    #[test]
    fn fields_are_numbered_and_named() {
        let expanded = expand("%{INT:[http][status]:int} %{WORD}").unwrap();
        assert_eq!(expanded.regex, r"(?P<g0>[+-]?[0-9]+) (?:\b\w+\b)");
        assert_eq!(expanded.fields, [GrokField { name: "http.status".to_owned(), kind: Some("int".to_owned()) }]);
    }

    #[test]
    fn unknown_patterns_are_named() {
        let unknown = |name: &str, at| Err(PatternError::UnknownGrok { name: name.to_owned(), at });
        assert_eq!(expand("x %{NOPE:x}"), unknown("NOPE", 2));
        assert_eq!(expand("%{INT"), unknown("%{INT", 0));
    }

    #[test]
    fn places_are_those_of_the_expression() {
        let expanded = expand("a%{INT:n} b %{INT}c").unwrap();
        assert_eq!(expanded.regex, "a(?P<g0>[+-]?[0-9]+) b (?:[+-]?[0-9]+)c");
        // a, the middle of the first field, the blank after it, the end.
        for (at, origin) in [(0, 0), (1, 1), (10, 1), (20, 9), (22, 11), (expanded.regex.len(), 19)] {
            assert_eq!(expanded.origin(at), origin, "{at}");
        }
    }
}
