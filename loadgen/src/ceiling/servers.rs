//! What a Redis and a Postgres can take at most of the very blocks and rows that the server sends them.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use record::format::{LineParser, Mode, NotTaken};
use record::{Batch, BatchBuilder, Context, IdSource, Timestamp, Zone};

use crate::counter::Sql;
use crate::peers::install::Tools;

const TIME: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Commands under way at a time.
const PIPELINE: usize = 16;
const STREAM: &str = "logboom:ceiling";
const TABLE: &str = "logboom_ceiling";
/// Of each of the two.
const COPY_ROWS: usize = 200_000;

/// The batches that these lines become.
pub fn batches(bodies: &[&[u8]]) -> Vec<Batch> {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(crate::generate::START.start_us as i64), &zone);
    let mut parser = LineParser::new();
    let mut builder = BatchBuilder::new(record::batch::STREAMS_DEFAULT);
    let mut ids = IdSource::new(|| 7);
    let mut batches = Vec::new();
    for line in bodies.iter().flat_map(|body| body.split(|&byte| byte == b'\n')).filter(|line| !line.is_empty()) {
        while let Err(NotTaken::Full) = parser.push_line(line, Mode::Auto, &context, &mut ids, &mut builder) {
            batches.extend(builder.seal());
        }
    }
    batches.extend(builder.seal());
    batches
}

/// Records a second that one connection brings into a stream, as packed batches, some under way at a time.
pub fn xadd(url: &str, batches: &[Batch]) -> io::Result<f64> {
    let mut redis = Redis::connect(url)?;
    let blocks: Vec<(u64, Vec<u8>)> = batches
        .iter()
        .map(|batch| (batch.len() as u64, command(&[b"XADD", STREAM.as_bytes(), b"*", b"b", &batch.pack()])))
        .collect();
    redis.ask(&command(&[b"DEL", STREAM.as_bytes()]))?;
    let began = Instant::now();
    let mut records = 0;
    'time: loop {
        for piece in blocks.chunks(PIPELINE) {
            for (_, bytes) in piece {
                redis.stream.get_mut().write_all(bytes)?;
            }
            for (count, _) in piece {
                redis.answer()?;
                records += count;
            }
            if began.elapsed() >= TIME {
                break 'time;
            }
        }
    }
    let rate = records as f64 / began.elapsed().as_secs_f64();
    redis.ask(&command(&[b"DEL", STREAM.as_bytes()]))?;
    Ok(rate)
}

struct Redis {
    stream: BufReader<TcpStream>,
}

/// A command as the server reads it.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

impl Redis {
    /// `redis://[[user]:password@]host[:port][/database]`.
    fn connect(url: &str) -> io::Result<Redis> {
        let unfit = |reason: &str| io::Error::new(io::ErrorKind::Unsupported, format!("{url}: {reason}"));
        let rest = url.strip_prefix("redis://").ok_or_else(|| unfit("only redis:// is measured"))?;
        let rest = rest.split('?').next().unwrap_or_default();
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
        let stream = TcpStream::connect(authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut redis = Redis { stream: BufReader::new(stream) };
        if let Some((user, password)) = login.map(|login| login.split_once(':').unwrap_or(("", login))) {
            let words: Vec<&[u8]> =
                [b"AUTH", user.as_bytes(), password.as_bytes()].into_iter().filter(|word| !word.is_empty()).collect();
            redis.ask(&command(&words))?;
        }
        if !database.is_empty() {
            redis.ask(&command(&[b"SELECT", database.as_bytes()]))?;
        }
        Ok(redis)
    }

    fn ask(&mut self, command: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(command)?;
        self.answer()
    }

    /// Reads one answer, of those that these commands have.
    fn answer(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.as_bytes().first() {
            Some(b'$') if !line.starts_with("$-1") => self.stream.read_line(&mut line).map(drop),
            Some(b'+' | b':' | b'$') => Ok(()),
            _ => Err(io::Error::other(format!("redis: {}", line.trim()))),
        }
    }
}

/// Rows a second of two `\copy` at once of these rows, into a bare table that is gone afterwards.
pub fn copy(url: &str, batches: &[Batch], folder: &Path) -> io::Result<f64> {
    let tools = Tools { folder: folder.to_owned(), install: false };
    let psql = tools.program("psql").ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "psql is not on this machine: `apt-get install postgresql-client`")
    })?;
    let none = String::new;
    let sql = Sql { psql: psql.clone(), url: url.to_owned(), count: none(), export: none(), bytes: none() };
    let file = std::path::absolute(folder.join("ceiling.copy"))?;
    let rows = write_copy(&file, batches)?;
    sql.ask(&format!("drop table if exists {TABLE}"))?;
    sql.ask(&format!(
        "create table {TABLE} (part smallint, id uuid, timestamp timestamptz, level text, source text, application text, \
         message text collate \"C\", metadata jsonb)"
    ))?;
    let copy = format!("\\copy {TABLE} from '{}' (format binary)", file.display());
    let began = Instant::now();
    let both: Vec<_> = (0..2)
        .map(|_| {
            let mut command = Command::new(&psql);
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", &copy]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
        })
        .collect();
    let mut failed = None;
    for child in both {
        let output = child?.wait_with_output()?;
        if !output.status.success() {
            failed = Some(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
    }
    let took = began.elapsed();
    sql.ask(&format!("drop table {TABLE}"))?;
    fs::remove_file(&file)?;
    match failed {
        Some(reason) => Err(io::Error::other(reason)),
        None => Ok(2.0 * rows as f64 / took.as_secs_f64()),
    }
}

/// A file in the form of `COPY … (FORMAT binary)`; gives how many rows it has.
fn write_copy(path: &Path, batches: &[Batch]) -> io::Result<usize> {
    let mut file = io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    file.write_all(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")?;
    let mut rows = 0;
    for batch in batches.iter().cycle().take_while(|batch| !batch.is_empty()) {
        if rows >= COPY_ROWS {
            break;
        }
        file.write_all(batch.body())?;
        rows += batch.len();
    }
    file.write_all(&(-1i16).to_be_bytes())?;
    file.flush()?;
    Ok(rows)
}
