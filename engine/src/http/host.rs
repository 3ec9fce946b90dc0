//! Whose name a request asks for. A server that listens on loopback has no other guard, and DNS can lead a page of
//! `evil.example` past it: `docs/decisions/0013-hosts-on-loopback.md`.

use std::net::IpAddr;

/// What the engine calls itself to the sidecar that it relays to (`Via`, RFC 9110 §7.6.3). Scripts in browsers cannot set
/// that header (Fetch, forbidden request-headers), so a request that has it was let in by an engine.
pub const VIA: &str = "1.1 logboom";

/// Whether only an outsider's DNS can have led a request for this `Host` to a server on loopback: to its browser, a page
/// of `evil.example` whose name now resolves to 127.0.0.1 is of the same origin. Addresses, `localhost`, names without a
/// dot, which nobody can buy, and the hosts of `allowed` origins are ours.
pub fn is_foreign(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
    if is_address || !name.contains('.') || name.to_ascii_lowercase().ends_with(".localhost") {
        return false;
    }
    let is_named = |origin: &String| {
        origin == "*" || origin.split_once("://").is_some_and(|(_, host)| without_port(host).eq_ignore_ascii_case(name))
    };
    !allowed.iter().any(is_named)
}

/// What to answer such a request, with 421 `foreign_host`.
pub fn refusal(host: &str, listening: IpAddr) -> String {
    format!(
        "`{host}` is no name of this server, which listens on this machine only: ask for {listening} or localhost, or \
         name it in the setting origins, as http://{host}"
    )
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_a_server_on_loopback() {
        let foreign = |host: &str, allowed: &[&str]| {
            let allowed: Vec<String> = allowed.iter().map(|&origin| origin.to_owned()).collect();
            is_foreign(host, &allowed)
        };
        for ours in [
            "127.0.0.1:5000",
            "127.0.0.1",
            "[::1]:5000",
            "localhost:5000",
            "LOCALHOST",
            "logs.localhost:1",
            "box:5000",
            "10.0.0.7",
            "localhost.",
        ] {
            assert!(!foreign(ours, &[]), "{ours}");
        }
        for theirs in
            ["evil.example:5000", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example."]
        {
            assert!(foreign(theirs, &["https://logs.example"]), "{theirs}");
        }
        assert!(!foreign("logs.example", &["https://Logs.example"]));
        assert!(!foreign("logs.example:5000", &["https://logs.example:8443"]));
        assert!(foreign("logs.example.evil", &["https://logs.example"]));
        assert!(!foreign("any.example", &["*"]));
    }
}
