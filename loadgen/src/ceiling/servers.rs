//! What a Redis and a Postgres can take at most of the very blocks and rows that the server sends them.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
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
/// What keys of Logboom's own begin with, and where the numbers of its streams are.
const KEYS: &str = "logboom";
const STREAMS: &str = "logboom:streams";
const TABLE: &str = "logboom_ceiling";
/// Of each of the two.
const COPY_ROWS: usize = 200_000;
const BARE: &str = "part smallint, id uuid, timestamp timestamptz, level text, source text, application text, \
                    message text collate \"C\", metadata jsonb";
/// As a day's partition is made.
const ALIKE: &str = "like logs including all";

/// The batches that these lines become.
pub fn batches(bodies: &[&[u8]]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let lines = bodies.iter().flat_map(|body| body.split(|&byte| byte == b'\n')).filter(|line| !line.is_empty());
    let taken = sealed(lines, |batch| {
        batches.push(batch);
        Ok(())
    });
    taken.expect("a vector takes all");
    batches
}

/// Gives batch by batch what these lines become.
fn sealed<'a>(lines: impl Iterator<Item = &'a [u8]>, mut take: impl FnMut(Batch) -> io::Result<()>) -> io::Result<()> {
    let zone = Zone::UTC;
    let context = Context::new(Timestamp::clamped(crate::generate::START.start_us as i64), &zone);
    let mut parser = LineParser::new();
    let mut builder = BatchBuilder::new(record::batch::STREAMS_DEFAULT);
    let mut ids = IdSource::new(|| 7);
    for line in lines {
        while let Err(NotTaken::Full) = parser.push_line(line, Mode::Auto, &context, &mut ids, &mut builder) {
            builder.seal().map_or(Ok(()), &mut take)?;
        }
    }
    builder.seal().map_or(Ok(()), take)
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

#[derive(Debug)]
pub struct Redis {
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
    pub fn connect(url: &str) -> io::Result<Redis> {
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
        self.answer().map(drop)
    }

    /// Entries in all of Logboom's streams.
    pub fn entries(&mut self) -> io::Result<u64> {
        self.stream.get_mut().write_all(&command(&[b"SMEMBERS", STREAMS.as_bytes()]))?;
        let count = self.answer()?;
        let mut streams = Vec::new();
        for _ in 0..number(&count, '*')? {
            streams.push(self.answer()?);
        }
        let mut entries = 0;
        for stream in streams {
            let key = format!("{KEYS}:{stream}");
            self.stream.get_mut().write_all(&command(&[b"XLEN", key.as_bytes()]))?;
            entries += number(&self.answer()?, ':')?;
        }
        Ok(entries)
    }

    /// Reads one answer, of those that these commands have: a text, or the line that says what it is.
    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.as_bytes().first() {
            Some(b'$') if !line.starts_with("$-1") => {
                line.clear();
                self.stream.read_line(&mut line)?;
            }
            Some(b'+' | b':' | b'$' | b'*') => {}
            _ => return Err(io::Error::other(format!("redis: {}", line.trim()))),
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

fn number(answer: &str, kind: char) -> io::Result<u64> {
    let number = answer.strip_prefix(kind).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("redis: {answer} where a number was to come")))
}

/// Rows a second of two `\copy` at once of these rows, into a bare table that is gone afterwards.
pub fn copy(url: &str, batches: &[Batch], folder: &Path) -> io::Result<f64> {
    let mut file = CopyFile::create(folder, "ceiling.copy")?;
    for batch in batches.iter().cycle().take_while(|batch| !batch.is_empty()) {
        if file.rows >= COPY_ROWS {
            break;
        }
        file.push(batch)?;
    }
    let file = file.finish()?;
    copies(url, folder, BARE, &[&file, &file])
}

/// Rows a second of two `\copy` at once of as many rows as these lines become, again and again: half each, into an empty
/// table with the columns and indexes of Logboom's own, which is gone afterwards.
pub fn copy_alike(url: &str, bodies: &[&[u8]], rows: usize, folder: &Path) -> io::Result<f64> {
    let mut files = [CopyFile::create(folder, "ceiling-0.copy")?, CopyFile::create(folder, "ceiling-1.copy")?];
    let lines = bodies.iter().flat_map(|body| body.split(|&byte| byte == b'\n')).filter(|line| !line.is_empty());
    let mut nth = 0;
    sealed(lines.cycle().take(rows), |batch| {
        nth += 1;
        files[nth % 2].push(&batch)
    })?;
    let [a, b] = files;
    settle(url);
    copies(url, folder, ALIKE, &[&a.finish()?, &b.finish()?])
}

/// So that what was stored before is not tidied up and written meanwhile; a user without the right to it goes without.
pub fn settle(url: &str) {
    let Some(psql) = psql() else { return };
    let sql = Sql::bare(psql, url);
    for what in ["vacuum analyze", "checkpoint"] {
        let _ = sql.ask(what);
    }
}

fn psql() -> Option<PathBuf> {
    Tools { folder: PathBuf::new(), install: false }.program("psql")
}

fn copies(url: &str, folder: &Path, columns: &str, files: &[&CopyFile; 2]) -> io::Result<f64> {
    let psql = psql().ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "psql is not on this machine: `apt-get install postgresql-client`")
    })?;
    let sql = Sql::bare(psql.clone(), url);
    sql.ask(&format!("drop table if exists {TABLE}"))?;
    sql.ask(&format!("create table {TABLE} ({columns})"))?;
    let began = Instant::now();
    let both: Vec<_> = files
        .iter()
        .map(|file| {
            let copy = format!("\\copy {TABLE} from '{}' (format binary)", file.path.display());
            let mut command = Command::new(&psql);
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", &copy]).current_dir(folder);
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
    match failed {
        Some(reason) => Err(io::Error::other(reason)),
        None => Ok(files.iter().map(|file| file.rows).sum::<usize>() as f64 / took.as_secs_f64()),
    }
}

/// A file in the form of `COPY … (FORMAT binary)`, gone when dropped.
struct CopyFile {
    path: PathBuf,
    out: io::BufWriter<fs::File>,
    rows: usize,
}

impl CopyFile {
    fn create(folder: &Path, name: &str) -> io::Result<CopyFile> {
        let path = std::path::absolute(folder.join(name))?;
        let mut out = io::BufWriter::with_capacity(1 << 20, fs::File::create(&path)?);
        out.write_all(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")?;
        Ok(CopyFile { path, out, rows: 0 })
    }

    fn push(&mut self, batch: &Batch) -> io::Result<()> {
        self.rows += batch.len();
        self.out.write_all(batch.body())
    }

    fn finish(mut self) -> io::Result<CopyFile> {
        self.out.write_all(&(-1i16).to_be_bytes())?;
        self.out.flush()?;
        Ok(self)
    }
}

impl Drop for CopyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
