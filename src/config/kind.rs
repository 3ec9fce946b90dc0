//! How the values of settings are written: read from text, whichever of file, environment or flag it came from, and
//! shown so that they read back as the same.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use engine::config::RedisRequire;
use engine::{Durability, Upstream};
use record::Zone;

/// One way of writing a `T`.
pub trait Kind<T> {
    /// What stands in for a value in help and documentation.
    const NAME: &'static str;

    /// The error says what would be right.
    fn read(text: &str) -> Result<T, String>;

    fn show(value: &T) -> String;
}

/// `1048576`, `1MiB`, `16 GiB`, `100kB`.
pub struct Bytes;
/// A whole number.
pub struct Count;
/// `500ms`, `10s`, `5m`, `2h`, `0`.
pub struct Time;
/// `true` or `false`.
pub struct Flag;
/// As Rust or the record crate reads it.
pub struct Plain;
/// Values with commas between.
pub struct List;
/// A URL with a password in it, which is never shown.
pub struct Secret;

const UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];

impl Kind<u64> for Bytes {
    const NAME: &'static str = "BYTES";

    fn read(text: &str) -> Result<u64, String> {
        let wrong = || "not a size: write bytes, as 1048576, or with a unit, as 16KiB, 8MiB, 4GiB".to_owned();
        let digits = text.trim().bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.trim().split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, scale) = UNITS.iter().find(|(name, _)| name.to_ascii_lowercase() == unit).ok_or_else(wrong)?;
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(*scale)).ok_or_else(wrong)
    }

    fn show(value: &u64) -> String {
        let whole = UNITS[..3].iter().find(|(_, scale)| *value != 0 && value.is_multiple_of(*scale));
        whole.map_or_else(|| value.to_string(), |(unit, scale)| format!("{}{unit}", value / scale))
    }
}

impl Kind<usize> for Bytes {
    const NAME: &'static str = "BYTES";

    fn read(text: &str) -> Result<usize, String> {
        let bytes: u64 = Bytes::read(text)?;
        usize::try_from(bytes).map_err(|_| "more than this machine can address".to_owned())
    }

    fn show(value: &usize) -> String {
        Bytes::show(&(*value as u64))
    }
}

impl Kind<u16> for Count {
    const NAME: &'static str = "N";

    fn read(text: &str) -> Result<u16, String> {
        text.trim().parse().map_err(|_| "not a whole number of at most 65535".to_owned())
    }

    fn show(value: &u16) -> String {
        value.to_string()
    }
}

impl Kind<u32> for Count {
    const NAME: &'static str = "N";

    fn read(text: &str) -> Result<u32, String> {
        text.trim().parse().map_err(|_| "not a whole number".to_owned())
    }

    fn show(value: &u32) -> String {
        value.to_string()
    }
}

impl Kind<u64> for Count {
    const NAME: &'static str = "N";

    fn read(text: &str) -> Result<u64, String> {
        text.trim().parse().map_err(|_| "not a whole number".to_owned())
    }

    fn show(value: &u64) -> String {
        value.to_string()
    }
}

impl Kind<usize> for Count {
    const NAME: &'static str = "N";

    fn read(text: &str) -> Result<usize, String> {
        text.trim().parse().map_err(|_| "not a whole number".to_owned())
    }

    fn show(value: &usize) -> String {
        value.to_string()
    }
}

impl Kind<Duration> for Time {
    const NAME: &'static str = "TIME";

    fn read(text: &str) -> Result<Duration, String> {
        let wrong = || "not a time: write it with its unit, as 500ms, 10s, 5m, 2h, 7d".to_owned();
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let micros = match unit.trim() {
            "us" | "µs" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            "" if number == 0 => 1,
            _ => return Err(wrong()),
        };
        number.checked_mul(micros).map(Duration::from_micros).ok_or_else(wrong)
    }

    fn show(value: &Duration) -> String {
        let micros = value.as_micros();
        for (unit, scale) in
            [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)]
        {
            // A minute and a half reads better as 90s.
            if micros >= scale && micros.is_multiple_of(scale) {
                return format!("{}{unit}", micros / scale);
            }
        }
        if micros == 0 { "0s".to_owned() } else { format!("{micros}us") }
    }
}

/// None, where nothing is written.
macro_rules! optional {
    ($kind:ty, $value:ty) => {
        impl Kind<Option<$value>> for $kind {
            const NAME: &'static str = <$kind as Kind<$value>>::NAME;

            fn read(text: &str) -> Result<Option<$value>, String> {
                if text.trim().is_empty() { Ok(None) } else { <$kind as Kind<$value>>::read(text).map(Some) }
            }

            fn show(value: &Option<$value>) -> String {
                value.as_ref().map_or_else(String::new, <$kind as Kind<$value>>::show)
            }
        }
    };
}
optional!(Time, Duration);
optional!(Bytes, u64);

impl Kind<bool> for Flag {
    const NAME: &'static str = "BOOL";

    fn read(text: &str) -> Result<bool, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("neither true nor false".to_owned()),
        }
    }

    fn show(value: &bool) -> String {
        value.to_string()
    }
}

impl Kind<SocketAddr> for Plain {
    const NAME: &'static str = "HOST:PORT";

    fn read(text: &str) -> Result<SocketAddr, String> {
        let wrong = "not an address: write host:port, as 127.0.0.1:5000, [::1]:5000 or 0.0.0.0:5000";
        let mut found = text.trim().to_socket_addrs().map_err(|_| wrong)?;
        Ok(found.next().ok_or(wrong)?)
    }

    fn show(value: &SocketAddr) -> String {
        value.to_string()
    }
}

impl Kind<PathBuf> for Plain {
    const NAME: &'static str = "FOLDER";

    fn read(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("empty: write a path".to_owned()) } else { Ok(PathBuf::from(text)) }
    }

    fn show(value: &PathBuf) -> String {
        value.display().to_string()
    }
}

impl Kind<String> for Plain {
    const NAME: &'static str = "TEXT";

    fn read(text: &str) -> Result<String, String> {
        Ok(text.trim().to_owned())
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

impl Kind<Durability> for Plain {
    const NAME: &'static str = "sync|flush";

    fn read(text: &str) -> Result<Durability, String> {
        match text.trim() {
            "sync" => Ok(Durability::Sync),
            "flush" => Ok(Durability::Flush),
            _ => Err("neither sync nor flush".to_owned()),
        }
    }

    fn show(value: &Durability) -> String {
        match value {
            Durability::Sync => "sync",
            Durability::Flush => "flush",
        }
        .to_owned()
    }
}

impl Kind<RedisRequire> for Plain {
    const NAME: &'static str = "any|fsync";

    fn read(text: &str) -> Result<RedisRequire, String> {
        match text.trim() {
            "any" => Ok(RedisRequire::Any),
            "fsync" => Ok(RedisRequire::Fsync),
            _ => Err("neither any nor fsync".to_owned()),
        }
    }

    fn show(value: &RedisRequire) -> String {
        match value {
            RedisRequire::Any => "any",
            RedisRequire::Fsync => "fsync",
        }
        .to_owned()
    }
}

impl Kind<Option<String>> for Secret {
    const NAME: &'static str = "URL";

    fn read(text: &str) -> Result<Option<String>, String> {
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(value: &Option<String>) -> String {
        value.as_deref().map_or_else(String::new, masked)
    }
}

/// A URL with `***` for its password, wherever it stands: behind the user, or as a parameter.
pub fn masked(url: &str) -> String {
    const MASK: &str = "***";
    let mut shown = url.to_owned();
    for parameter in ["pass=", "password="] {
        let starts = |at: &usize| matches!(shown.as_bytes().get(at.wrapping_sub(1)), Some(b'?' | b'&' | b' '));
        if let Some(at) = shown.find(parameter).filter(starts) {
            let value = at + parameter.len();
            let end = shown[value..].find(['&', ' ']).map_or(shown.len(), |length| value + length);
            shown.replace_range(value..end, MASK);
        }
    }
    let user = shown.find("://").map_or(0, |scheme| scheme + 3);
    if let Some(host) = shown.rfind('@').filter(|&host| host >= user)
        && let Some(colon) = shown[user..host].find(':')
    {
        shown.replace_range(user + colon + 1..host, MASK);
    }
    shown
}

impl Kind<Zone> for Plain {
    const NAME: &'static str = "ZONE";

    fn read(text: &str) -> Result<Zone, String> {
        Zone::parse(text).map_err(|error| error.to_string())
    }

    fn show(value: &Zone) -> String {
        value.to_string()
    }
}

impl Kind<Option<Upstream>> for Plain {
    const NAME: &'static str = "HOST:PORT|@NAME";

    fn read(text: &str) -> Result<Option<Upstream>, String> {
        match text.trim() {
            "" => Ok(None),
            text => match text.strip_prefix('@') {
                Some(name) => Ok(Some(Upstream::Abstract(name.to_owned()))),
                None => Ok(Some(Upstream::Tcp(Plain::read(text)?))),
            },
        }
    }

    fn show(value: &Option<Upstream>) -> String {
        match value {
            None => String::new(),
            Some(Upstream::Abstract(name)) => format!("@{name}"),
            Some(Upstream::Tcp(address)) => address.to_string(),
        }
    }
}

impl Kind<Vec<String>> for List {
    const NAME: &'static str = "A,B";

    fn read(text: &str) -> Result<Vec<String>, String> {
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    fn show(value: &Vec<String>) -> String {
        value.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` reads as something that shows as `shown`, and that reads back as the same.
    fn check<K: Kind<T>, T>(text: &str, shown: Option<&str>) {
        let found = K::read(text).ok().map(|value| K::show(&value));
        assert_eq!(found.as_deref(), shown, "{text:?}");
        if let Some(shown) = shown {
            assert_eq!(K::show(&K::read(shown).unwrap()), shown);
        }
    }

    #[test]
    fn values_read_and_show() {
        for (text, shown) in [
            ("1048576", Some("1MiB")),
            ("1 mib", Some("1MiB")),
            ("1000", Some("1000")),
            ("100kB", Some("100000")),
            ("0", Some("0")),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("99999999999GiB", None),
        ] {
            check::<Bytes, u64>(text, shown);
        }
        for (text, shown) in [
            ("500ms", Some("500ms")),
            ("90s", Some("90s")),
            ("60s", Some("1m")),
            ("7d", Some("7d")),
            ("15us", Some("15us")),
            ("0", Some("0s")),
            ("10", None),
            ("s", None),
            ("1w", None),
        ] {
            check::<Time, Duration>(text, shown);
        }
        for (text, shown) in [("127.0.0.1:0", Some("127.0.0.1:0")), ("[::1]:5000", Some("[::1]:5000")), ("5000", None)]
        {
            check::<Plain, SocketAddr>(text, shown);
        }
        for (text, shown) in
            [("Europe/Berlin", Some("Europe/Berlin")), ("+02:30", Some("+02:30")), ("utc", Some("UTC")), ("Mars", None)]
        {
            check::<Plain, Zone>(text, shown);
        }
        for (text, shown) in [("@api", Some("@api")), ("127.0.0.1:1", Some("127.0.0.1:1")), ("", Some("")), ("x", None)]
        {
            check::<Plain, Option<Upstream>>(text, shown);
        }
        for (text, shown) in [("", Some("")), (" ", Some("")), ("30d", Some("30d")), ("30", None)] {
            check::<Time, Option<Duration>>(text, shown);
        }
        check::<Bytes, Option<u64>>("", Some(""));
        check::<Bytes, Option<u64>>("100GiB", Some("100GiB"));
        check::<Flag, bool>("On", Some("true"));
        check::<Flag, bool>("maybe", None);
        check::<List, Vec<String>>(" a , b,", Some("a,b"));
        check::<Plain, Durability>("flush", Some("flush"));
        check::<Plain, Durability>("none", None);
        check::<Plain, RedisRequire>("fsync", Some("fsync"));
        check::<Count, u16>("65536", None);
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("", ""),
            ("redis://localhost:6379", "redis://localhost:6379"),
            ("redis://:secret@h:6379/1", "redis://:***@h:6379/1"),
            ("rediss://ann:se:c@ret@h", "rediss://ann:***@h"),
            ("unix:///run/redis.sock?db=1&pass=secret&user=ann", "unix:///run/redis.sock?db=1&pass=***&user=ann"),
            ("postgresql://ann:secret@h:5432/logs?sslmode=require", "postgresql://ann:***@h:5432/logs?sslmode=require"),
            ("postgresql://h/logs?user=ann&password=secret", "postgresql://h/logs?user=ann&password=***"),
            ("host=h user=ann password=secret", "host=h user=ann password=***"),
            ("ann:secret@h", "ann:***@h"),
        ] {
            assert_eq!(Secret::show(&Secret::read(url).unwrap()), shown);
        }
    }
}
