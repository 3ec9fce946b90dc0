//! Messages, as templates: what a company's services say, in six levels.

use super::decimal;
use crate::number::HEX;

pub const LEVELS: [Level; 6] = [
    Level {
        name: "TRACE",
        weight: 4,
        templates: &[
            &[Lit("enter handler "), Path, Lit(" span="), Hex],
            &[Lit("lock acquired key=item:"), Id, Lit(" waited_us="), Small],
        ],
    },
    Level {
        name: "DEBUG",
        weight: 36,
        templates: &[
            &[Lit("cache miss for key user:"), Id, Lit(":profile ttl="), Small, Lit("s")],
            &[Lit("SELECT on orders returned "), Small, Lit(" rows in "), Small, Lit("."), Small, Lit(" ms")],
            &[Lit("retrying idempotent call "), Hex, Lit(" backoff="), Small, Lit("ms")],
            &[Lit("connection pool size="), Small, Lit(" idle="), Small, Lit(" waiting=0")],
        ],
    },
    Level {
        name: "INFO",
        weight: 130,
        templates: &[
            &[Method, Lit(" "), Path, Lit("/"), Id, Lit(" "), Status, Lit(" "), Small, Lit("ms from "), Ip],
            &[Lit("user "), Id, Lit(" logged in from "), Ip, Lit(" session="), Hex],
            &[Lit("order "), Id, Lit(" accepted, "), Small, Lit(" items, payment ref "), Hex],
            &[Lit("job "), Hex, Lit(" finished in "), Small, Lit(" ms, "), Small, Lit(" records written")],
            &[Lit("message "), Id, Lit(" published to topic events-"), Small, Lit(" offset "), Id],
            &[Lit("session "), Hex, Lit(" expired after "), Small, Lit(" minutes idle")],
            &[Lit("config reloaded, "), Small, Lit(" keys changed, revision "), Hex],
            &[Lit("sent mail template=welcome to user "), Id, Lit(" via smtp"), Small],
        ],
    },
    Level {
        name: "WARNING",
        weight: 20,
        templates: &[
            &[Lit("slow query: "), Small, Small, Lit(" ms on table orders (limit "), Small, Lit(" rows)")],
            &[Lit("rate limit near for client "), Ip, Lit(": "), Small, Lit(" of 100")],
            &[Lit("disk usage at "), Small, Lit("% on volume data"), Small],
            &[Lit("deprecated header X-Api-"), Small, Lit(" used by client "), Id],
        ],
    },
    Level {
        name: "ERROR",
        weight: 9,
        templates: &[
            &[Lit("upstream "), Ip, Lit(":8080 timed out after "), Small, Lit("000 ms, request "), Hex],
            &[Lit("payment "), Id, Lit(" declined: gateway code "), Small],
            &[Lit("failed to decode frame of "), Small, Lit(" bytes from "), Ip, Lit(": unexpected end")],
            &[Lit("unique violation on users_email_key for id "), Id],
        ],
    },
    Level {
        name: "CRITICAL",
        weight: 1,
        templates: &[
            &[Lit("out of memory: worker "), Small, Lit(" killed, rss "), Id, Lit(" kB")],
            &[Lit("replica "), Ip, Lit(" lost, failing over to node "), Small],
        ],
    },
];
const METHODS: [&str; 6] = ["GET", "GET", "GET", "POST", "PUT", "DELETE"];
const PATHS: [&str; 7] =
    ["/api/v1/items", "/api/v1/orders", "/api/v2/search", "/login", "/api/v1/users/me", "/healthz", "/cart"];
const STATUSES: [u16; 10] = [200, 200, 200, 200, 201, 204, 301, 400, 404, 500];

pub struct Level {
    pub name: &'static str,
    /// Of [`WEIGHTS`].
    pub weight: usize,
    pub templates: &'static [&'static [Piece]],
}

/// All weights together.
pub const WEIGHTS: usize = 200;

/// What a message is put together from; all of it follows from one number. `Id` has up to six digits, `Small` is 1 to 97.
#[derive(Debug, Clone, Copy)]
pub enum Piece {
    Lit(&'static str),
    Id,
    Small,
    Hex,
    Ip,
    Method,
    Path,
    Status,
}
use Piece::{Hex, Id, Ip, Lit, Method, Path, Small, Status};

pub fn method(x: u32) -> &'static str {
    METHODS[x as usize % METHODS.len()]
}

pub fn path(x: u32) -> &'static str {
    PATHS[x as usize % PATHS.len()]
}

pub fn status(x: u32) -> u16 {
    STATUSES[x as usize % STATUSES.len()]
}

pub fn ip(x: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"10.");
    decimal(u64::from(x & 3), out);
    out.push(b'.');
    decimal(u64::from(x >> 8 & 255), out);
    out.push(b'.');
    decimal(u64::from(x >> 16 & 255), out);
}

pub fn write(template: &[Piece], x: u32, out: &mut Vec<u8>) {
    for piece in template {
        match *piece {
            Lit(text) => out.extend_from_slice(text.as_bytes()),
            Id => decimal(u64::from(x % 1_000_003), out),
            Small => decimal(u64::from(x % 97 + 1), out),
            Hex => x.to_be_bytes().iter().for_each(|&byte| out.extend_from_slice(&HEX[usize::from(byte)])),
            Ip => ip(x, out),
            Method => out.extend_from_slice(method(x).as_bytes()),
            Path => out.extend_from_slice(path(x).as_bytes()),
            Status => decimal(u64::from(status(x)), out),
        }
    }
}
